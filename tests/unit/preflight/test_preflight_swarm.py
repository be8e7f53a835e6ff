"""The checks of swarm mode, each on facts that differ from a settled host's in its cause only."""

from __future__ import annotations

import json
import re

import pytest
from captured import HOSTS, capture, with_file, with_http, with_info, with_raw, with_system, with_unit
from swarms import ADDRESSES, FOUND, IDS, another, fresh, out, put, with_managers

from provisioner import causes, preflight
from provisioner.controlplane import resolve
from provisioner.controlplane.summary import summaries
from provisioner.steps.swarm import Swarm
from provisioner.system.reading import DAEMON_JSON
from provisioner.system.swarm import CERTIFICATE, STATE, validity

NODE2 = FOUND["node2"]
STORE_KEYS = '{"cluster-store": "consul://127.0.0.1:8500", "cluster-advertise": "192.168.56.12:2376"}\n'
STOP, WARNING = "stop", "warning"
BEGIN, END = validity(NODE2.files[CERTIFICATE])
ONE = "swarm: {managers: [node1]}"


def found(inventory, facts, more=ONE, hosts=3):
    site, findings = resolve(inventory(hosts, kind="", more=more), facts)
    return [(f.id, f.host, causes.severity(f).value) for f in (*findings, *preflight.run(site))]


def texts(inventory, facts, more=ONE):
    site, _ = resolve(inventory(kind="", more=more), facts)
    return " ".join(f"{f.evidence} | {causes.cure(f)}" for f in preflight.run(site))


def test_settled_and_fresh_hosts_have_no_finding(inventory):
    assert found(inventory, FOUND) == found(inventory, fresh()) == []


@pytest.mark.parametrize("driver", ["", "overlay"])
def test_a_network_that_the_leader_could_not_allocate(inventory, driver):
    twin = {"Name": "twin", "Id": "x", "Driver": driver, "Scope": "swarm"}
    facts = FOUND | {"node1": with_http(FOUND["node1"], "networks", [*FOUND["node1"].networks.values(), twin])}
    assert found(inventory, facts) == ([] if driver else [("network-unallocated", "", WARNING)])
    assert driver or "docker network rm twin, and create it again" in texts(inventory, facts)


HOST = {
    "store keys in an engine from 23.0 on": (with_file(NODE2, DAEMON_JSON, STORE_KEYS), "store-keys-left", STOP),
    "and it has stopped on them": (
        with_raw(
            with_http(with_unit(with_file(NODE2, DAEMON_JSON, STORE_KEYS), "docker.service", ActiveState="failed"), "info", "000 refused"),
            ports="",
            engine="Docker version 26.1.5+dfsg1, build a72d7cd",
        ),
        "store-keys-left",
        STOP,
    ),
    "an engine on a store": (with_info(out("node2"), ClusterStore="consul://127.0.0.1:8500", ServerVersion="20.10.5"), "store-in-use", STOP),
    "an old engine with a store in its file": (
        with_file(with_info(out("node2"), ServerVersion="20.10.5"), DAEMON_JSON, STORE_KEYS), "store-in-use", STOP,
    ),
    "live-restore on": (with_info(out("node2"), LiveRestoreEnabled=True), "live-restore", STOP),
    "live-restore in the file": (with_file(out("node2"), DAEMON_JSON, '{"live-restore": true}\n'), "live-restore", STOP),
    "another swarm": (another("node2"), "other-swarm", STOP),
    "locked": (put("node2", LocalNodeState="locked", NodeID="", RemoteManagers=None), "swarm-locked", STOP),
    "in trouble": (put("node2", LocalNodeState="error", Error="remote CA does not match"), "swarm-error", STOP),
    "an address that has changed": (put("node2", NodeAddr="192.168.56.99"), "address-changed", STOP),
    "a data path that has changed": (
        with_file(NODE2, STATE, NODE2.files[STATE].replace('"DataPathAddr":"192.168.56.12"', '"DataPathAddr":"192.168.56.99"')),
        "address-changed",
        STOP,
    ),
    "a certificate that has ended": (with_system(NODE2, "now=", str(END + 86400 * 3)), "swarm-certificate", STOP),
    "a certificate that is not renewed": (with_system(NODE2, "now=", str(END - 86400 * 9)), "swarm-certificate", WARNING),
    "4789 taken": (
        with_raw(out("node2"), ports="udp 4789 77\nowner 77 812 vmware\n"), "port-taken", STOP,
    ),
    "2377 taken": (
        with_raw(out("node2"), ports="tcp 2377 77\nowner 77 812 k3s\n"), "port-taken", STOP,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", HOST)
def test_a_cause_on_one_host(inventory, case):
    facts, check, severity = HOST[case]
    others = {name: FOUND[name] for name in ("node1", "node3")}
    assert found(inventory, {**others, "node2": facts}) == [(check, "node2", severity)]


def test_4789_may_be_taken_where_another_port_is_chosen(inventory):
    facts = {**fresh(), "node2": HOST["4789 taken"][0]}
    assert found(inventory, facts, "swarm: {managers: [node1], data_path_port: 4790}") == []


def test_a_manager_whose_address_has_changed_gives_up_its_vote_first(inventory):
    """A manager's engine rejects `docker swarm leave`; with --force, the others would lose a vote."""
    assert "join the swarm again: docker swarm leave, on this host" in texts(
        inventory, {**FOUND, "node2": put("node2", NodeAddr="192.168.56.99")}
    )
    managers = with_managers(*HOSTS)
    changed = with_info(managers["node2"], Swarm={**managers["node2"].engine["Swarm"], "NodeAddr": "192.168.56.99"})
    words = texts(inventory, {**managers, "node2": changed}, "")
    assert (
        f"docker node demote {IDS['node2']}, on another manager, then docker swarm leave --force, on this host" in words
    )


def test_a_swarm_certificate_is_valid_for_90_days_and_not_reported_in_the_first_half(inventory):
    assert 90 * 86400 <= END - BEGIN <= 91 * 86400
    assert found(inventory, {**FOUND, "node2": with_system(NODE2, "now=", str(END - 86400 * 44))}) == []
    assert validity("no certificate") is validity("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----") is None


def test_the_cure_of_a_locked_host_says_where_the_key_is(inventory):
    locked = {name: put(name, LocalNodeState="locked", NodeID="", RemoteManagers=None, Cluster=None) for name in HOSTS}
    assert "docker swarm unlock-key on node1 shows it" in texts(inventory, {**FOUND, "node2": locked["node2"]})
    assert "enough managers for a majority" in texts(inventory, locked)
    assert {check for check, _, _ in found(inventory, locked)} == {"swarm-locked"}


class TestLostMajority:
    """Answers of engine 26.1.5 without a majority: a swarm of zeros, and no nodes."""

    def lost(self, *running):
        facts = with_managers(*HOSTS, down=[name for name in HOSTS if name not in running])
        zeros = {"ID": "", "Spec": {"Labels": None}, "DataPathPort": 0}
        swarms = {name: with_info(f, Swarm={**f.engine["Swarm"], "Cluster": zeros}) for name, f in facts.items()}
        return {
            name: with_http(of_host, "nodes", "500 The swarm does not have a leader")
            for name, of_host in swarms.items()
        }

    def test_the_finding_names_the_missing_managers(self, inventory):
        assert found(inventory, self.lost("node1"), "") == [("swarm-leaderless", "node1", WARNING)]
        words = texts(inventory, self.lost("node1"), "")
        assert "of its 3 managers, these do not take part: node2, node3 |" in words
        assert "--force-new-cluster --advertise-addr 192.168.56.11, on this host only" in words

    def test_managers_that_left_without_being_demoted_may_be_the_majority(self, inventory):
        words = texts(inventory, self.lost(*HOSTS), "")
        assert (
            "although the 3 managers that it knows run; managers that left without being demoted still count" in words
        )

    def test_no_container_can_join(self, inventory):
        site, _ = resolve(inventory(kind=""), self.lost("node1"))
        closed = site.plane.closed(site, "node1")
        assert "its swarm has no leader" in closed.what
        assert closed.heals > 0

    def test_engines_that_are_off(self, inventory):
        off = {name: with_http(FOUND[name], "info", "000 refused") for name in ("node2", "node3")}
        assert ("swarm-leaderless", "node1", WARNING) in found(inventory, {**self.lost("node1"), **off}, "")


@pytest.mark.parametrize(("availability", "word"), [("drain", "drained"), ("pause", "paused")])
def test_a_node_that_takes_no_container(inventory, availability, word):
    nodes = json.loads(json.dumps(FOUND["node1"].http("nodes").body))
    next(node for node in nodes if node["ID"] == IDS["node2"])["Spec"]["Availability"] = availability
    facts = {**FOUND, "node1": with_http(FOUND["node1"], "nodes", nodes)}
    assert found(inventory, facts) == [("node-resting", "node2", WARNING)]
    assert f"is {word}, so containers that start there can't join" in texts(inventory, facts)
    assert f"docker node update --availability active {IDS['node2']}" in texts(inventory, facts)
    site, _ = resolve(inventory(kind="", more=ONE), facts)
    assert {s.host: s.store_role for s in summaries(site, {})}["node2"] == f"worker, {word}"
    assert (Swarm().drift(site, "node2"), site.plane.closed(site, "node3")) == ((), None)


def knows(name, *peers):
    """Return a host whose engine knows these peers from gossip."""
    return with_http(
        FOUND[name], "ingress", {"Name": "ingress", "Peers": [{"Name": "x", "IP": ADDRESSES[peer]} for peer in peers]}
    )


def test_engines_that_do_not_know_one_another(inventory):
    facts = {
        "node1": knows("node1", "node1"),
        "node2": knows("node2", "node2", "node3"),
        "node3": knows("node3", "node2", "node3"),
    }
    assert found(inventory, facts) == [("engines-apart", "node1", WARNING)]
    words = texts(inventory, facts)
    assert "does not know node2, node3 from gossip" in words
    # only the hosts that don't know the manager
    assert "on node2, node3, one after the other: systemctl restart docker" in words
    assert found(inventory, {name: knows(name, *HOSTS) for name in HOSTS}) == []
    # An engine whose gossip does not list itself, since its own address has changed.
    others = {name: knows(name, *HOSTS) for name in HOSTS[1:]}
    assert found(inventory, {"node1": knows("node1", "node2", "node3"), **others}) == []
    joins = {**facts, "node2": out("node2"), "node3": out("node3")}
    assert "engines-apart" not in [check for check, *_ in found(inventory, joins)]


class TestFixed:
    @pytest.mark.parametrize(
        ("keys", "what"),
        [
            ("data_path_port: 4790", "data_path_port 4789; wanted: 4790"),
            (
                "default_addr_pool: {pools: [10.20.0.0/16]}",
                "default_addr_pool 10.0.0.0/8 (subnets of /24); wanted: 10.20.0.0/16 (subnets of /24)",
            ),
        ],
    )
    def test_settings_that_are_fixed_at_creation_are_reported(self, inventory, keys, what):
        more = f"swarm: {{managers: [node1], {keys}}}"
        assert found(inventory, FOUND, more) == [("swarm-fixed", "", STOP)]
        assert what in texts(inventory, FOUND, more)
        assert found(inventory, fresh(), more) == []

    @pytest.mark.parametrize(
        ("made", "words", "what"),
        [
            (
                {"DataPathPort": 4790},
                "data_path_port: 4790",
                "data_path_port 4790; wanted: 4789, the engine's default, since the inventory has no swarm.data_path_port",
            ),
            (
                {"DefaultAddrPool": ["10.20.0.0/16"], "SubnetSize": 26},
                "default_addr_pool: {pools: [10.20.0.0/16], size: 26}",
                "default_addr_pool 10.20.0.0/16 (subnets of /26); wanted: 10.0.0.0/8 (subnets of /24), the engine's default, since the inventory has no swarm.default_addr_pool",
            ),
        ],
    )
    def test_settings_that_the_inventory_omits_have_the_engines_default(self, inventory, made, words, what):
        facts = {**FOUND, "node1": put("node1", Cluster={**FOUND["node1"].engine["Swarm"]["Cluster"], **made})}
        assert found(inventory, facts) == [("swarm-fixed", "", STOP)]
        assert what in (text := texts(inventory, facts))
        assert f"set what the swarm was created with: `{words}` under `swarm`; or" in text
        assert found(inventory, facts, f"swarm: {{managers: [node1], {words}}}") == []
        site, _ = resolve(
            inventory(more="control_plane: auto"), facts
        )  # in a swarm already, while the inventory names a store
        (fixed,) = [f for f in preflight.run(site) if f.id == "swarm-fixed"]
        assert "under `swarm`, in place of `store`;" in causes.cure(fixed)

    def test_settings_that_engines_do_not_report_have_their_default(self, inventory):
        assert found(inventory, FOUND, "swarm: {managers: [node1], data_path_port: 4789}") == []
        old = {"DataPathPort": 0, "DefaultAddrPool": None, "SubnetSize": 0}
        facts = {**FOUND, "node1": put("node1", Cluster={**FOUND["node1"].engine["Swarm"]["Cluster"], **old})}
        assert found(inventory, facts) == []


class TestLeftOut:
    def test_nodes_in_no_inventory(self, inventory):
        facts = with_managers("node1")
        del facts["node3"]
        assert found(inventory, facts, hosts=2) == [("node-left-out", "", WARNING)]

    def test_managers_of_whom_a_majority_would_be_shut_out(self, inventory):
        facts = with_managers("node1", "node2", "node3")
        assert found(inventory, {"node1": facts["node1"]}, "", hosts=1) == [("node-left-out", "", STOP)]

    def test_a_host_of_the_inventory_that_is_down_is_not_left_out(self, inventory):
        facts = with_managers("node1", "node2", "node3", down=("node3",))
        assert found(inventory, facts, "") == []


def test_the_network_ingress_over_a_route_of_a_host(inventory):
    route = "eth7\t0000000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
    facts = {
        **fresh(),
        "node2": with_file(out("node2"), "/proc/net/route", out("node2").files["/proc/net/route"] + route),
    }
    assert found(inventory, facts) == [("subnet-overlap", "node2", STOP)]
    assert found(inventory, facts, "swarm: {default_addr_pool: {pools: [10.20.0.0/16]}}") == []
    assert found(inventory, {**FOUND, "node3": out("node3")}) == []  # the swarm exists already
    (found_pool,) = re.findall(r"free on all hosts: `pools: \[(.*?)\]`", said := texts(inventory, facts))
    assert "address pools that no host has a route to: set swarm.default_addr_pool;" in said
    assert found(inventory, facts, f"swarm: {{default_addr_pool: {{pools: [{found_pool}]}}}}") == []


def test_the_network_ingress_over_one_of_the_inventory_where_a_store_is_named_and_the_engines_are_too_new(inventory):
    more = "  wide: {subnet: 10.0.0.0/23}"
    site, _ = resolve(inventory(more=more), fresh())
    (finding,) = preflight.run(site)
    assert (site.control, finding.id, finding.host, causes.severity(finding).value) == (
        "swarm",
        "subnet-overlap",
        "",
        STOP,
    )
    assert (
        "10.0.0.0/24 for its network ingress, which overlaps with the subnet 10.0.0.0/23 of the network wide"
        in finding.evidence
    )
    assert (
        "choose another subnet for the network; or set swarm.default_addr_pool, and control_plane to swarm, in place of `store`"
        in causes.cure(finding)
    )
    assert preflight.run(resolve(inventory(more=more.replace("0.0.0/23", "0.1.0/24")), fresh())[0]) == []


@pytest.mark.parametrize(
    ("plane", "keep"),
    [
        ("", "add `store: {kind: etcd}` to the inventory, with its `endpoints` if provisioner did not set it up"),
        (
            "control_plane: swarm",
            "add `store: {kind: etcd}` to the inventory, in place of `control_plane: swarm`, with",
        ),
    ],
)
def test_an_old_engine_on_a_store_that_the_inventory_does_not_name(inventory, plane, keep):
    """The inventory was made for engines of today. The cure is a line that `inventory check` accepts."""
    two = with_info(out("node2"), ClusterStore="etcd://192.0.2.9:2379", ServerVersion="20.10.5")
    site, _ = resolve(inventory(kind="", more=plane), {**fresh(), "node2": two})
    (problem,) = [f for f in preflight.run(site) if f.id == "store-in-use"]
    assert f"or keep the external store: {keep}" in causes.cure(problem)
    assert (site.control, site.why) == ("swarm", "" if plane else "the inventory names no store")
    assert resolve(inventory(kind="etcd"), {**fresh(), "node2": two})[0].control == "kv"
    file = '{"cluster-store": "etcd://192.0.2.9:2379"}'  # the engine has not read it yet
    two = with_file(with_info(out("node2"), ServerVersion="20.10.5"), DAEMON_JSON, file)
    (problem,) = preflight.run(resolve(inventory(kind="", more=plane), {**fresh(), "node2": two})[0])
    assert keep in causes.cure(problem)


@pytest.mark.parametrize("words", ["encrypted: true", "attachable: false"])
def test_options_of_swarm_networks_where_auto_chooses_the_store(inventory, words):
    facts = {name: capture(f"installed-{name}") for name in HOSTS}
    site, _ = resolve(inventory(more=f"  safe: {{subnet: 10.98.0.0/24, {words}}}"), facts)
    assert [(f.id, f.host) for f in preflight.run(site)] == [("swarm-network", "")]


def test_encrypted_where_the_kernel_can_not(inventory):
    lacking = {**FOUND, "node2": with_system(NODE2, "lacks=", "esp4")}
    safe = "  safe: {subnet: 10.98.0.0/24, encrypted: true}\n" + ONE
    assert found(inventory, FOUND, safe) == []
    assert found(inventory, lacking, safe) == [("kernel-without", "node2", STOP)]
    assert "the network safe needs esp4" in (text := texts(inventory, lacking, safe))
    assert "use another kernel, or remove `encrypted` from the network" in text


def test_overlays_where_the_kernel_has_no_vxlan(inventory):
    """Also if only the installation of a module's package is missing. A network that exists shows that the kernel has it."""
    lacking = {**FOUND, "node2": with_system(NODE2, "lacks=", "vxlan")}
    more = "  more: {subnet: 10.98.0.0/24}\n" + ONE
    assert found(inventory, FOUND, more) == []
    assert found(inventory, lacking, more) == [("kernel-without", "node2", STOP)]
    assert "linux-modules-extra-raspi" in texts(inventory, lacking, more)
