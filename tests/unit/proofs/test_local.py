"""The proof of host-local networks: what is tried, and what failures say. With real networks: tests/e2e/test_networks.py."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from captured import HOSTS, capture, with_http

from provisioner.controlplane import resolve
from provisioner.model import Result, State
from provisioner.proofs import builtin, local
from provisioner.proofs.evidence import FACTS
from tests.unit.proofs.test_overlay import Host

if TYPE_CHECKING:
    from collections.abc import Callable

NETWORKS = """
  web: {driver: bridge, hosts: [node1, node2], subnet: 10.97.0.0/24}
  own: {driver: bridge, internal: true, options: {com.docker.network.bridge.enable_icc: false}}
  out: {driver: bridge, options: {com.docker.network.bridge.enable_ip_masquerade: false}}
  lan: {driver: macvlan, parent: eth0, subnet: 192.168.56.0/24, ip_range: {node1: 192.168.56.32/27, node2: 192.168.56.64/27, node3: 192.168.56.96/27}}
  one: {driver: macvlan, parent: eth0, mode: passthru, hosts: [node1], subnet: 192.168.57.0/24}
  far: {driver: macvlan, parent: eth0.5, mode: private, subnet: 192.168.58.0/24, ip_range: {node1: 192.168.58.32/27, node2: 192.168.58.64/27, node3: 192.168.58.96/27}}
  vpn: {driver: acme, scope: local}"""
POOLS = {"web": "10.97.0.0/24", "bridge": "172.17.0.0/16", "vpn": "10.95.0.0/24", "lan": "192.168.56.0/24"}


@pytest.fixture
def whole(inventory):
    facts = {}
    for name in HOSTS:
        found = capture(f"settled-{name}")
        others = [n for n in found.networks.values() if n["Name"] not in POOLS]
        more = [
            {"Name": n, "Id": n, "Driver": "x", "Scope": "local", "IPAM": {"Config": [{"Subnet": s}]}}
            for n, s in POOLS.items()
        ]
        facts[name] = with_http(found, "networks", [*others, *more])
    return resolve(inventory(more=NETWORKS.strip("\n")), facts)[0]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("web", (HOSTS[:2], True, True, ())),
        ("own", (HOSTS, False, False, ())),
        ("out", (HOSTS, True, False, ())),
        ("lan", (HOSTS, True, False, HOSTS)),
        ("one", ((), False, False, ())),
        ("far", (HOSTS, False, False, ())),
        ("vpn", (HOSTS, True, False, ())),
    ],
)
def test_what_is_tried(whole, name, expected):
    """expected: (hosts, two containers on one host, published ports, hosts whose containers reach each other)"""
    shape = local.of(whole, whole.inventory.networks[name])
    assert (shape.hosts, shape.pairs, shape.published, shape.across) == expected
    assert shape.names


def test_the_built_in_bridge_has_no_names_and_may_be_missing(whole):
    shape = local.of_bridge(whole)
    assert (shape.hosts, shape.names, shape.pairs, shape.published) == (HOSTS, False, True, True)
    bare = {name: with_http(whole.facts[name], "networks", []) for name in HOSTS}
    assert local.of_bridge(replace(whole, facts=bare)).note == "no engine has one"


class Pair(Host):
    """A host whose probes report increasing addresses, and prove every fact for which `lacks` is false."""

    def __init__(self, number: int, lacks: Callable[[str, str], bool] = lambda *_: False, **put: object) -> None:
        super().__init__(number, **put)
        self.lacks = lacks
        self.meets = False
        self.scripts: list[str] = []
        self.answer = self.as_asked

    def stream(self, script: str):
        self.scripts.append(script)
        self.lines = [f"ready 10.97.0.{len(self.scripts) + 1} 1400"]
        return super().stream(script)

    def read(self, script: str, *, deadline: float) -> Result:
        assert deadline
        assert re.search(
            r"^timeout -k 5 30 docker port provisioner-probe-abcdef-node\d 7777/udp$", script, re.MULTILINE
        )
        return Result(0, f"192.168.56.1{self.number}:3276{self.number}\n", "")

    def as_asked(self, orders: str) -> list[str]:
        said = []
        for peer, rest in re.findall(r"^peer (\d+) (.+)$", orders, re.MULTILINE):
            words = rest.split()
            facts = words[4].split(",") if words[4:] else FACTS
            for fact in facts:
                bad = self.lacks(rest, fact)
                said.append(f"lack {peer} {fact} no answer" if bad else f"see {peer} {fact} 0.2")
        for stranger in re.findall(r"^stranger (\d+)", orders, re.MULTILINE):
            said += [*([f"met {stranger} address 0.1"] if self.meets else []), f"tried {stranger} 4"]
        return [*said, "heard", "done 0.3 0.02"]


def proven(whole, hosts, name="web"):
    shape = local.of(whole, whole.inventory.networks[name]) if name != "bridge" else local.of_bridge(whole)
    connections = {host.name: host for host in hosts}
    asked = {"bridge": builtin.PROOFS[:1]} if name == "bridge" else None
    (result,) = local.prove(whole, connections, {shape: "abcdef"}, observer=lambda *_: None, asked=asked)
    return result


def test_each_probe_is_told_whom_to_reach_and_how(whole):
    hosts = [Pair(1), Pair(2)]
    result = proven(whole, hosts)
    assert (result.state, result.error, result.reason, result.mtu) == (State.SETTLED, "", "", 1400)
    assert sorted((c.way, c.what) for c in result.checks) == [
        ("node1", "containers on one host reach each other"),
        ("node1", "containers on one host reach each other"),
        ("node1 > node2", "a container reaches a published port of another host"),
        ("node2", "containers on one host reach each other"),
        ("node2", "containers on one host reach each other"),
        ("node2 > node1", "a container reaches a published port of another host"),
    ]
    sent = {line for host in hosts for text in host.sent for line in text.splitlines()}
    assert "peer 3 provisioner-probe-abcdef-node2 provisioner-alias-abcdef-node2 192.168.56.12 32762 address" in sent
    assert any(
        re.match(r"peer 2 provisioner-probe-abcdef-node1-b provisioner-alias-abcdef-node1-b 10\.97\.0\.\d$", line)
        for line in sent
    )
    assert [re.search(r"publish=(\S*)", script)[1] for script in sorted(hosts[0].scripts)] == [
        "192.168.56.11::7777/udp",
        "''",
    ]


def test_bridges_are_proven_side_by_side_and_kept_apart(whole):
    """`own` allows no traffic between containers, so its only probe is the stranger. node3 has no network but `own`."""
    shapes = [local.of(whole, whole.inventory.networks[name]) for name in ("web", "lan", "own", "out")]
    assert [[shape.name for shape in batch] for batch in local.batches(shapes)] == [["web", "own", "out"], ["lan"]]
    assert [len(batch) for batch in local.batches([*shapes[:1], local.of_bridge(whole)])] == [1, 1]
    assert [len(batch) for batch in local.batches([replace(shapes[0], name=f"n{n}") for n in range(5)])] == [2, 3]
    hosts = [Pair(1), Pair(2), Pair(3)]
    hosts[1].meets = True
    found = local.prove(
        whole, {host.name: host for host in hosts}, {shapes[0]: "abcdef", shapes[2]: "fedcba"}, observer=lambda *_: None
    )
    results = {(result.proof, result.network): result for result in found if result.proof == "isolation"}
    assert [(c.host, c.what, c.proven) for c in results["isolation", "web"].checks] == [
        ("node1", "the probe of own on node1", True),
        ("node2", "the probe of own on node2", False),
    ]
    assert "node2: the probe of own on node2: its address answers" in results["isolation", "web"].error
    assert [c.host for c in results["isolation", "own"].checks] == ["node1", "node2"]
    told = [line for host in hosts for text in host.sent for line in text.splitlines() if line.startswith("stranger")]
    assert len(told) == 4
    assert sum("stranger 0 provisioner-probe-abcdef-node1-b " in line for line in told) == 1, (
        "the stranger is the probe that publishes no port"
    )


def test_the_built_in_bridge_is_tried_without_names(whole):
    hosts = [Pair(1), Pair(2), Pair(3)]
    result = proven(whole, hosts, "bridge")
    assert result.state is State.SETTLED
    assert len(result.checks) == 12
    assert not any("name" in line.split()[-1] for host in hosts for text in host.sent for line in text.splitlines())


def test_a_way_that_is_closed_is_told_with_its_cause_and_cure(whole):
    hosts = [Pair(1, lambda rest, _: "192.168.56.12" in rest), Pair(2)]
    result = proven(whole, hosts)
    assert result.state is State.FAILED
    assert [(c.way, c.detail) for c in result.checks if not c.proven] == [
        ("node1 > node2", "address: no answer; no packet arrived")
    ]
    assert "1 of 6 checks failed" in result.error
    assert "chain FORWARD" in result.error
    assert [(found.id, found.host, found.target) for found in result.problems] == [
        ("forward-blocked", "node1", "node2")
    ]


def test_a_macvlan_across_hosts(whole):
    hosts = [Pair(1), Pair(2, lambda rest, _: " 7777 " in rest), Pair(3)]
    result = proven(whole, hosts, "lan")
    assert [c.way for c in result.checks if not c.proven] == ["node2 > node1", "node2 > node3"]
    assert "MAC addresses" in result.error
    assert {(found.id, found.host) for found in result.problems} == {("mac-filtered", "node2")}


def test_a_probe_that_does_not_start_fails_what_it_was_to_show(whole):
    ends = Result(70, "", "provisioner: the engine takes no image\tlook at docker\n")
    broken = Pair(2, ended=True, result=ends)
    broken.stream = lambda script: Host.stream(broken, script)  # reports no address
    broken.lines = []
    result = proven(whole, [Pair(1), broken])
    failed = {c.way for c in result.checks if not c.proven}
    assert failed == {"node2", "node1 > node2", "node2 > node1"}
    assert "on node2: look at docker" in result.error
    assert [(found.id, found.host) for found in result.problems] == [("probe-failed", "node2")]
    assert "chain FORWARD" not in result.error, "no path was tried"


def test_nothing_to_show(whole):
    assert proven(whole, [Pair(1)], "one").state is State.SKIPPED
    assert "outbound access was not tried" in proven(whole, [Pair(1)]).reason


class Inside(Host):
    """A host whose container reports its interfaces. own: what the host itself reports."""

    def __init__(self, number: int, inside: str, own: str = "") -> None:
        super().__init__(number)
        self.lines = [f"interfaces {inside}"]
        self.own = own

    def read(self, script: str, *, deadline: float) -> Result:
        assert "perl -e " in script
        assert deadline
        return Result(0, f"interfaces {self.own}\n", "")


def shown(whole, network, hosts):
    (result,) = builtin.prove(
        whole, {host.name: host for host in hosts}, network, run="abcdef", observer=lambda *_: None
    )
    return result


def test_none_has_only_loopback(whole):
    result = shown(whole, "none", [Inside(1, "lo 127.0.0.1"), Inside(2, "eth0,lo 10.0.0.2,127.0.0.1")])
    assert result.state is State.FAILED
    assert [(c.host, c.proven, c.detail) for c in result.checks] == [
        ("node1", True, ""),
        ("node2", False, "it has eth0, lo instead of lo"),
    ]


def test_host_has_the_addresses_of_the_host(whole):
    good = Inside(1, "eth0,lo 127.0.0.1,192.168.56.11", "eth0,lo,veth1 127.0.0.1,192.168.56.11")
    assert shown(whole, "host", [good]).state is State.SETTLED
    bad = Inside(2, "lo 127.0.0.1", "eth0,lo 127.0.0.1,192.168.56.12")
    result = shown(whole, "host", [good, bad])
    assert "node2: it has 127.0.0.1 instead of 127.0.0.1, 192.168.56.12" in result.error
    assert [(found.id, found.host, found.network) for found in result.problems] == [
        ("builtin-network", "node2", "host")
    ]
