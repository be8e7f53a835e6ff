"""Each step on captured hosts: drifted, settled (no work), half-done, and what it refuses."""

from __future__ import annotations

import json

import pytest
from captured import HOSTS, capture, with_file, with_http, with_info, with_raw, with_system, with_unit

from provisioner import wording
from provisioner.controlplane import resolve
from provisioner.controlplane.kv import Kv
from provisioner.errors import StepFailed
from provisioner.model import Action, Drift, Kind, Outcome, State
from provisioner.steps import STEPS as ALL
from provisioner.steps.daemon import Daemon
from provisioner.steps.networks import Networks
from provisioner.steps.packages import Engines, Packages
from provisioner.steps.store import Store
from provisioner.stores.consul import JSON as CONSUL_JSON
from provisioner.stores.consul import LOADED as CONSUL_LOADED
from provisioner.stores.consul import UNIT_FILE as CONSUL_UNIT
from provisioner.system import gossip
from provisioner.system.reading import DAEMON_JSON, ENGINE_DNS_DROPIN, ENGINE_DROPIN, ENGINE_STARTED

STEPS = [step for step in ALL if step.name not in Kv.unused]
NODE1, NODE2 = capture("settled-node1"), capture("settled-node2")
ENGINES, PACKAGES, CONSUL, DAEMON, NETWORKS = Engines(), Packages(), Store(), Daemon(), Networks()


def differs(step, site, host="node2"):
    return [(wording.what(d), wording.note(d)) for d in step.drift(site, host)]


def work(step, site, host="node2"):
    return step.work(site, host, step.drift(site, host))


def action(step, site, host="node2"):
    """Return the action on the service, which is a word in the script."""
    script = work(step, site, host).script
    (found,) = {line.split("=")[1] for line in script.splitlines() if line.startswith("action=")} or {
        line.split()[1] for line in script.splitlines() if line.startswith("case ") and line.endswith(" in")
    }
    return found


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
@pytest.mark.parametrize("host", HOSTS)
def test_settled_hosts_have_no_drift(site, step, host):
    assert step.drift(site(), host) == ()


@pytest.mark.parametrize(
    "step",
    [s for s in STEPS if s.name not in ("engines", "packages", "plugins", "recreate")],
    ids=lambda step: step.name,
)
def test_installed_hosts_drift_in_everything_but_packages(site, step):
    assert step.drift(site("installed"), "node2")
    assert PACKAGES.drift(site("installed"), "node2") == ()


def bare(inventory, **words):
    return resolve(inventory(1, **words), {"node1": capture("bare")})[0]


class TestPackages:
    def test_a_bare_host(self, inventory):
        whole = bare(inventory, more="control_plane: kv")
        assert ENGINES.drift(whole, "node1") == ()
        assert {wording.what(d) for d in PACKAGES.drift(whole, "node1")} >= {"package docker.io", "package consul"}
        done = work(PACKAGES, whole, "node1")
        assert "\ninstall docker.io consul" in done.script
        assert done.uploads == ()

    def test_an_engine_that_decides_the_control_plane_is_installed_first(self, inventory):
        whole = bare(inventory)
        assert [wording.what(d) for d in ENGINES.drift(whole, "node1")] == ["package docker.io"]
        assert "\ninstall docker.io\nhas docker || install docker-cli" in work(ENGINES, whole, "node1").script
        assert {wording.what(d) for d in PACKAGES.drift(whole, "node1")} == {"package consul", "package iptables"}

    def test_an_engine_without_its_command(self, site):
        whole = site(node2=with_system(NODE2, "no-docker=", "yes"))
        assert differs(PACKAGES, whole) == [("package docker-cli", "")]

    def test_one_that_is_missing(self, site):
        lines = [line for line in NODE2.raw["system"].split("\n") if not line.startswith("program=iptables ")]
        whole = site(node2=with_raw(NODE2, system="\n".join(lines)))
        assert differs(PACKAGES, whole) == [("package iptables", "")]
        assert work(PACKAGES, whole).script.endswith("\ninstall iptables\n")

    def test_a_file_of_the_controller(self, inventory, tmp_path):
        (tmp_path / "consul").write_bytes(b"program")
        whole = bare(inventory, store=", binary: consul")
        done = work(PACKAGES, whole, "node1")
        assert "consul" not in done.script.rpartition("\ninstall ")[2]
        (upload,) = done.uploads
        assert (upload.local, upload.remote, upload.mode) == (tmp_path / "consul", "/usr/local/bin/consul", 0o755)


class TestConsul:
    def test_a_new_cluster_starts_at_once_and_waits_for_all_servers(self, site):
        whole = site("installed")
        assert {wording.what(d) for d in CONSUL.drift(whole, "node2")} == {
            CONSUL_JSON, CONSUL_UNIT, "consul.service", "consul.service at boot",
        }  # fmt: skip
        assert action(CONSUL, whole) == "start"
        assert not work(CONSUL, whole).alone
        assert self.wanted(whole, "node1")["bootstrap_expect"] == 3

    def wanted(self, whole, host):
        drift = {wording.what(d): d.wanted for d in CONSUL.drift(whole, host)}
        return json.loads(drift[CONSUL_JSON])

    def test_the_file(self, site):
        wanted = self.wanted(site("installed"), "node2")
        assert wanted["node_name"] == "node2"
        assert wanted["bind_addr"] == wanted["advertise_addr"] == "192.168.56.12"
        assert wanted["client_addr"] == "127.0.0.1"
        assert wanted["retry_join"] == ["192.168.56.11", "192.168.56.12", "192.168.56.13"]
        assert wanted["server"] is True

    def test_a_client(self, inventory):
        facts = {f"node{n}": capture("installed-node1") for n in (1, 2, 3, 4)}
        whole = resolve(inventory(4, each=", advertise: 192.168.56.1{}"), facts)[0]
        wanted = self.wanted(whole, "node4")
        assert wanted["server"] is False
        assert "bootstrap_expect" not in wanted

    def test_a_server_that_is_down_does_not_hold_up_a_new_cluster(self, inventory):
        facts = {name: capture(f"installed-{name}") for name in ("node1", "node2")}
        assert self.wanted(resolve(inventory(), facts)[0], "node1")["bootstrap_expect"] == 2

    def test_bootstrap_expect_stays_when_a_server_is_added(self, site):
        one = with_file(NODE1, CONSUL_JSON, NODE1.files[CONSUL_JSON].replace('expect": 3', 'expect": 1'))
        whole = site(node1=one)
        assert CONSUL.drift(whole, "node1") == ()  # not worth a restart

    @pytest.mark.parametrize("state", ["inactive", "failed"])
    def test_a_unit_that_is_enabled_but_down(self, site, state):
        whole = site(node2=with_unit(NODE2, "consul.service", ActiveState=state))
        assert differs(CONSUL, whole) == [("consul.service", "start")]
        assert action(CONSUL, whole) == "start"
        assert not work(CONSUL, whole).alone

    def test_a_real_host_whose_agent_is_down(self, site):
        assert ("consul.service", "start") in differs(CONSUL, site(node2=capture("all-stopped")))

    @pytest.mark.parametrize(("action", "engine", "seconds"), [
        (Action.RESTART, "settled", 25.0), (Action.START, "settled", 25.0), (Action.RELOAD, "settled", 0.0), (Action.START, "installed", 0.0),
    ])  # fmt: skip
    def test_engines_that_were_without_their_store_are_waited_for(self, site, action, engine, seconds):
        ended = Outcome("node2", "store", State.CONVERGED, (Drift(Kind.UNIT, "consul.service", action=action),))
        assert CONSUL.engines_return(site(node2=capture(f"{engine}-node2")), [ended]) == seconds

    def test_a_unit_that_runs_but_not_at_boot(self, site):
        whole = site(node2=with_unit(NODE2, "consul.service", UnitFileState="disabled"))
        assert differs(CONSUL, whole) == [("consul.service at boot", "")]
        assert action(CONSUL, whole) == "write"

    def test_files_written_and_the_agent_not_restarted(self, site):
        loaded = NODE2.files[CONSUL_LOADED].replace('"raft_multiplier": 2', '"raft_multiplier": 5')
        assert loaded != NODE2.files[CONSUL_LOADED]
        whole = site(node2=with_file(NODE2, CONSUL_LOADED, loaded))
        assert differs(CONSUL, whole) == [("the running Consul", "restart of Consul")]
        assert action(CONSUL, whole) == "restart"
        assert work(CONSUL, whole).alone  # in an existing cluster, agents restart one after the other

    def test_an_agent_with_an_unknown_loaded_configuration(self, site):
        assert differs(CONSUL, site(node2=with_file(NODE2, CONSUL_LOADED, ""))) == [
            ("the running Consul", "restart of Consul")
        ]

    def test_a_changed_unit_restarts(self, site):
        loaded = NODE2.files[CONSUL_LOADED].replace("LimitNOFILE=65536", "LimitNOFILE=1")
        assert differs(CONSUL, site(node2=with_file(NODE2, CONSUL_LOADED, loaded))) == [
            ("the running Consul", "restart of Consul")
        ]

    def test_where_to_find_the_cluster_is_written_without_a_restart(self, site):
        old = NODE2.files[CONSUL_JSON].replace('"192.168.56.11", ', "")
        loaded = NODE2.files[CONSUL_LOADED].replace('"192.168.56.11", ', "")
        whole = site(node2=with_file(with_file(NODE2, CONSUL_JSON, old), CONSUL_LOADED, loaded))
        assert differs(CONSUL, whole) == [(CONSUL_JSON, "")]
        assert action(CONSUL, whole) == "write"

    def test_somebody_changed_the_file(self, site):
        whole = site(node2=with_file(NODE2, CONSUL_JSON, NODE2.files[CONSUL_JSON].replace("true", "false", 1)))
        assert differs(CONSUL, whole) == [(CONSUL_JSON, "")]

    @pytest.mark.parametrize(
        ("facts", "what"),
        [
            (with_http(NODE2, "members", "000 refused"), "Consul's HTTP interface"),
            (with_http(NODE2, "leader", ""), "Consul's leader"),
            (with_http(NODE2, "leader", "500 No cluster leader"), "Consul's leader"),
            (with_http(NODE2, "members", NODE2.http("members").body[:2]), "Consul's members"),
            (with_http(NODE2, "members", [{**m, "Status": 4} for m in NODE2.http("members").body]), "Consul's members"),
        ],
    )
    def test_what_only_time_can_mend(self, site, facts, what):
        whole = site(node2=facts)
        assert differs(CONSUL, whole) == [(what, "wait")]
        assert work(CONSUL, whole) is None

    def test_a_host_that_dropped_out_is_not_waited_for(self, site):
        facts = with_http(NODE2, "members", [m for m in NODE2.http("members").body if m["Name"] != "node3"])
        assert differs(CONSUL, site(node2=facts)) == [("Consul's members", "wait")]
        assert differs(CONSUL, site(node2=facts).without(frozenset({"node3"}))) == []

    def test_no_server_is_left(self, site):
        with pytest.raises(StepFailed) as caught:
            CONSUL.wait(site().without(frozenset(HOSTS)), {})
        assert caught.value.fatal


class TestDaemon:
    def test_a_first_time_reloads_and_stops_no_container(self, site):
        whole = site("installed")
        assert differs(DAEMON, whole) == [
            (DAEMON_JSON, ""),
            (ENGINE_DROPIN, ""),
            (gossip.PROGRAM, ""),
            (gossip.UNIT_FILE, ""),
            ("the running engine's store", "reload"),
            (f"{gossip.UNIT} at boot", ""),
        ]
        assert action(DAEMON, whole) == "reload"
        assert not work(DAEMON, whole).alone

    def test_the_file(self, site):
        (drift,) = (d for d in DAEMON.drift(site("installed"), "node2") if wording.what(d) == DAEMON_JSON)
        assert json.loads(drift.wanted) == {
            "cluster-store": "consul://127.0.0.1:8500", "cluster-advertise": "192.168.56.12:2376",
        }  # fmt: skip

    def test_the_keys_of_others_stay_as_they_are(self, site):
        odd = capture("odd-keys")
        assert DAEMON.drift(site(node1=odd), "node1") == ()  # it has our keys; format and order do not matter
        (drift,) = DAEMON.drift(
            site(node1=with_file(odd, DAEMON_JSON, odd.files[DAEMON_JSON].replace("56.11", "56.99"))), "node1"
        )
        assert wording.what(drift) == DAEMON_JSON
        wanted = json.loads(drift.wanted)
        assert list(wanted) == ["log-level", "cluster-store", "labels", "cluster-advertise", "storage-driver"]
        assert wanted["labels"] == ['a=é"b']
        assert wanted["cluster-advertise"] == "192.168.56.11:2376"

    DNS = "dns: {servers: [192.0.2.53, '2001:db8::53'], search: [example.net], options: ['timeout:2']}"
    KEYS = {"dns": ["192.0.2.53", "2001:db8::53"], "dns-search": ["example.net"], "dns-opts": ["timeout:2"]}  # noqa: RUF012

    def with_dns(self, site, inventory, started, node=NODE2, **more):
        """Return a settled host with the keys of `dns:` in its files. started: the keys that the running engine has loaded."""
        whole = site(found=inventory(more=self.DNS))
        drop_in = next(d.wanted for d in DAEMON.drift(whole, "node2") if wording.what(d) == ENGINE_DNS_DROPIN)
        file = json.dumps(json.loads(NODE2.files[DAEMON_JSON]) | self.KEYS)
        node = with_file(with_file(node, DAEMON_JSON, file), ENGINE_DNS_DROPIN, drop_in)
        if started is not None:
            node = with_file(node, ENGINE_STARTED, json.dumps(started) + "\n")
        return site(found=inventory(more=self.DNS), node2=with_info(node, **more))

    def test_resolvers_take_a_restart_of_a_running_engine(self, site, inventory):
        whole = site("installed", found=inventory(more=self.DNS))
        assert {wording.what(d): wording.note(d) for d in DAEMON.drift(whole, "node2")} | {
            "the running engine's DNS": "restart"
        } == {wording.what(d): wording.note(d) for d in DAEMON.drift(whole, "node2")}
        (drift,) = (d for d in DAEMON.drift(whole, "node2") if wording.what(d) == DAEMON_JSON)
        assert {key: json.loads(drift.wanted)[key] for key in self.KEYS} == self.KEYS
        assert action(DAEMON, whole) == "restart"
        (drop_in,) = (d.wanted for d in DAEMON.drift(whole, "node2") if wording.what(d) == ENGINE_DNS_DROPIN)
        assert f"cat /etc/docker/daemon.json >{ENGINE_STARTED}" in drop_in

    @pytest.mark.parametrize(
        ("running", "alone"), [({"ContainersRunning": 1}, True), ({"ContainersRunning": 0, "ClusterStore": ""}, False)]
    )
    def test_engines_without_containers_and_store_restart_in_parallel(self, site, inventory, running, alone):
        whole = self.with_dns(site, inventory, {}, **running)
        assert action(DAEMON, whole) == "restart"
        assert work(DAEMON, whole).alone is alone

    def test_an_engine_that_has_read_its_resolvers(self, site, inventory):
        assert differs(DAEMON, self.with_dns(site, inventory, self.KEYS | {"debug": True})) == []

    @pytest.mark.parametrize("started", [None, {}, KEYS | {"dns": ["192.0.2.1"]}])
    def test_resolvers_that_were_written_and_not_read(self, site, inventory, started):
        """The run was interrupted before the restart, or the engine was only reloaded, which is not enough."""
        assert differs(DAEMON, self.with_dns(site, inventory, started)) == [("the running engine's DNS", "restart")]

    def test_what_the_inventory_leaves_out_stays(self, site, inventory):
        file = json.dumps({**json.loads(NODE2.files[DAEMON_JSON]), "dns": ["192.0.2.9"], "dns-opts": ["rotate"]})
        whole = site(found=inventory(more="dns: {search: [example.net]}"), node2=with_file(NODE2, DAEMON_JSON, file))
        (drift,) = (d for d in DAEMON.drift(whole, "node2") if wording.what(d) == DAEMON_JSON)
        wanted = json.loads(drift.wanted)
        assert (wanted["dns"], wanted["dns-opts"], wanted["dns-search"]) == (["192.0.2.9"], ["rotate"], ["example.net"])

    def test_a_prefix(self, site, inventory):
        (drift, *_) = DAEMON.drift(site("installed", found=inventory(store=", prefix: lab/one")), "node2")
        assert json.loads(drift.wanted)["cluster-store"] == "consul://127.0.0.1:8500/lab/one"

    def test_written_and_not_reloaded(self, site):
        found = with_info(NODE2, ClusterStore="", ClusterAdvertise="")
        found = with_http(found, "networks", [n for n in NODE2.networks.values() if n["Driver"] != "overlay"])
        whole = site(node2=found)
        assert differs(DAEMON, whole) == [("the running engine's store", "reload")]
        assert action(DAEMON, whole) == "reload"

    @pytest.mark.parametrize(
        ("key", "what"),
        [
            ({"ClusterStore": "consul://127.0.0.1:8500/old"}, "store"),
            ({"ClusterAdvertise": "10.0.2.15:2376"}, "advertised address"),
        ],
    )
    def test_another_store_or_address_takes_a_restart_alone(self, site, key, what):
        whole = site(node2=with_info(NODE2, **key))
        assert differs(DAEMON, whole) == [(f"the running engine's {what}", "restart")]
        assert action(DAEMON, whole) == "restart"
        assert work(DAEMON, whole).alone

    def test_taken_out_of_the_file_while_the_engine_runs(self, site):
        whole = site(node2=with_file(NODE2, DAEMON_JSON, '{"debug": true}\n'))
        assert differs(DAEMON, whole) == [(DAEMON_JSON, "")]
        assert action(DAEMON, whole) == "enable"
        assert "if [ yes = yes ]" in work(DAEMON, whole).script

    def test_stopped(self, site):
        whole = site(node2=with_file(capture("stopped"), CONSUL_JSON, NODE2.files[CONSUL_JSON]))
        assert differs(DAEMON, whole) == [("docker.service", "start")]
        assert action(DAEMON, whole) == "start"
        assert not work(DAEMON, whole).alone

    def test_not_at_boot(self, site):
        whole = site(node2=with_unit(NODE2, "docker.service", UnitFileState="disabled"))
        assert differs(DAEMON, whole) == [("docker.service at boot", "")]
        assert action(DAEMON, whole) == "enable"

    @pytest.mark.parametrize("path", [ENGINE_DROPIN, *gossip.FILES])
    def test_only_a_file_beside_it(self, site, path):
        whole = site(node2=with_file(NODE2, path, "other\n"))
        assert differs(DAEMON, whole) == [(path, "")]
        assert action(DAEMON, whole) == "enable"

    def test_an_added_host_changes_the_gossip_unit_of_the_others(self, inventory):
        facts = {name: capture(f"settled-{name}") for name in HOSTS}
        (drift,) = DAEMON.drift(resolve(inventory(4), facts)[0], "node1")
        assert wording.what(drift) == gossip.UNIT_FILE
        assert "192.168.56.11 192.168.56.12 192.168.56.13 192.168.56.14\n" in drift.wanted

    @pytest.mark.parametrize(("age", "action"), [("", "wait"), ("12.5", "wait"), ("500.25", "restart")])
    def test_gossip_that_does_not_listen_yet_or_never_will(self, site, age, action):
        """An engine that has left the gossip, because another one had its name, does not come back by itself."""
        lines = [line for line in NODE2.raw["ports"].split("\n") if not line.startswith("tcp 7946 ")]
        began = "Id=docker.service\nStarted=100" if age else "Id=docker.service"
        units = NODE2.raw["units"].replace("Id=docker.service", began)
        silent = with_system(with_raw(NODE2, ports="\n".join(lines), units=units), "uptime=", age or None)
        whole = site(node2=silent)
        assert differs(DAEMON, whole) == [("gossip on 7946", action)]
        assert bool(work(DAEMON, whole)) == (action == "restart")
        without_store = with_unit(silent, "consul.service", ActiveState="inactive")
        assert (("gossip on 7946", "restart") in differs(DAEMON, site(node2=without_store))) is False

    def test_hanging(self, site):
        whole = site(node3=capture("hanging"))
        assert differs(DAEMON, whole, "node3") == [("the engine", "wait")]
        assert work(DAEMON, whole, "node3") is None

    def test_invalid_json_is_not_touched(self, site):
        with pytest.raises(StepFailed, match="not valid JSON") as caught:
            DAEMON.drift(site(node1=capture("invalid")), "node1")
        assert not caught.value.fatal

    def test_an_engine_that_is_not_there_yet_is_planned(self, inventory):
        assert ("docker.service", "start") in differs(DAEMON, bare(inventory), "node1")


DEMO = NODE2.networks["demo"]
OTHERS = [n for n in NODE2.networks.values() if n["Name"] != "demo"]


def demo(facts, **keys):
    return with_http(facts, "networks", [*OTHERS, {**DEMO, **keys}])


def absent(name):
    return with_http(capture(f"settled-{name}"), "networks", OTHERS)


class TestNetworks:
    def test_made_by_one_host_and_awaited_by_the_others(self, site):
        whole = site(**{name: absent(name) for name in HOSTS})
        assert [differs(NETWORKS, whole, name) for name in HOSTS] == [[("network demo", "")]] * 3
        measured = '${mtu:+--opt com.docker.network.driver.mtu="$mtu"}'
        assert (
            f"docker network create --driver overlay --subnet 10.99.0.0/24 {measured} demo"
            in work(NETWORKS, whole, "node1").script
        )
        assert work(NETWORKS, whole, "node2") is None
        assert work(NETWORKS, whole, "node3") is None

    def test_the_next_host_makes_it_where_the_first_dropped_out(self, site):
        whole = site(**{name: absent(name) for name in HOSTS}).without(frozenset({"node1"}))
        assert work(NETWORKS, whole, "node2") is not None

    def test_seen_by_another_host_it_is_not_made_again(self, site):
        whole = site(node1=absent("node1"))
        assert differs(NETWORKS, whole, "node1") == [("network demo", "")]
        assert work(NETWORKS, whole, "node1") is None

    def test_an_engine_that_has_not_joined_is_pending(self, site):
        assert [d.pending for d in NETWORKS.drift(site("installed"), "node2")] == [True]
        assert [d.pending for d in NETWORKS.drift(site(node2=absent("node2")), "node2")] == [False]

    @pytest.mark.parametrize(
        ("keys", "what"),
        [
            ({"Driver": "bridge", "Options": {}}, [("driver", "bridge", "overlay")]),
            ({"Scope": "local"}, [("scope", "local", "global")]),
            ({"IPAM": {"Config": [{"Subnet": "10.98.0.0/24"}]}}, [("subnet", "10.98.0.0/24", "10.99.0.0/24")]),
            ({"IPAM": None}, [("subnet", "", "10.99.0.0/24")]),
            ({"Internal": True}, [("internal", "yes", "no")]),
            ({"Options": {"x": "1"}}, [("option x", "1", "")]),
        ],
    )
    def test_a_different_network_of_that_name_is_reported_and_not_changed(self, site, keys, what):
        whole = site(node2=demo(NODE2, **keys))
        drift = NETWORKS.drift(whole, "node2")
        assert [(wording.what(d).removeprefix("network demo: "), d.found, d.wanted) for d in drift] == what
        assert {(wording.note(d), d.held) for d in drift} == {("up --recreate demo", True)}
        assert NETWORKS.work(whole, "node2", drift) is None

    def test_no_network_is_created_if_another_host_has_a_different_one(self, site):
        whole = site(**{name: absent(name) for name in HOSTS} | {"node2": demo(NODE2, Driver="bridge", Scope="local")})
        (drift,) = NETWORKS.drift(whole, "node1")
        assert (drift.found, drift.held) == ("absent, and different from the inventory on node2", True)
        assert NETWORKS.work(whole, "node1", (drift,)) is None

    def test_another_mtu(self, site, inventory):
        found = inventory()
        small = found.model_copy(update={"networks": {"demo": found.networks["demo"].model_copy(update={"mtu": 1400})}})
        options = {"com.docker.network.driver.mtu": "1400"}
        hosts = {name: demo(capture(f"settled-{name}"), Options=options) for name in HOSTS}
        assert NETWORKS.drift(site(found=small, **hosts), "node2") == ()
        assert NETWORKS.drift(site(found=found, **hosts), "node2") == ()  # a measured MTU stays
        assert [wording.what(d) for d in NETWORKS.drift(site(found=small), "node2")] == [
            "network demo: option com.docker.network.driver.mtu"
        ]

    def test_two_networks_of_one_name_on_one_host(self, site):
        twins = [*OTHERS, DEMO, {**DEMO, "Id": "other"}]
        whole = site(**{name: with_http(capture(f"settled-{name}"), "networks", twins) for name in HOSTS})
        with pytest.raises(StepFailed, match="2 networks"):
            NETWORKS.drift(whole, "node2")

    def test_two_networks_of_one_name_on_two_hosts(self, site):
        for host in HOSTS:
            with pytest.raises(StepFailed, match="2 networks"):
                NETWORKS.drift(site(node2=demo(NODE2, Id="other")), host)

    def test_every_host_measures_its_paths_to_the_others(self, site, inventory):
        hosts = {name: absent(name) for name in HOSTS}
        hosts["node3"] = with_file(hosts["node3"], "/sys/class/net/eth0/mtu", "1400\n")
        scripts = work(NETWORKS, site(**hosts), "node1").stdin.scripts
        assert {name: script.splitlines()[-1] for name, script in scripts.items()} == {
            "node1": "' 1500 192.168.56.12 192.168.56.13",
            "node2": "' 1500 192.168.56.11 192.168.56.13",
            "node3": "' 1400 192.168.56.11 192.168.56.12",
        }
        told = inventory(more="  one: {subnet: 10.98.0.0/24, mtu: 1400}")
        told.networks.pop("demo")
        assert work(NETWORKS, site(found=told, **hosts), "node1").stdin is None

    def test_all_keys_of_the_inventory(self, site, inventory):
        more = """
  full: {subnet: 10.98.0.0/24, gateway: 10.98.0.254, ip_range: 10.98.0.128/25, mtu: 1400, internal: true, labels: {b: x y, a: z}}"""
        found = inventory(more=more.strip("\n"))
        script = work(NETWORKS, site(found=found), "node1").script
        assert (
            "docker network create --driver overlay --subnet 10.98.0.0/24 --gateway 10.98.0.254 --ip-range 10.98.0.128/25 "
            "--opt com.docker.network.driver.mtu=1400 --internal --label a=z --label 'b=x y' full" in script
        )
        assert "demo" not in script


def test_a_host_that_is_not_root_or_slow_changes_no_step(site):
    """Steps ignore facts of other concerns."""
    odd = with_system(with_system(NODE2, "uid=", "1000"), "now=", "0")
    assert all(step.drift(site(node2=odd), "node2") == () for step in STEPS)
