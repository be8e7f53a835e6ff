"""etcd, ZooKeeper and external stores on captured hosts: drifted, settled, half-done, and what is refused."""

from __future__ import annotations

import json
import re
from typing import ClassVar

import pytest
from captured import HOSTS, capture, with_file, with_http, with_info, with_raw, with_system, with_unit

from provisioner import causes, preflight, wording
from provisioner.controlplane import resolve
from provisioner.controlplane.kv import Kv
from provisioner.steps import STEPS as ALL
from provisioner.steps.daemon import Daemon
from provisioner.steps.store import Store
from provisioner.stores import etcd, proxy, zookeeper
from provisioner.system import reading
from provisioner.system.reading import DAEMON_JSON, ENGINE_DROPIN, ENGINE_LOADED
from provisioner.system.request import Request

STEPS = [step for step in ALL if step.name not in Kv.unused]
STORE, DAEMON = Store(), Daemon()
CONFIGS = {"etcd": etcd.JSON, "zookeeper": zookeeper.CFG}
LOADED = {"etcd": etcd.LOADED, "zookeeper": zookeeper.LOADED}
UNITS = {"etcd": etcd.UNIT, "zookeeper": zookeeper.UNIT}
DATA = {"etcd": "etcd-data=", "zookeeper": "zookeeper-data="}
KINDS = tuple(CONFIGS)


@pytest.fixture
def site(inventory):
    """Return a function that makes a site of three hosts with a store of a kind.

    words: more keys of the inventory's store. hosts: facts that replace those of single hosts.
    """

    def make(kind, words="", count=3, **hosts):
        facts = {name: hosts.get(name) or capture(f"{kind}-{name}") for name in HOSTS}
        plain = ", security: {tls: false}" if kind == "etcd" and "endpoints" not in words else ""
        named = inventory(count, kind=kind, store=words + plain).model_copy(update={"cluster": f"capture-{kind}"})
        made, findings = resolve(named, facts)
        assert not findings
        return made

    return make


def fresh(kind, name):
    """Return a host on which the store is installed but not set up: nothing answers there."""
    facts = with_unit(capture(f"{kind}-{name}"), UNITS[kind], ActiveState="inactive", UnitFileState="disabled")
    for path in (CONFIGS[kind], LOADED[kind], zookeeper.MYID, f"/etc/systemd/system/{UNITS[kind]}"):
        facts = with_file(facts, path, "")
    silent = {
        key: "000 Connection refused"
        for key in facts.raw
        if key.startswith("http:") and key not in ("http:info", "http:networks")
    }
    return with_system(with_raw(facts, **silent), DATA[kind], None)


def differs(site, host="node2", step=STORE):
    return [(wording.what(d), wording.note(d)) for d in step.drift(site, host)]


def _started_after(site, host):
    """Return the unit after which the engine starts, or, if it reaches the store through a proxy, after which the proxy starts."""
    waiting = site.backend.waiting(site, host)
    return (
        waiting.unit
        if not waiting.through
        else re.search(r"^After=(.+)$", waiting.files[proxy.UNIT_FILE], re.MULTILINE)[1]
    )


def checks(site):
    return {(f.id, f.host, causes.severity(f).value) for f in preflight.run(site)}


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_an_earlier_release_has_started_is_not_restarted(site, kind):
    """The earlier unit copied the loaded configuration with another command, and had another comment."""
    path = f"/etc/systemd/system/{UNITS[kind]}"
    facts = capture(f"{kind}-node2")
    for each in (path, LOADED[kind]):
        earlier = re.sub(
            r"^ExecStartPre=.*\n", "ExecStartPre=+/bin/sh -c 'cat'\n", facts.files[each], flags=re.MULTILINE
        )
        facts = with_file(facts, each, re.sub("^# as .*\n", "", earlier, flags=re.MULTILINE))
    whole = site(kind, node2=facts)
    assert differs(whole) == [(path, "")]
    work = STORE.work(whole, "node2", STORE.drift(whole, "node2"))
    assert work is not None
    assert work.text.startswith("writing the files of ")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_settled_hosts_have_no_drift(site, step, host, kind):
    assert step.drift(site(kind), host) == ()


@pytest.mark.parametrize("kind", KINDS)
class TestAnyKind:
    def test_new_hosts_start_in_parallel(self, site, kind):
        whole = site(kind, **{name: fresh(kind, name) for name in HOSTS})
        drift = STORE.drift(whole, "node2")
        assert {"start", ""} == {wording.note(d) for d in drift}
        assert CONFIGS[kind] in {wording.what(d) for d in drift}
        work = STORE.work(whole, "node2", drift)
        assert not work.alone
        assert "case start in" in work.script

    def test_down(self, site, kind):
        whole = site(kind, node2=with_unit(capture(f"{kind}-node2"), UNITS[kind], ActiveState="failed"))
        assert differs(whole) == [(UNITS[kind], "start")]

    def test_started_with_something_else(self, site, kind):
        whole = site(kind, node2=with_file(capture(f"{kind}-node2"), LOADED[kind], "other\n"))
        (drift,) = STORE.drift(whole, "node2")
        assert wording.note(drift).startswith("restart of ")
        assert STORE.work(whole, "node2", (drift,)).alone

    def test_somebody_changed_the_file(self, site, kind):
        facts = capture(f"{kind}-node2")
        assert differs(site(kind, node2=with_file(facts, CONFIGS[kind], "other\n"))) == [(CONFIGS[kind], "")]

    def test_not_at_boot(self, site, kind):
        whole = site(kind, node2=with_unit(capture(f"{kind}-node2"), UNITS[kind], UnitFileState="disabled"))
        assert differs(whole) == [(f"{UNITS[kind]} at boot", "")]

    def test_servers_stay_when_hosts_are_added_above_them(self, inventory, kind):
        facts = {name: capture(f"{kind}-{name}") for name in HOSTS}
        named = inventory(5, kind=kind)
        turned = named.model_copy(update={"hosts": dict(reversed(named.hosts.items()))})
        assert set(resolve(turned, facts)[0].servers) == set(HOSTS)

    def test_a_host_without_a_server_has_no_part_of_the_store(self, site, kind):
        whole = site(
            kind,
            ", servers: [node1]",
            node1=fresh(kind, "node1"),
            node2=fresh(kind, "node2"),
            node3=fresh(kind, "node3"),
        )
        assert STORE.drift(whole, "node2") == ()
        assert _started_after(whole, "node2") == "network-online.target"
        assert _started_after(whole, "node1") == UNITS[kind]
        assert whole.backend.url(whole).count(",") == 0

    def test_a_server_more_is_refused(self, site, kind):
        whole = site(kind, ", servers: [node1, node2, node3, node4, node5]", count=5)
        assert ("server-added", "", "stop") in checks(whole)

    def test_half_of_the_servers_left_out_is_refused(self, site, kind):
        assert ("server-left-out", "", "stop") in checks(site(kind, ", servers: [node1]"))

    def test_a_store_that_somebody_else_set_up(self, site, kind):
        facts = with_file(capture(f"{kind}-node2"), CONFIGS[kind], "")
        assert (f"foreign-{kind}", "node2", "stop") in checks(site(kind, node2=facts))

    def test_without_an_answer(self, site, kind):
        asked = "health" if kind == "etcd" else "srvr"
        whole = site(kind, node2=with_http(capture(f"{kind}-node2"), asked, "000 Connection refused"))
        (drift,) = STORE.drift(whole, "node2")
        assert (wording.note(drift), drift.found) == ("wait", "Connection refused")


class TestEtcd:
    def test_the_cure_for_servers_left_out_has_the_commands(self, site):
        (found,) = [f for f in preflight.run(site("etcd", ", servers: [node1]")) if f.id == "server-left-out"]
        for number in (2, 3):
            (told,) = [m for m in capture("etcd-node1").http("members").body["members"] if m["name"] == f"node{number}"]
            assert f"member remove {told['id']}`" in causes.cure(found)
        assert causes.cure(found).count("--endpoints http") == 2

    def test_the_commands_use_a_server_that_stays(self, site):
        (found,) = [f for f in preflight.run(site("etcd", ", servers: [node3]")) if f.id == "server-left-out"]
        assert causes.cure(found).count("//192.168.56.13:2379") == causes.cure(found).count("--endpoints") == 2

    def config(self, site, host="node2"):
        return json.loads(site.backend.service(site, host).files[0].text)

    def test_the_file(self, site):
        config = self.config(site("etcd"))
        assert config["initial-cluster"] == ",".join(f"node{n}=http://192.168.56.1{n}:2380" for n in (1, 2, 3))
        assert config["listen-client-urls"] == "http://127.0.0.1:2379,http://192.168.56.12:2379"
        assert config["enable-v2"] is True
        assert config["initial-cluster-state"] == "new"

    def test_a_late_server_joins(self, site):
        assert self.config(site("etcd", node2=fresh("etcd", "node2")))["initial-cluster-state"] == "existing"

    def test_a_late_server_has_not_lost_its_data(self, site):
        others = {}
        for name in ("node1", "node3"):
            facts = capture(f"etcd-{name}")
            members = facts.http("members").body["members"]
            told = [{**m, "clientURLs": []} if m["name"] == "node2" else m for m in members]
            others[name] = with_http(facts, "members", {"members": told})
        assert "etcd-data-lost" not in {
            check for check, _, _ in checks(site("etcd", node2=fresh("etcd", "node2"), **others))
        }
        assert ("etcd-data-lost", "node2", "stop") in checks(site("etcd", node2=fresh("etcd", "node2")))

    def test_a_server_that_the_others_have_removed(self, site):
        """Its log says so as well. Then the others may already have it as a new member, which needs no data of the old one."""
        others = {}
        for name in ("node1", "node3"):
            facts = capture(f"etcd-{name}")
            members = [member for member in facts.http("members").body["members"] if member["name"] != "node2"]
            others[name] = with_http(facts, "members", {"members": members})
        gone = with_http(capture("etcd-node2"), "members", "000 refused")
        said = with_system(gone, "etcd-removed=", "yes")
        for whole, variants in (
            (site("etcd", node2=gone, **others), ["removed"]),
            (site("etcd", node2=said, **others), ["removed"]),
            (site("etcd", node2=said), ["again"]),
            (site("etcd", node2=gone), []),
            (site("etcd", node2=with_system(said, "etcd-data=", None)), []),
        ):
            found = [(f.host, f.variant) for f in preflight.run(whole) if f.id == "server-added"]
            assert found == [("node2", variant) for variant in variants]

    def test_a_server_that_lost_its_data_must_not_try_while_it_is_removed(self, site):
        for state, variant in (("activating", "tries"), ("active", "tries"), ("inactive", "")):
            facts = with_unit(with_system(capture("etcd-node2"), "etcd-data=", None), etcd.UNIT, ActiveState=state)
            (lost,) = (f for f in preflight.run(site("etcd", node2=facts)) if f.id == "etcd-data-lost")
            assert (lost.host, lost.variant) == ("node2", variant)

    def test_no_leader(self, site):
        whole = site("etcd", node2=with_http(capture("etcd-node2"), "health", '503 {"health":"false"}'))
        assert differs(whole) == [("etcd's leader", "wait")]

    def test_a_server_that_never_took_part(self, site):
        facts = capture("etcd-node2")
        told = [{**m, "clientURLs": []} if m["name"] == "node3" else m for m in facts.http("members").body["members"]]
        whole = site("etcd", node2=with_http(facts, "members", {"members": told}))
        assert differs(whole) == [("etcd's members", "wait")]

    def test_the_empty_cluster_of_a_package_is_taken_over(self, site):
        facts = with_system(fresh("etcd", "node2"), "etcd-idle=", "yes")
        whole = site("etcd", node2=with_unit(facts, etcd.UNIT, ActiveState="active"))
        assert not any(check == "foreign-etcd" for check, _, _ in checks(whole))
        assert "restart of etcd" in {wording.note(d) for d in STORE.drift(whole, "node2")}

    def test_engines_know_every_server(self, site):
        whole = site("etcd", ", prefix: lab")
        assert whole.backend.url(whole) == "etcd://192.168.56.11:2379,192.168.56.12:2379,192.168.56.13:2379/lab"

    def test_another_set_of_the_same_servers_is_the_same_store(self, site):
        moved = with_info(capture("etcd-node2"), ClusterStore="etcd://192.168.56.11:2379")
        assert not checks(site("etcd", node2=moved))
        other = with_info(capture("etcd-node2"), ClusterStore="etcd://192.168.56.99:2379")
        assert ("other-store", "node2", "stop") in checks(site("etcd", node2=other))

    def test_the_leader_is_the_same_on_all(self, site):
        whole = site("etcd")
        assert len({whole.backend.leader(facts) for facts in whole.facts.values()} - {""}) == 1


class TestZooKeeper:
    def test_no_leader(self, site):
        silent = with_http(
            capture("zookeeper-node2"), "srvr", "This ZooKeeper instance is not currently serving requests\n"
        )
        assert differs(site("zookeeper", node2=silent)) == [("ZooKeeper's leader", "wait")]

    def test_a_server_that_has_no_files_yet_stays_one_of_those_that_were_named(self, inventory):
        """A run was killed when two of three hosts had their configuration: no server runs, and the third one is not left out."""
        down = "000 Connection refused"
        facts = {name: with_http(capture(f"zookeeper-{name}"), "srvr", down) for name in HOSTS}
        facts["node3"] = with_file(with_file(facts["node3"], zookeeper.CFG, ""), zookeeper.MYID, "")
        whole = resolve(inventory(kind="zookeeper"), facts)[0]
        assert whole.servers == HOSTS
        assert all(drift.target != zookeeper.CFG for drift in STORE.drift(whole, "node1"))

    def test_numbers_stay(self, inventory):
        facts = {name: capture(f"zookeeper-{name}") for name in HOSTS}
        named = inventory(kind="zookeeper")
        turned = named.model_copy(update={"hosts": dict(reversed(named.hosts.items()))})
        whole = resolve(turned, facts)[0]
        assert all(STORE.drift(whole, name) == () for name in HOSTS)

    def test_a_lost_number_is_written_again(self, site):
        whole = site("zookeeper", node2=with_file(capture("zookeeper-node2"), zookeeper.MYID, ""))
        (drift,) = STORE.drift(whole, "node2")
        assert (wording.what(drift), drift.wanted) == (zookeeper.MYID, "2\n")

    def test_one_server_reports_that_it_is_the_leader(self, site):
        whole = site("zookeeper")
        assert sorted(bool(whole.backend.leader(facts)) for facts in whole.facts.values()) == [False, False, True]

    def test_engines_ask_the_server_of_their_own_host_first(self, site):
        whole = site("zookeeper")
        texts = [whole.backend.waiting(whole, name).files[proxy.UNIT_FILE] for name in HOSTS]
        assert [re.search(r"\.pl 2182 (\S+):2181 ", text)[1] for text in texts] == [
            str(whole.advertise[name]) for name in HOSTS
        ]

    def test_the_proxy_is_started_and_restarted_without_the_engine(self, site):
        facts = with_unit(capture("zookeeper-node2"), proxy.UNIT, ActiveState="failed")
        whole = site("zookeeper", node2=facts)
        drift = DAEMON.drift(whole, "node2")
        assert [(wording.what(d), d.found, d.wanted) for d in drift] == [(proxy.UNIT, "failed", "active")]
        work = DAEMON.work(whole, "node2", drift)
        assert f"systemctl restart {proxy.UNIT}" in work.script
        assert not work.alone
        changed = with_file(capture("zookeeper-node2"), DAEMON_JSON, "{}\n")
        whole = site("zookeeper", node2=changed)
        assert (
            "systemctl restart"
            not in DAEMON.work(whole, "node2", DAEMON.drift(whole, "node2")).script.partition("back()")[0]
        )

    def test_without_the_proxy_no_container_can_join(self, site):
        whole = site("zookeeper", node2=with_unit(capture("zookeeper-node2"), proxy.UNIT, ActiveState="failed"))
        assert proxy.UNIT in whole.plane.closed(whole, "node2").what
        assert whole.plane.closed(whole, "node1") is None

    def test_a_leader_that_dropped_out_closes_no_other_host(self, site):
        """Only the leader itself reports that it leads, and it may be the host that has dropped out."""
        whole = site("zookeeper")
        (leader,) = (name for name in HOSTS if whole.backend.leader(whole.facts[name]))
        rest = whole.without(frozenset({leader}))
        assert [rest.plane.closed(rest, name) for name in rest.live] == [None, None]

    def test_the_endpoints_in_the_store(self, site):
        network = capture("zookeeper-node2").networks["demo"]["Id"]
        told = {
            f"docker/network/v1.0/endpoint/{network}/e1": '{"name": "web", "locator": "192.168.56.13"}',
            "docker/network/v1.0/endpoint": "",
        }
        whole = site("zookeeper", node2=with_http(capture("zookeeper-node2"), "endpoints", told))
        (found,) = whole.backend.attached(whole.facts["node2"])
        assert (found.network, found.name, str(found.host)) == (network, "web", "192.168.56.13")
        assert whole.backend.asks_attached == (
            Request("endpoints", "127.0.0.1:2182", "docker/network/v1.0/endpoint", through=True),
        )
        assert whole.backend.attached(whole.facts["node1"]) == ()

    def test_another_store_behind_the_same_address(self, site):
        text = capture("zookeeper-node2").files[proxy.UNIT_FILE]
        assert "2182 192.168.56.12:2181 " in text
        other = with_file(capture("zookeeper-node2"), proxy.UNIT_FILE, re.sub(r"192\.168\.56", "192.0.2", text))
        (found,) = (f for f in preflight.run(site("zookeeper", node2=other)) if f.id == "other-store")
        assert "another store, zk://192.0.2.11:2181,192.0.2.12:2181,192.0.2.13:2181" in found.evidence


class TestOptions:
    WORDS = ", discovery: {heartbeat: 5, ttl: 15, path: docker/nodes}"

    def wanted(self, site):
        (drift,) = (d for d in DAEMON.drift(site, "node2") if wording.what(d) == DAEMON_JSON)
        return json.loads(drift.wanted)

    def test_the_file(self, site):
        assert self.wanted(site("etcd", self.WORDS))["cluster-store-opts"] == {
            "kv.path": "docker/nodes", "discovery.heartbeat": "5", "discovery.ttl": "15",
        }  # fmt: skip

    def test_other_options_stay(self, site):
        text = json.dumps({"cluster-store-opts": {"discovery.ttl": "99", "theirs": "x"}}) + "\n"
        whole = site("etcd", ", discovery: {ttl: 30}", node2=with_file(capture("etcd-node2"), DAEMON_JSON, text))
        assert self.wanted(whole)["cluster-store-opts"] == {"discovery.ttl": "30", "theirs": "x"}

    def test_options_of_others_stay_if_the_inventory_has_none(self, site):
        text = json.loads(capture("etcd-node2").files[DAEMON_JSON])
        mine = with_file(
            capture("etcd-node2"), DAEMON_JSON, json.dumps({**text, "cluster-store-opts": {"kv.path": "x"}}) + "\n"
        )
        assert DAEMON.drift(site("etcd", node2=mine), "node2") == ()

    @pytest.mark.parametrize(
        ("names", "told"),
        [
            (["kv.certfile"], "silently not use TLS"),
            (["kv.cacertfile", "kv.keyfile"], "without kv.certfile"),
            (["kv.cacertfile", "kv.certfile", "kv.keyfile"], "the inventory's store does not use"),
        ],
    )
    def test_tls_files_that_somebody_else_named(self, site, names, told):
        text = {"cluster-store-opts": dict.fromkeys(names, "/etc/docker/x.pem")}
        mine = with_file(capture("etcd-node2"), DAEMON_JSON, json.dumps(text) + "\n")
        (found,) = (f for f in preflight.run(site("etcd", node2=mine)) if f.id == "store-tls")
        assert (found.host, causes.severity(found)) == ("node2", "stop")
        assert told in found.evidence

    def test_what_the_engine_has_read_is_observed(self, site):
        whole = site("etcd", self.WORDS)
        wanted = {wording.what(d): d.wanted for d in DAEMON.drift(whole, "node2")}
        assert ("the running engine's store options", "reload") in differs(whole, step=DAEMON)
        facts = with_file(capture("etcd-node2"), DAEMON_JSON, wanted[DAEMON_JSON])
        facts = with_file(facts, ENGINE_DROPIN, wanted[ENGINE_DROPIN])
        assert differs(site("etcd", self.WORDS, node2=facts), step=DAEMON) == [
            ("the running engine's store options", "reload")
        ]
        facts = with_file(facts, ENGINE_LOADED, wanted[DAEMON_JSON])
        assert differs(site("etcd", self.WORDS, node2=facts), step=DAEMON) == []


class TestExternal:
    WHERE = "192.168.56.99:2379"
    WORDS = f", endpoints: ['{WHERE}', '192.168.56.98:2379']"
    GOOD: ClassVar = {
        "version": {"etcdserver": "3.5.16"},
        "leader": {"health": "true"},
        "keys": {"action": "get", "node": {}},
    }

    def answered(self, facts, where, **answers):
        for what, answer in {**self.GOOD, **answers}.items():
            facts = with_http(facts, f"{what}@{where}", answer)
        return facts

    def whole(self, site, node2=None, **answers):
        hosts = {}
        for name in HOSTS:
            facts = self.answered(capture(f"etcd-{name}"), "192.168.56.98:2379")
            hosts[name] = self.answered(facts, self.WHERE, **(answers if name == "node2" else {}))
        return site("etcd", self.WORDS, **(hosts | ({"node2": node2} if node2 else {})))

    def test_nothing_is_installed_or_judged(self, site):
        whole = self.whole(site)
        assert whole.servers == ()
        assert whole.has_quorum
        assert all(STORE.drift(whole, name) == () for name in HOSTS)
        assert "etcd" not in whole.needs("node1")
        assert 2379 not in whole.backend.ports.tcp
        assert whole.backend.url(whole) == "etcd://192.168.56.99:2379,192.168.56.98:2379"

    def test_all_is_well(self, site):
        assert {check for check, _, _ in checks(self.whole(site))} <= {"other-store"}

    @pytest.mark.parametrize(
        ("answers", "check"),
        [
            ({"leader": "000 Connection refused"}, "store-unreachable"),
            ({"leader": '503 {"health":"false"}'}, "store-no-leader"),
            ({"keys": "404 404 page not found"}, "store-without-v2"),
            ({"keys": "403 no"}, "store-forbidden"),
            ({"rights": "401 no"}, "store-forbidden"),
            ({"networks": "403 no"}, "store-forbidden"),
        ],
    )
    def test_one_unusable_endpoint_is_reported(self, site, answers, check):
        assert (check, "node2", "warning") in checks(self.whole(site, **answers))

    def test_a_host_without_a_usable_endpoint_is_stopped(self, site):
        facts = capture("etcd-node2")
        for where in (self.WHERE, "192.168.56.98:2379"):
            facts = self.answered(facts, where, leader="000 timeout")
        found = checks(self.whole(site, node2=facts))
        assert ("store-unreachable", "node2", "stop") in found
        assert not any(host == "node1" and check.startswith("store-") for check, host, _ in found)

    @pytest.mark.parametrize(
        ("version", "told"),
        [
            ("3.2.32", "3.2.32"),
            ("2.3.8", "2.3.8"),
            ("3.3.0", ""),
            ("3.5.16", ""),
            ("3.6.1", "3.6.1"),
            ("4.0.0", "4.0.0"),
            ("", ""),
        ],
    )
    def test_an_untested_version(self, site, version, told):
        found = [f for f in preflight.run(self.whole(site, version={"etcdserver": version})) if f.id == "store-version"]
        assert [(f.host, causes.severity(f).value) for f in found] == ([("", "warning")] if told else [])
        assert all(
            f"at {self.WHERE} has version {told}," in f.evidence and "use etcd 3.3 to 3.5.x" in causes.cure(f)
            for f in found
        )

    def test_etcd_2_0_reports_its_version_in_another_format(self, site):
        assert ("store-version", "", "warning") in checks(self.whole(site, version="200 etcd 2.0.13"))

    @pytest.mark.parametrize(
        ("answers", "told"),
        [
            ({}, []),
            (
                {"version": '200 {"Config":{"Version":"1.3.1"},"DebugConfig":{"Version":"9"}}'},
                ["127.0.0.1:8500 of node2 has version 1.3.1"],
            ),
            ({"version": "403 Permission denied"}, []),
            ({"sessions": "500 Invalid Behavior setting 'none'"}, []),
            ({"sessions": "403 Permission denied"}, ["create sessions"]),
            ({"keys": "403 Permission denied"}, ["allow this host to read lab/hosts"]),
            ({"rights": "403 Permission denied"}, ["allow this host to write under lab/hosts"]),
            ({"networks": "403 Permission denied"}, ["write under lab/docker/network/v1.0/endpoint"]),
        ],
    )
    def test_each_host_checks_its_own_agent(self, inventory, answers, told):
        where = "127.0.0.1:8500"
        facts = {name: capture(f"settled-{name}") for name in HOSTS}
        for name in HOSTS:
            for what, answer in {"leader": '200 "192.0.2.1:8300"', **(answers if name == "node2" else {})}.items():
                facts[name] = with_http(facts[name], f"{what}@{where}", answer)
        named = inventory(store=f", endpoints: ['{where}'], prefix: lab, discovery: {{path: hosts}}")
        found = list(resolve(named, facts)[0].backend.findings(resolve(named, facts)[0]))
        assert len(found) == len(told)
        assert all(words in f.evidence for words, f in zip(told, found, strict=True))
        assert all(
            "key_prefix lab/docker/ and lab/hosts and to session_prefix" in causes.cure(f) for f in found if f.host
        )
        assert {f.host for f in found} <= {"node2", ""}

    def test_what_no_step_changes_is_queried_only_in_a_full_reading(self, site):
        sought = self.whole(site).backend.sought
        probe = f"networks@{self.WHERE} {self.WHERE} /v2/keys/docker/network/v1.0/endpoint/provisioner?prevIndex="
        assert probe in reading.script(sought)
        assert probe not in reading.script(sought, ("http",))

    def test_unknown_engines_in_the_same_store_are_reported(self, site):
        nodes = [
            {"key": f"/docker/nodes/{where}", "value": where} for where in ("192.168.56.11:2376", "192.0.2.9:2376")
        ]
        found = [
            f
            for f in preflight.run(self.whole(site, keys={"node": {"dir": True, "nodes": nodes}}))
            if f.id == "store-shared"
        ]
        assert [causes.severity(f).value for f in found] == ["warning"]
        assert "192.0.2.9:2376" in found[0].evidence
        assert "192.168.56.11" not in found[0].evidence
