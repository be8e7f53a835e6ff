"""Every check, on facts with and without its cause. Settled, installed and bare hosts have no finding."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from captured import (
    HOSTS,
    capture,
    container,
    endpoint,
    with_file,
    with_http,
    with_info,
    with_raw,
    with_system,
    with_unit,
)

from provisioner import causes, preflight
from provisioner.controlplane import networks as plane_networks
from provisioner.controlplane import resolve
from provisioner.model import Severity
from provisioner.stores.consul import JSON as CONSUL_JSON
from provisioner.system import reading, version
from provisioner.system.reading import DAEMON_JSON, ENGINE_OPTIONS

SETTLED = {name: capture(f"settled-{name}") for name in HOSTS}
NODE2 = SETTLED["node2"]
STOP, WARNING = Severity.STOP, Severity.WARNING
UNKNOWN = "the following directives don't match any configuration option: foo"


def found(site):
    return [(f.id, f.host, causes.severity(f)) for f in preflight.run(site)]


@pytest.mark.parametrize("state", ["settled", "installed"])
def test_sound_hosts_have_no_finding(site, state):
    assert found(site(state)) == []


@pytest.mark.parametrize("text", ["format 2, since provisioner 9.9\n", "2\n"])
def test_a_newer_version_stops_the_run(site, text):
    """Also if this version can't parse the host's file."""
    assert found(site(node2=with_file(NODE2, version.PATH, text))) == [("newer-version", "", STOP)]
    assert found(site(node2=with_file(NODE2, version.PATH, "format 0, since provisioner 0.0.1\n"))) == []


def test_a_bare_host_has_no_finding(inventory):
    assert found(resolve(inventory(1), {"node1": capture("bare")})[0]) == []


def networks(facts, **others):
    return with_http(facts, "networks", [*facts.networks.values(), *others.values()])


def without_program(facts, *names):
    lines = facts.raw["system"].split("\n")
    return with_raw(
        facts, system="\n".join(li for li in lines if not li.startswith(tuple(f"program={n} " for n in names)))
    )


OTHER_OVERLAY = {"Name": "other", "Driver": "overlay", "IPAM": {"Config": [{"Subnet": "10.99.0.0/16"}]}, "Id": "x"}
NO_DEMO = [n for n in NODE2.networks.values() if n["Name"] != "demo"]

NO_FLAGS = with_unit(NODE2, "docker.service", ExecStart="{ argv[]=/usr/sbin/dockerd ; ignore_errors=no }")

OVER = "tun0\t0000630A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"  # a route over the subnet of demo
CASES = {
    "no root": (with_system(NODE2, "uid=", "1000"), "no-root", STOP),
    "no root, so that no unit was read": (with_unit(with_system(NODE2, "uid=", "1000"), "docker.service", LoadState=""), "no-root", STOP),
    "no systemd": (without_program(NODE2, "systemctl"), "no-systemd", STOP),
    "no package manager and something to install": (without_program(NODE2, "apt-get", "consul"), "no-packages", STOP),
    "disk full": (with_system(NODE2, "disk=", "10000 264212084 /var"), "disk-full", STOP),
    "no room for an engine": (
        without_program(with_system(capture("installed-node2"), "disk=", "900000 264212084 /"), "dockerd"),
        "disk-full",
        STOP,
    ),
    "engine too new": (with_file(with_info(NODE2, ServerVersion="23.0.1"), DAEMON_JSON, ""), "engine-too-new", STOP),
    "engine too new, and so without the driver": (
        with_raw(with_file(with_info(NODE2, ServerVersion="23.0.1"), DAEMON_JSON, ""), driver="\n"), "engine-too-new", STOP,
    ),
    "engine without the driver": (with_raw(NODE2, driver="\n"), "driver-not-built", STOP),
    "masked engine": (with_unit(NODE2, "docker.service", LoadState="masked"), "no-engine-unit", STOP),
    "an engine without a unit": (with_unit(NODE2, "docker.service", LoadState="not-found"), "no-engine-unit", STOP),
    "overlays on another store": (with_info(NODE2, ClusterStore="etcd://192.0.2.1:2379"), "other-store", STOP),
    "swarm": (with_info(NODE2, Swarm={"NodeID": "", "LocalNodeState": "active"}), "swarm-active", STOP),
    "swarm that is locked": (with_info(NODE2, Swarm={"NodeID": "", "LocalNodeState": "locked"}), "swarm-active", STOP),
    "invalid JSON": (with_file(NODE2, DAEMON_JSON, '{"log-level": "warn",}\n'), "daemon-json-broken", STOP),
    "a key twice": (with_file(NODE2, DAEMON_JSON, '{"debug": true, "debug": true}\n'), "daemon-json-broken", STOP),
    "no object": (with_file(NODE2, DAEMON_JSON, "[]\n"), "daemon-json-broken", STOP),
    "a key that its engine does not know": (with_raw(NODE2, driver=f"consul\nrefuses={UNKNOWN}\n"), "daemon-json-refused", STOP),
    "a byte order mark": (with_file(NODE2, DAEMON_JSON, "\ufeff{}\n"), "daemon-json-broken", STOP),
    "flags in the unit": (
        with_unit(NODE2, "docker.service", ExecStart="{ argv[]=/usr/bin/dockerd --cluster-store=consul://x:8500 }"),
        "flag-conflict",
        STOP,
    ),
    "sockets in daemon.json and in the unit": (
        with_file(NODE2, DAEMON_JSON, '{"hosts": ["unix:///run/docker.sock"]}\n'),
        "flag-conflict",
        STOP,
    ),
    "an option in both, in the plural": (
        with_file(
            with_file(NODE2, DAEMON_JSON, '{"insecure-registries": ["a"]}\n'),
            ENGINE_OPTIONS[0],
            'DOCKER_OPTS="--insecure-registry=b"\n',
        ),
        "flag-conflict",
        STOP,
    ),
    "flags in its options": (
        with_file(NODE2, ENGINE_OPTIONS[0], '# a comment\nDOCKER_OPTS="--cluster-advertise=eth0:2376"\n'),
        "flag-conflict",
        STOP,
    ),
    "somebody's Consul": (with_system(with_file(NODE2, CONSUL_JSON, ""), "raft=", None), "foreign-consul", STOP),
    "somebody's Consul data": (with_system(capture("installed-node2"), "raft=", "yes"), "foreign-consul-data", STOP),
    "an open engine": (
        with_file(NO_FLAGS, DAEMON_JSON, '{"hosts": ["tcp://0.0.0.0:2375", "tcp://127.0.0.1:2375", "fd://"]}\n'),
        "engine-open",
        WARNING,
    ),
    "a resolver in the subnet": (
        with_http(with_file(NODE2, "/etc/resolv.conf", "nameserver 10.99.0.53\n"), "networks", NO_DEMO),
        "subnet-overlap",
        STOP,
    ),
    "a route over the subnet": (
        with_http(
            with_file(
                NODE2,
                "/proc/net/route",
                NODE2.files["/proc/net/route"] + OVER,
            ),
            "networks",
            NO_DEMO,
        ),
        "subnet-overlap",
        STOP,
    ),
    "another overlay over the subnet": (with_http(NODE2, "networks", [*NO_DEMO, OTHER_OVERLAY]), "subnet-overlap", STOP),
    "4789 taken": (
        with_raw(
            NODE2,
            ports=NODE2.raw["ports"]
            + "udp 4789 77\nowner 77 812 vmware\n",
        ),
        "port-taken",
        STOP,
    ),
    "gossip's port taken while the engine has no store": (
        with_http(with_info(NODE2, ClusterStore=""), "networks", []), "port-taken", STOP,
    ),
    "Consul's ports taken while Consul is down": (with_unit(NODE2, "consul.service", ActiveState="failed"), "port-taken", STOP),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_cause_on_one_host(site, case):
    facts, check, severity = CASES[case]
    assert set(found(site(node2=facts))) == {(check, "node2", severity)}


def test_an_advertised_address_that_the_host_does_not_send_from(inventory):
    two = with_raw(NODE2, addresses="eth0 192.168.56.2 255.255.255.0\neth0 192.168.56.12 255.255.255.0\n")
    whole, _ = resolve(inventory(each=", advertise: 192.168.56.1{}"), {**SETTLED, "node2": two})
    assert ("secondary-advertise", "node2", STOP) in found(whole)
    whole, _ = resolve(inventory(), {**SETTLED, "node2": two})  # without `advertise`, the primary address is used
    assert str(whole.advertise["node2"]) == "192.168.56.2"


SOUND = {
    "root": with_system(NODE2, "uid=", "0"),
    "no package manager and nothing to install": without_program(NODE2, "apt-get"),
    "enough room": with_system(NODE2, "disk=", "30000 264212084 /var"),
    "the last engine with stores": with_info(NODE2, ServerVersion="20.10.24+dfsg1"),
    "swarm inactive": with_info(NODE2, Swarm={"NodeID": "", "LocalNodeState": "inactive"}),
    "an engine that says nothing of swarm": with_info(NODE2, Swarm=None),
    "odd, but valid JSON": with_file(NODE2, DAEMON_JSON, capture("odd-keys").files[DAEMON_JSON]),
    "an empty daemon.json": with_file(NODE2, DAEMON_JSON, "\n"),
    "other options in daemon.json": with_file(
        with_file(
            NODE2, DAEMON_JSON, '{"debug": true, "runtimes": {"x": {"path": "/x"}}, "host": 1, "dns": ["192.0.2.53"]}\n'
        ),
        ENGINE_OPTIONS[0],
        '#DOCKER_OPTS="--debug"\nDOCKER_OPTS="--add-runtime=y=/y --dns-search=a --runtimes"\n',
    ),
    "flags in a comment": with_file(NODE2, ENGINE_OPTIONS[0], '  #DOCKER_OPTS="--cluster-store=consul://x"\n'),
    "a stopped engine": with_unit(capture("stopped"), "docker.service", ActiveState="inactive"),
    "a hanging engine that listens": with_http(with_http(NODE2, "info", "000 timeout"), "networks", "000 timeout"),
    "an engine on the socket alone": with_file(NO_FLAGS, DAEMON_JSON, '{"hosts": ["unix:///run/docker.sock"]}\n'),
    "our overlay's subnet": NODE2,
    "VXLAN of the kernel": with_raw(NODE2, ports=NODE2.raw["ports"] + "udp 4789 0\n"),
    "VXLAN of a newer kernel, whose sockets have inodes": with_raw(
        NODE2, ports=NODE2.raw["ports"] + "udp 4789 5503179\n"
    ),
    "the primary address of two": with_raw(
        NODE2, addresses="eth0 192.168.56.12 255.255.255.0\neth0 192.168.56.112 255.255.255.0\n"
    ),
    "Consul data of ours": with_system(NODE2, "raft=", "yes"),
    "Consul that is just starting": with_unit(NODE2, "consul.service", ActiveState="activating"),
}


@pytest.mark.parametrize("case", SOUND)
def test_what_only_looks_like_it(site, case):
    assert found(site(node2=SOUND[case])) == []


def test_strangers_are_named(inventory):
    whole = resolve(inventory(1), {"node1": capture("taken")})[0]
    evidence = {finding.evidence for finding in preflight.run(whole)}
    assert len(evidence) == 3
    assert all("squatter (process" in what for what in evidence)


@pytest.mark.parametrize(
    ("hosts", "check"),
    [
        ({"node3": with_system(SETTLED["node3"], "hostname=", "node1")}, "duplicate-hostname"),
        ({"node3": with_info(SETTLED["node3"], ID=SETTLED["node1"].engine_id)}, "cloned-engine-id"),
    ],
)
def test_twins_stop_the_whole_cluster(site, hosts, check):
    assert found(site(**hosts)) == [(check, "", STOP)]
    (finding,) = preflight.run(site(**hosts))
    assert "node1" in finding.evidence
    assert "node3" in finding.evidence


class TestOneMachineTwice:
    @pytest.fixture
    def twins(self, site, inventory):
        """A cluster in which node1 and node3 have the same facts, with one change."""

        def make(change=lambda facts: facts):
            alike = change(SETTLED["node1"])
            return site(found=inventory(each=", advertise: eth0"), node1=alike, node3=alike)

        return make

    def test_only_the_machine_is_named_and_not_what_follows_from_it(self, twins):
        (finding,) = preflight.run(twins())
        assert (finding.id, finding.host, causes.severity(finding)) == ("same-machine", "", STOP)
        assert finding.evidence == "node1, node3 have the same boot ID and the same machine ID"
        assert (
            causes.cure(finding)
            == "remove one of these entries from the inventory, or correct its address: node1, node3"
        )

    def test_findings_of_other_hosts_stay(self, twins):
        site = twins()
        site = site.known("node2", with_info(NODE2, ClusterStore="etcd://192.0.2.1:2379"))
        assert {(f.id, f.host) for f in preflight.run(site)} > {("same-machine", "")}

    def test_a_cloned_machine_is_another_machine(self, site):
        machine_id = SETTLED["node1"].files["/etc/machine-id"]
        assert found(site(node3=with_file(SETTLED["node3"], "/etc/machine-id", machine_id))) == []

    @pytest.mark.parametrize("path", ["/etc/machine-id", reading.BOOT_ID])
    def test_without_one_of_the_ids_only_the_consequences_are_known(self, twins, path):
        checks = {check for check, _, _ in found(twins(lambda facts: with_file(facts, path, "")))}
        assert checks >= {"duplicate-hostname", "cloned-engine-id", "wrong-interface"}


class TestClocks:
    def skewed(self, site, low, high):
        facts = SETTLED["node2"]
        return found(site(node2=type(facts)(facts.raw, (low, high))))

    def test_certainly_apart(self, site):
        assert self.skewed(site, 5.0, 6.0) == [("clock-skew", "", STOP)]
        assert self.skewed(site, -6.0, -5.0) == [("clock-skew", "", STOP)]

    def test_perhaps_apart(self, site):
        assert self.skewed(site, -1.0, 60.0) == []  # a slow reading

    def test_unknown(self, site):
        assert self.skewed(site, float("-inf"), float("inf")) == []


class TestAddresses:
    def test_an_address_that_the_host_does_not_have(self, site, inventory):
        assert set(found(site(found=inventory(each=", advertise: 192.168.56.9{}")))) == {
            ("wrong-interface", host, STOP) for host in HOSTS
        }  # and no finding about servers that are left out: they are the same hosts

    def test_loopback(self, site):
        whole = site()
        advertise = {**whole.advertise, "node2": IPv4Address("127.0.0.1")}
        object.__setattr__(whole, "advertise", advertise)  # the inventory refuses it
        assert ("loopback-advertise", "node2", STOP) in found(whole)


class TestServersLeftOut:
    def test_a_minority_is_warned_of(self, inventory):
        whole = resolve(inventory(2), {name: SETTLED[name] for name in HOSTS[:2]})[0]
        (finding,) = preflight.run(whole)
        assert (finding.id, causes.severity(finding)) == ("server-left-out", WARNING)
        assert "192.168.56.13" in finding.evidence
        assert causes.cure(finding).endswith(
            "or remove each of them from the cluster: provisioner remove ADDRESS INVENTORY"
        )

    def test_a_majority_stops(self, site, inventory):
        (finding,) = preflight.run(site(found=inventory(store=", servers: [node1]")))
        assert (finding.id, causes.severity(finding)) == ("server-left-out", STOP)
        assert finding.evidence.endswith("node2, node3")
        assert "`consul leave`" in causes.cure(finding)  # they stay in the cluster

    def test_all_servers_may_stay(self, site, inventory):
        assert found(site(found=inventory(store=", servers: [node1, node2, node3]"))) == []


def test_too_many_hosts_for_gossip(inventory):
    few = resolve(inventory(25), {})[0]
    assert found(few) == []
    many = resolve(inventory(26), {})[0]
    assert found(many) == [("gossip-overload", "", WARNING)]


def test_another_manager_of_the_firewall(site):
    with_ufw = with_raw(NODE2, firewall=NODE2.raw["firewall"] + "\nactive=firewalld.service\n")
    assert found(site(node2=with_ufw)) == [("other-firewall", "node2", WARNING)]


def test_a_local_networks_own_route_is_not_reported_while_the_engine_does_not_answer(site, inventory):
    route = capture("settled-node2").routes[0][1]
    found = inventory(more=f"  over: {{driver: bridge, subnet: {route}}}")
    silent = with_raw(capture("settled-node2"), **{"http:networks": "000 timeout"})
    for node, hosts in ((silent, []), (capture("settled-node2"), ["node2"])):
        assert [
            f.host for f in preflight.network.subnet_overlap(site(found=found, node2=node)) if f.host == "node2"
        ] == hosts


def test_a_route_over_a_shared_network_is_not_reported_while_the_engine_does_not_answer(site):
    over = with_file(NODE2, "/proc/net/route", f"{NODE2.files['/proc/net/route']}{OVER}")
    silent = with_raw(over, **{"http:networks": "000 timeout"})
    others = {name: with_http(SETTLED[name], "networks", NO_DEMO) for name in ("node1", "node3")}
    for changed, hosts in ((silent, {}), (with_http(over, "networks", NO_DEMO), {"node2"}), (silent, {"node2"})):
        nodes = {"node2": changed} | (others if changed is silent and hosts else {})
        assert {each.host for each in preflight.network.subnet_overlap(site(**nodes))} == set(hosts)


class TestEndpointLeft:
    """Endpoints of containers that no longer exist, or never started."""

    ON3 = "192.168.56.13"

    def found(self, site, *records, changed=(), leaving=None, **containers):
        hosts = {name: with_http(facts, "containers", containers.get(name, [])) for name, facts in SETTLED.items()}
        hosts["node1"] = with_http(hosts["node1"], "endpoints", list(records))
        whole = replace(site(**{**hosts, **dict(changed)}), leaving=leaving)
        return [f for f in preflight.run(whole) if f.id == "endpoint-left"]

    def test_what_runs_is_in_its_place(self, site):
        web = container("web", "demo", State="running")
        assert self.found(site, endpoint("web", self.ON3), node3=[web]) == []
        assert self.found(site) == []

    def test_a_host_whose_engine_does_not_tell_its_networks_is_not_judged(self, site):
        """As while the store does not answer: which of its containers' networks are shared is then unknown."""
        web = container("web", "demo", State="running")
        for answer in ("408 late", "000 no answer"):
            late = with_http(SETTLED["node3"], "networks", answer)
            changed = {"node3": with_http(late, "containers", [web])}
            assert self.found(site, endpoint("web", self.ON3), changed=changed) == []

    @pytest.mark.parametrize(
        "there", [[], [container("web", "other", State="running")], [container("web", "demo", State="created")]]
    )
    def test_the_cure_is_the_command_that_frees_it(self, site, there):
        (finding,) = self.found(site, endpoint("web", self.ON3), node3=there)
        assert (finding.host, causes.severity(finding)) == ("node3", WARNING)
        assert "web on demo" in finding.evidence
        assert f"`docker network disconnect -f demo web` (on {'node1' if there else 'node3'})" in causes.cure(finding)

    def test_hostile_names(self, site):
        (finding,) = self.found(site, endpoint("x; rm -rf /", self.ON3))
        assert "-f demo 'x; rm -rf /'`" in causes.cure(finding)

    def test_of_a_host_that_is_not_of_the_inventory(self, site):
        (finding,) = self.found(site, endpoint("web", "192.168.56.99"))
        assert (finding.host, causes.severity(finding)) == ("", WARNING)
        assert "provisioner remove 192.168.56.99 INVENTORY" in causes.cure(finding)
        assert self.found(site, endpoint("web", "192.168.56.99"), leaving=IPv4Address("192.168.56.99")) == []

    @pytest.mark.parametrize(("name", "left"), [("web", False), ("gone", True)])
    def test_of_hosts_whose_engines_advertise_another_address(self, site, name, left):
        """Two may advertise the same one, such as 127.0.0.1. A container that runs on one of them is in its place."""
        own = [container("web", "demo", State="running")]
        changed = {
            host: with_http(with_info(SETTLED[host], ClusterAdvertise="127.0.0.1:2376"), "containers", running)
            for host, running in (("node2", own), ("node3", []))
        }
        found = self.found(site, endpoint(name, "127.0.0.1"), changed=changed)
        assert [(each.host, each.variant) for each in found] == ([("", "gone")] if left else [])

    def test_of_a_host_that_has_no_engine_yet(self, site):
        changed = {
            "node3": with_raw(
                SETTLED["node3"],
                **{
                    "http:info": "000 no answer",
                    "http:networks": "000 no answer",
                    "http:containers": "000 no answer",
                    "engine": "",
                },
            )
        }
        (finding,) = self.found(site, endpoint("web", self.ON3), changed=changed)
        assert "(on node1)" in causes.cure(finding) or "(on node2)" in causes.cure(finding)

    def test_what_an_earlier_reading_did_not_show_is_not_reported(self, site):
        """The container may just be starting."""
        whole = site(
            node1=with_http(with_http(SETTLED["node1"], "containers", []), "endpoints", [endpoint("web", self.ON3)])
        )
        whole = whole.known("node3", with_http(SETTLED["node3"], "containers", []))
        assert plane_networks.left(whole) == {IPv4Address(self.ON3): [("demo", "web")]}
        passing = replace(whole, passing=plane_networks.left_ids(whole))
        assert not [f for f in preflight.run(passing) if f.id == "endpoint-left"]

    def test_unknown_containers_are_not_reported(self, site):
        unknown = {"node3": with_raw(SETTLED["node3"], **{"http:containers": "000 no answer"})}
        assert self.found(site, endpoint("web", self.ON3), changed=unknown) == []
        assert self.found(site, endpoint("web", self.ON3, "gone")) == [], "its network is gone: nobody can free it"


def test_a_shared_network_of_another_name_is_removed_on_one_host_for_all(inventory):
    """A renamed network: the old one has its subnet. Not every host of a swarm can remove it."""
    facts = {name: with_http(of, "networks", [*NO_DEMO, OTHER_OVERLAY]) for name, of in SETTLED.items()}
    found = [f for f in preflight.run(resolve(inventory(), facts)[0]) if f.id == "subnet-overlap"]
    assert {f.host for f in found} == set(HOSTS)
    assert {causes.to_run(f) for f in found} == {("docker network rm other  # on node1",)}
    ingress = {**OTHER_OVERLAY, "Name": "ingress"}
    two = {**SETTLED, "node2": with_http(NODE2, "networks", [*NO_DEMO, ingress])}
    (one,) = [f for f in preflight.run(resolve(inventory(), two)[0]) if f.id == "subnet-overlap"]
    assert (causes.cure(one).partition(";")[0], causes.to_run(one)) == ("choose another subnet for the network", ())
