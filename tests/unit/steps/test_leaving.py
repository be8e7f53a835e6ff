"""The steps of a removal on captured hosts: drifted, half-done and settled, and what they must not do."""

from __future__ import annotations

import base64
import json
import re
import shlex
from ipaddress import IPv4Address

import pytest
from captured import capture, container, endpoint, with_file, with_http, with_info, with_raw, with_unit

from provisioner import stores, wording
from provisioner.controlplane import resolve
from provisioner.errors import StepFailed
from provisioner.model import Action, Kind
from provisioner.steps.leaving import Drain, Endpoints, Leave, LeaveEngine, Members
from provisioner.system import attached, firewall, gossip, version
from provisioner.system.reading import DAEMON_JSON, ENGINE_DROPIN

NODE1, NODE2, NODE3 = (capture(f"settled-node{n}") for n in (1, 2, 3))
ADDRESS3 = IPv4Address("192.168.56.13")
NETWORK = NODE1.networks["demo"]["Id"]


def differs(step, site, host="node3"):
    return [wording.what(d) for d in step.drift(site, host)]


def without(facts, *paths):
    for path in paths:
        facts = with_file(facts, path, "")
    return facts


class TestDrain:
    def test_containers_on_the_cluster_s_networks_and_no_others(self, site):
        containers = [container("web", "demo", "bridge"), container("plain", "bridge"), container("off", "demo")]
        containers[0]["Names"] = ["/friend/web", "/web"]  # a link adds another name
        found = site(node3=with_http(NODE3, "containers", containers))
        assert differs(Drain(), found) == ["container off", "container web"]
        script = Drain().work(found, "node3", ()).script
        assert "docker network disconnect demo web ||" in script
        assert "plain" not in script

    def test_settled(self, site):
        assert differs(Drain(), site()) == []
        assert differs(Drain(), site(node3=with_http(NODE3, "containers", [container("plain", "bridge")]))) == []

    def test_a_network_of_a_store_that_the_engine_has_left(self, site):
        """It is not listed any more, so it is none of the engine's own."""
        on = with_http(NODE3, "containers", [container("web", "lost", "bridge")])
        assert attached.on_shared(on) == {"web": ("lost",)}
        assert "docker network disconnect -f lost web" in Drain().work(site(node3=on), "node3", ()).script
        silent = with_http(on, "networks", "000 timeout")
        assert (attached.on_shared(silent), attached.on_shared(silent, also=["lost"])) == ({}, {"web": ("lost",)})

    @pytest.mark.parametrize("request_", ["containers", "networks"])
    def test_an_engine_that_answers_late_is_waited_for(self, site, request_):
        """Otherwise the step would end well, without the containers that it could not see."""
        (drift,) = Drain().drift(site(node3=with_http(NODE3, request_, "000 timeout")), "node3")
        assert (drift.kind, drift.action) == (Kind.ENGINE, Action.WAIT)

    def test_a_name_can_t_leave_its_quotes(self, site):
        found = site(node3=with_http(NODE3, "containers", [container("a'; reboot '", "demo")]))
        assert shlex.quote("a'; reboot '") in Drain().work(found, "node3", ()).script


class TestLeaveEngine:
    CLEAN = without(with_unit(NODE3, gossip.UNIT, UnitFileState="disabled"), DAEMON_JSON, ENGINE_DROPIN, *gossip.FILES)

    def test_everything_of_ours(self, site):
        assert differs(LeaveEngine(), site()) == [
            DAEMON_JSON, gossip.PROGRAM, ENGINE_DROPIN, gossip.UNIT_FILE, f"{gossip.UNIT} at boot", "the running engine's store"
        ]  # fmt: skip

    def test_settled(self, site):
        assert differs(LeaveEngine(), site(node3=with_info(self.CLEAN, ClusterStore="", ClusterAdvertise=""))) == []

    def test_an_engine_that_still_runs_with_the_store_is_only_restarted(self, site):
        found = site(node3=self.CLEAN)
        assert differs(LeaveEngine(), found) == ["the running engine's store"]
        assert self.words(found)["write"] == "no"
        assert self.words(found)["restart"] == "yes"

    def test_other_keys_stay_and_the_store_s_options_go(self, site):
        settings = json.loads(NODE3.files[DAEMON_JSON])
        text = json.dumps({"debug": True, **settings, "cluster-store-opts": {"kv.path": "a"}, "dns": ["192.0.2.1"]})
        found = site(node3=with_file(NODE3, DAEMON_JSON, text))
        reload, restart, back, last = self.texts(found)
        assert last == {"debug": True, "dns": ["192.0.2.1"]}
        assert restart == {**last, "live-restore": True}
        assert back == {**last, "live-restore": False}
        # A reload that changes the store's settings can block the engine, so the reload keeps the running ones.
        assert reload == {**restart, **settings, "cluster-store-opts": {"kv.path": "a"}}

    def test_live_restore_is_left_unchanged_if_it_is_on(self, site):
        assert self.words(site())["stays"] == "no"
        assert self.words(site(node3=with_info(NODE3, LiveRestoreEnabled=True)))["stays"] == "yes"
        assert (
            self.words(site(node3=with_unit(NODE3, "docker.service", ExecStart="dockerd --live-restore")))["stays"]
            == "yes"
        )

    def test_an_engine_that_does_not_answer_is_restarted_too(self, site):
        """It may wait for a store without a leader."""
        silent = with_http(NODE3, "info", "000 timed out")
        assert differs(LeaveEngine(), site(node3=silent))[-1] == "the running engine's store"
        text = json.dumps({"debug": True, **json.loads(NODE3.files[DAEMON_JSON])})
        reload = self.texts(site(node3=with_file(silent, DAEMON_JSON, text)))[0]
        assert reload == {**json.loads(text), "live-restore": True}, "a reload with other settings of the store fails"
        stopped = with_unit(silent, "docker.service", ActiveState="inactive")
        assert "the running engine's store" not in differs(LeaveEngine(), site(node3=stopped))

    def test_a_broken_file_is_not_touched(self, site):
        with pytest.raises(StepFailed, match="not valid JSON"):
            LeaveEngine().drift(site(node3=with_file(NODE3, DAEMON_JSON, "{")), "node3")

    def words(self, site):
        """Return the conditions of the script: name -> "yes" or "no"."""
        script = LeaveEngine().work(site, "node3", ()).script
        found = {"write": "if [ %s = yes ] ||", "restart": "if [ %s = yes ];", "stays": "if [ %s = no ]"}
        return {name: next(word for word in ("yes", "no") if form % word in script) for name, form in found.items()}

    def texts(self, site):
        """Return the contents of daemon.json that the script writes, in order."""
        script = LeaveEngine().work(site, "node3", ()).script
        last, reload, restart, back = re.findall(r"write '?([A-Za-z0-9+/=]{20,})'?$", script, re.MULTILINE)
        return [json.loads(base64.b64decode(text)) for text in (reload, restart, back, last)]


class TestMembers:
    def step(self, *, lives=True):
        return Members("node3", ADDRESS3, lives)

    def test_one_host_acts_for_all(self, site):
        found = site()
        assert [differs(self.step(), found, host) for host in ("node1", "node2")] == [["Consul on node3"], []]
        assert [d.found for d in self.step().drift(found, "node1")] == ["a server"]

    @pytest.mark.parametrize(("status", "known"), [(1, "alive"), (2, "leaving"), (3, ""), (4, "failed")])
    def test_consul_s_status_of_a_member(self, site, status, known):
        members = [{**m, "Status": status if m["Name"] == "node3" else 1} for m in NODE1.http("members").body]
        peers = ["192.168.56.11:8300"]
        node1 = with_http(with_http(NODE1, "members", members), "peers", peers)
        assert [d.found for d in self.step().drift(site(node1=node1), "node1")] == ([known] if known else [])

    def test_etcd(self, inventory):
        facts = {f"node{n}": capture(f"etcd-node{n}") for n in (1, 2, 3)}
        found, _ = resolve(inventory(kind="etcd"), facts)
        assert differs(self.step(), found, "node1") == ["etcd on node3"]
        body = facts["node1"].http("members").body
        left = {"members": [m for m in body["members"] if m["name"] != "node3"]}
        assert differs(self.step(), found.known("node1", with_http(facts["node1"], "members", left)), "node1") == []

    def test_no_script_is_run(self, site):
        assert self.step().work(site(), "node1", ()) is None


class TestLeave:
    def test_everything_of_ours(self, site):
        found = differs(Leave(), site())
        assert found[:3] == ["consul.service", "consul.service at boot", "/var/lib/consul"]
        assert {firewall.SCRIPT, firewall.UNIT_FILE, "/etc/consul.d/provisioner.json", "rules of iptables"} <= set(
            found
        )

    def test_the_store_s_configuration_is_removed_last(self, site):
        found = site()
        lines = Leave().work(found, "node3", ()).script.splitlines()
        (removed,) = [line for line in lines if line.startswith("files remove")]
        assert removed.split()[-1] == "/etc/consul.d/provisioner.json"

    def test_a_store_of_others_is_left_alone(self, site):
        """Its units run, and the host has no file of ours: nothing is stopped or moved."""
        sought = stores.of(site().inventory.store).sought
        facts = without(NODE3, *sought.files, *firewall.FILES, version.PATH)
        facts = with_unit(
            with_raw(facts, iptables="", ip6tables="", nftables=""), firewall.UNIT, UnitFileState="disabled"
        )
        found = site(node3=facts)
        assert differs(Leave(), found) == []
        script = Leave().work(found, "node3", ()).script
        assert not [word for word in ("consul.service", "/var/lib/consul", "provisioner.json") if word in script]

    def test_no_contents_are_shown(self, site):
        assert not [d for d in Leave().drift(site(), "node3") if "{" in d.found or d.is_file]


class TestEndpoints:
    STEP = Endpoints("node3", ADDRESS3)
    STALE = (endpoint("web", "192.168.56.13"), endpoint("mine", "192.168.56.12"))

    def site(self, site, records=STALE, **containers):
        both = {}
        for name, facts in (("node1", NODE1), ("node2", NODE2)):
            both[name] = with_http(with_http(facts, "endpoints", list(records)), "containers", containers.get(name, []))
        return site(**both).without(frozenset({"node3"}))

    def test_only_endpoints_of_the_host(self, site):
        found = self.site(site)
        assert [differs(self.STEP, found, host) for host in ("node1", "node2")] == [["web on demo"], []]
        script = self.STEP.work(found, "node1", ()).script
        assert f"docker network disconnect -f {NETWORK} web" in script
        assert "mine" not in script

    def test_not_by_a_host_that_has_a_container_of_that_name(self, site):
        found = self.site(site, node1=[container("web", "demo")])
        assert [differs(self.STEP, found, host) for host in ("node1", "node2")] == [[], ["web on demo"]]

    def test_if_every_host_has_a_container_of_that_name_one_reports_it(self, site):
        found = self.site(site, node1=[container("web")], node2=[container("web")])
        assert [differs(self.STEP, found, host) for host in ("node1", "node2")] == [["web on demo"], []]

    def test_settled(self, site):
        assert differs(self.STEP, self.site(site, records=self.STALE[1:]), "node1") == []
        assert differs(self.STEP, self.site(site, records=[endpoint("web", "192.168.56.13", "abc")]), "node1") == []
        assert differs(self.STEP, site(), "node1") == [], "no host was queried"

    def test_drained_containers_are_excluded(self, site):
        step = Endpoints("node3", ADDRESS3, frozenset({"web"}))
        assert differs(step, self.site(site), "node1") == []
