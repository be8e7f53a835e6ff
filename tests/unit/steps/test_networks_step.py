"""Local networks, shared networks of plugins, and recreated networks on captured hosts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from captured import HOSTS, capture, with_file, with_http, with_system

from provisioner import causes, preflight, wording
from provisioner.controlplane import networks
from provisioner.errors import StepFailed
from provisioner.steps.networks import Networks
from provisioner.steps.recreate import Recreate
from provisioner.system import attached

NETWORKS, RECREATE = Networks(), Recreate()
LOCAL = """
  web: {driver: bridge, hosts: [node1, node2], subnet: 10.97.0.0/24, subnet6: 'fd97::/64', mtu: 1400, aux_addresses: {router: 10.97.0.5}, options: {com.docker.network.bridge.name: br-web}}
  lan: {driver: macvlan, subnet: 192.168.56.0/24, gateway: 192.168.56.1, parent: {node1: eth0, node2: eth0, node3: eth0.5}, mode: bridge, ip_range: {node1: 192.168.56.32/27, node2: 192.168.56.64/27, node3: 192.168.56.96/27}}
  odd: {driver: acme/net:1.2, scope: local, labels: {a: 'x y'}}
  far: {driver: acme/net:1.2, scope: global, subnet: 10.96.0.0/24}"""
WEB = {
    "Name": "web",
    "Id": "1",
    "Scope": "local",
    "Driver": "bridge",
    "Internal": False,
    "EnableIPv6": True,
    "IPAM": {
        "Config": [
            {"Subnet": "10.97.0.0/24", "Gateway": "10.97.0.1", "AuxiliaryAddresses": {"router": "10.97.0.5"}},
            {"Subnet": "fd97::/64", "Gateway": "fd97::1"},
        ]
    },
    "Options": {"com.docker.network.bridge.name": "br-web", "com.docker.network.driver.mtu": "1400"},
    "Labels": {"someone": "else"},
}
LAN = {
    "Name": "lan",
    "Id": "2",
    "Scope": "local",
    "Driver": "macvlan",
    "Internal": False,
    "IPAM": {"Config": [{"Subnet": "192.168.56.0/24", "IPRange": "192.168.56.32/27", "Gateway": "192.168.56.1"}]},
    "Options": {"parent": "eth0", "macvlan_mode": "bridge"},
    "Labels": {},
}
ODD = {
    "Name": "odd",
    "Id": "3",
    "Scope": "local",
    "Driver": "acme/net:1.2",
    "IPAM": {"Config": []},
    "Options": {"own": "x"},
    "Labels": {"a": "x y"},
}
FAR = {
    "Name": "far",
    "Id": "4",
    "Scope": "global",
    "Driver": "acme/net:1.2",
    "IPAM": {"Config": [{"Subnet": "10.96.0.0/24"}]},
    "Options": {},
    "Labels": {},
}


def having(name, *networks):
    facts = capture(f"settled-{name}")
    return with_http(facts, "networks", [*facts.networks.values(), *networks])


@pytest.fixture
def whole(site, inventory):
    def made(**hosts):
        return site(found=inventory(more=LOCAL.strip("\n")), **hosts)

    return made


def script(site, host):
    return NETWORKS.work(site, host, NETWORKS.drift(site, host)).script


def test_each_host_creates_local_networks_and_one_host_creates_global_ones(whole):
    one, two, three = (script(whole(), host) for host in HOSTS)
    web = (
        "docker network create --driver bridge --subnet 10.97.0.0/24 --subnet fd97::/64 --ipv6 --aux-address router=10.97.0.5"
        " --opt com.docker.network.bridge.name=br-web --opt com.docker.network.driver.mtu=1400 web "
    )
    assert web in one
    assert web in two
    assert "web" not in three
    lan = "docker network create --driver macvlan --subnet 192.168.56.0/24 --gateway 192.168.56.1 --ip-range {} --opt macvlan_mode=bridge --opt parent={} lan "
    assert lan.format("192.168.56.32/27", "eth0") in one
    assert lan.format("192.168.56.96/27", "eth0.5") in three
    assert "docker network create --driver acme/net:1.2 --label 'a=x y' odd " in two
    assert "docker network create --driver acme/net:1.2 --subnet 10.96.0.0/24 far " in one
    assert " far " not in two


def test_settled_with_all_of_them(whole):
    facts = having("node1", WEB, LAN, ODD, FAR)
    assert NETWORKS.drift(whole(node1=facts), "node1") == ()


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (
            {"Options": {**WEB["Options"], "com.docker.network.bridge.name": "br-x"}},
            "option com.docker.network.bridge.name",
        ),
        ({"Options": {"com.docker.network.bridge.name": "br-web"}}, "option com.docker.network.driver.mtu"),
        (
            {"Options": {**WEB["Options"], "com.docker.network.bridge.enable_icc": "false"}},
            "option com.docker.network.bridge.enable_icc",
        ),
        ({"IPAM": {"Config": WEB["IPAM"]["Config"][:1]}}, "IPv6 subnet"),
        ({"IPAM": {"Config": [{"Subnet": "10.97.0.0/24"}, WEB["IPAM"]["Config"][1]]}}, "auxiliary addresses"),
    ],
)
def test_what_differs_of_a_bridge(whole, change, what):
    facts = having("node1", {**WEB, **change}, LAN, ODD, FAR)
    assert [(wording.what(d), d.held) for d in NETWORKS.drift(whole(node1=facts), "node1")] == [
        (f"network web: {what}", True)
    ]


def test_a_network_that_a_swarm_is_still_creating_is_waited_for(whole):
    facts = having("node1", {**WEB, "Driver": "", "IPAM": {"Driver": "", "Config": None}}, LAN, ODD, FAR)
    (drift,) = NETWORKS.drift(whole(node1=facts), "node1")
    assert (wording.what(drift), drift.found, wording.note(drift), drift.held) == (
        "network web",
        "being created",
        "wait",
        False,
    )
    assert NETWORKS.work(whole(node1=facts), "node1", (drift,)) is None


def test_each_host_has_its_own_address_range(whole):
    facts = having("node2", WEB, LAN, ODD, FAR)
    (drift,) = NETWORKS.drift(whole(node2=facts), "node2")
    assert (wording.what(drift), drift.found, drift.wanted) == (
        "network lan: address range",
        "192.168.56.32/27",
        "192.168.56.64/27",
    )


def asked(site, *names):
    return replace(site, recreate=frozenset(names))


def containers(facts, network, answer=(), endpoints=None):
    found = (
        {**facts.networks[network], "Containers": endpoints or {}}
        if network in facts.networks
        else "404 no such network"
    )
    return with_http(with_http(facts, f"containers:{network}", list(answer)), f"endpoints:{network}", found)


def other(name, **more):
    """Return a host on which demo has another subnet."""
    facts = capture(f"settled-{name}")
    demo = {**facts.networks["demo"], "IPAM": {"Config": [{"Subnet": "10.98.0.0/24"}]}}
    networks = [n for n in facts.networks.values() if n["Name"] != "demo"]
    return containers(with_http(facts, "networks", [*networks, demo]), "demo", **more)


class TestRecreate:
    def test_a_network_that_matches_the_inventory_stays(self, site):
        assert RECREATE.drift(asked(site(), "demo"), "node1") == ()

    def test_a_network_that_was_not_named_stays(self, site):
        assert RECREATE.drift(site(**{name: other(name) for name in HOSTS}), "node1") == ()

    def test_a_global_one_is_removed_by_one_host(self, site):
        whole = asked(site(**{name: other(name) for name in HOSTS}), "demo")
        drifts = {name: RECREATE.drift(whole, name) for name in HOSTS}
        assert [(wording.what(d), d.found, d.wanted) for d in drifts["node2"]] == [
            ("network demo", "subnet 10.98.0.0/24", "")
        ]
        works = {name: RECREATE.work(whole, name, drifts[name]) for name in HOSTS}
        assert "docker network rm demo" in works["node1"].script
        assert (
            f"docker/network/v1.0/endpoint_count/{whole.facts['node1'].networks['demo']['Id']}" in works["node1"].script
        )
        assert works["node2"] is works["node3"] is None

    def test_a_conflicting_local_network_is_removed_on_its_host(self, site):
        facts = capture("settled-node2")
        others = [n for n in facts.networks.values() if n["Name"] != "demo"]
        bridge = with_http(
            facts, "networks", [*others, {**facts.networks["demo"], "Driver": "bridge", "Scope": "local"}]
        )
        hosts = {name: containers(capture(f"settled-{name}"), "demo") for name in HOSTS}
        whole = asked(site(**hosts | {"node2": containers(bridge, "demo")}), "demo")
        assert RECREATE.drift(whole, "node1") == ()
        script = RECREATE.work(whole, "node2", RECREATE.drift(whole, "node2")).script
        assert "docker network rm demo" in script
        assert "endpoint_count" not in script, "a local network has no count in the store"

    def test_refused_with_the_containers_and_their_hosts(self, site):
        hosts = {name: other(name) for name in HOSTS}
        hosts["node2"] = other(
            "node2",
            answer=[
                {"Id": "1", "Names": ["/web"], "State": "running"},
                {"Id": "2", "Names": ["/old"], "State": "exited"},
            ],
        )
        ends = {"1": {"Name": "web"}, "ep-2": {"Name": "ghost"}, "lb-demo": {"Name": "demo-endpoint"}}
        hosts["node1"] = other("node1", endpoints=ends)
        whole = asked(site(**hosts), "demo")
        (finding,) = [f for f in preflight.run(whole) if f.id == "network-in-use"]
        assert finding.host == ""
        assert finding.evidence.endswith(
            ": web on node2, old (exited) on node2, ghost, which is on no host of the inventory"
        )
        with pytest.raises(StepFailed, match="web on node2"):
            RECREATE.drift(whole, "node1")

    def test_the_load_balancer_of_a_swarm_is_known_by_its_name_too(self):
        """While it is set up, its endpoint has no sandbox, and so no key that shows what it is. On a store, the name means nothing."""
        ends = {"Containers": {"ep-1": {"Name": "demo-endpoint"}, "ep-2": {"Name": "ghost"}}}
        facts = with_http(capture("swarm-node1"), "endpoints:demo", ends)
        assert facts.networks["demo"]["Scope"] == "swarm"
        assert attached.endpoints(facts, "demo") == ("ghost",)
        stored = with_http(capture("settled-node1"), "endpoints:demo", ends)
        assert attached.endpoints(stored, "demo") == ("demo-endpoint", "ghost")

    @pytest.mark.parametrize("state", ["created", "running"])
    def test_probes_of_another_run_are_waited_for(self, site, state):
        hosts = {name: other(name) for name in HOSTS}
        probe = {"Id": "1", "Names": ["/provisioner-probe-c6d969-node2"], "State": state}
        hosts["node2"] = other("node2", answer=[probe])
        whole = asked(site(**hosts), "demo")
        (finding,) = [f for f in preflight.run(whole) if f.id == "network-in-use"]
        assert "run again when it has ended" in causes.cure(finding)
        assert networks.held_by_probes(whole)
        hosts["node2"] = other("node2", answer=[probe, {"Id": "2", "Names": ["/old"], "State": "exited"}])
        assert not networks.held_by_probes(asked(site(**hosts), "demo"))

    def test_refused_if_a_host_does_not_answer(self, site):
        whole = asked(site(**{name: other(name) for name in HOSTS}), "demo").without(frozenset({"node3"}))
        (finding,) = [f for f in preflight.run(whole) if f.id == "network-in-use"]
        assert "those of node3, which did not answer" in finding.evidence

    def test_the_requests_to_the_engine(self):
        assert tuple(map(str, attached.requests(["b.c", "a"])[::2])) == (
            "containers:a /var/run/docker.sock /containers/json?all=1&filters=%7B%22network%22%3A%5B%22a%22%5D%7D",
            "containers:b.c /var/run/docker.sock /containers/json?all=1&filters=%7B%22network%22%3A%5B%22b.c%22%5D%7D",
        )


class TestPreflight:
    def found(self, whole, check):
        return [(f.host, f.evidence) for f in preflight.run(whole) if f.id == check]

    def test_a_parent_that_is_not_there(self, whole):
        assert self.found(whole(), "parent-missing") == []  # eth0.5 is created on eth0
        node2 = with_file(capture("settled-node2"), "/sys/class/net/eth0/mtu", "")
        assert self.found(whole(node2=node2), "parent-missing") == [
            ("node2", "the network lan needs the interface eth0, which does not exist")
        ]

    def test_a_kernel_without_macvlan(self, whole):
        lacking = with_system(capture("settled-node3"), "lacks=", "macvlan")
        assert self.found(whole(node3=lacking), "kernel-without") == [
            ("node3", "the network lan needs macvlan, which this host's kernel lacks")
        ]

    def test_a_network_that_has_its_subnet_under_another_name(self, whole):
        old, others = {**WEB, "Name": "old"}, capture("settled-node2").networks.values()
        route = "Iface\tDestination\nbr-1\t0000610A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
        node2 = with_file(with_http(capture("settled-node2"), "networks", [*others, old]), "/proc/net/route", route)
        (found,) = [f for f in preflight.run(whole(node2=node2)) if f.id == "subnet-overlap"]
        assert found.evidence.endswith("of the network web overlaps with the network old, 10.97.0.0/24")
        assert causes.to_run(found) == ("docker network rm old  # on node2",)

    def test_a_network_that_moves_away_from_the_subnet_of_another_one(self, site, inventory):
        """Recreating it makes room."""
        more = "  web: {driver: bridge, subnet: 10.98.0.0/24}\n  new: {driver: bridge, subnet: 10.97.0.0/24}"
        node2 = with_http(capture("settled-node2"), "networks", [*capture("settled-node2").networks.values(), WEB])
        moved = site(found=inventory(more=more), node2=node2)
        (found,) = [f for f in preflight.run(moved) if f.id == "subnet-overlap"]
        assert causes.cure(found).startswith(
            "the inventory moves web to another subnet: run again with --recreate web,"
        )
        assert self.found(asked(moved, "web"), "subnet-overlap") == []
        elsewhere = site(found=inventory(more=more.replace("bridge, ", "bridge, hosts: [node1], ", 1)), node2=node2)
        (found,) = [f for f in preflight.run(asked(elsewhere, "web")) if f.id == "subnet-overlap"]
        assert causes.to_run(found) == ("docker network rm web  # on node2",)

    def test_a_bridge_over_a_route(self, whole):
        assert self.found(whole(), "subnet-overlap") == []
        route = "Iface\tDestination\nwg0\t0000610A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
        taken = {name: with_file(capture(f"settled-{name}"), "/proc/net/route", route) for name in ("node2", "node3")}
        assert self.found(whole(**taken), "subnet-overlap") == [
            ("node2", "the subnet 10.97.0.0/24 of the network web overlaps with its route 10.97.0.0/24 on wg0")
        ]
