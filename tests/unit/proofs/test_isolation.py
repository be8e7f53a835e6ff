"""Networks that are proven at the same time: which probes try to reach each other, and the result.

With real containers: tests/e2e/test_dns.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

import pytest

from provisioner.model import State
from provisioner.proofs import isolation, overlay
from provisioner.proofs.evidence import Evidence
from provisioner.proofs.probe import Probe, Task


@dataclass
class Connection:
    name: str


WALLS = isolation.Walls((7946, 8300), (4789,), {"node1": "192.0.2.1", "node2": "192.0.2.2", "node3": "192.0.2.3"})


def walled(**evidence: object) -> Probe:
    probe = Probe(
        Connection("node2"), 2, 1, Task("0a", "a", IPv4Network("10.0.0.0/24"), 30, 120, walls=WALLS), lambda *_: None
    )
    probe.evidence = Evidence(**{"seconds": 0.3, "walls": 2, "watching": True} | evidence)
    return probe


def probes(*networks: str, hosts: int = 3) -> dict[str, list[Probe]]:
    """Return probes that have tried to reach their strangers, and reached none."""
    made = {}
    for place, network in enumerate(networks):
        task = Task(f"{place:06}", network, IPv4Network(f"10.{place}.0.0/24"), 30, 120, apart=True)
        made[network] = [Probe(Connection(f"node{n}"), n, n, task, lambda *_: None) for n in range(1, hosts + 1)]
        for probe in made[network]:
            probe.evidence = Evidence(
                address=IPv4Address(f"10.{place}.0.{probe.number}"), seconds=0.3, tried=dict.fromkeys(range(9), 4)
            )
    everyone = [probe for each in made.values() for probe in each]
    for probe in everyone:
        probe.go(everyone)  # without a stream, this sends nothing
    return made


def test_whom_a_probe_tries_to_meet():
    a, b = probes("a", "b").values()
    assert [(s.network, s.name) for s in a[0].strangers] == [("b", "node1"), ("b", "node2")]
    assert [(s.network, s.name) for s in b[2].strangers] == [("a", "node3"), ("a", "node1")]
    b[1].address = b[1].evidence.address
    assert b[1].as_stranger(4) == "stranger 4 provisioner-probe-000001-node2 10.1.0.2 000001 2"
    assert [s.network for s in probes("a", "b", "c")["b"][0].strangers] == ["a", "a", "c", "c"]


def test_networks_that_are_kept_apart():
    made = probes("a", "b")
    found = isolation.result("a", made["a"])
    assert (found.state, found.error, found.reason) == (State.SETTLED, "", "isolated from b, by name and by address")
    assert len(found.checks) == 6
    assert found.checks[0].what == "the probe of b on node1"
    assert all(check.proven for check in found.checks)


def test_networks_that_are_not():
    made = probes("a", "b")
    made["a"][1].evidence.met = {(0, "name"): 0.1, (0, "address"): 0.1}
    found = isolation.result("a", made["a"])
    assert found.state is State.FAILED
    assert "1 of 6 checks failed" in found.error
    assert "node2: the probe of b on node2: its name is resolved, its address answers" in found.error
    assert "ip route" in found.error
    assert [(problem.id, problem.host) for problem in found.problems] == [("networks-joined", "node2")]


def test_a_try_that_was_none_proves_nothing():
    """A try counts neither if it was not made, nor if the other probe had ended."""
    made = probes("a", "b")
    made["a"][0].evidence.tried = {1: 4}
    made["b"][1].evidence.seconds = None
    found = isolation.result("a", made["a"])
    assert [(c.host, c.what, c.detail) for c in found.checks if not c.proven] == [
        ("node1", "the probe of b on node1", "not tried"),
        ("node1", "the probe of b on node2", "it ended early"),
        ("node2", "the probe of b on node2", "it ended early"),
    ]
    assert "see the errors of the probes" in found.error


def test_whose_ports_a_probe_tries():
    assert WALLS.beyond("node2") == ("192.0.2.3", "192.0.2.1")
    assert WALLS.ports == ("7946/tcp", "8300/tcp", "4789/udp")
    many = isolation.Walls((), (), {f"node{n}": str(n) for n in range(40)})
    assert many.beyond("node30") == tuple(str(n % 40) for n in range(31, 47))
    assert {other for name in many.addresses for other in many.beyond(name)} == set(many.addresses.values())


def test_no_packet_leaves():
    found = isolation.result("a", [walled()])
    assert (found.state, found.error) == (State.SETTLED, "")
    assert found.reason == "no packet leaves for the cluster's ports of other hosts"
    assert [(check.host, check.seconds) for check in found.checks] == [("node2", 0.3)]


@pytest.mark.parametrize(
    ("evidence", "detail"),
    [
        (
            {"leaks": {"192.0.2.3": ("8300/tcp", "4789/udp")}},
            "leave the host, with its address, for 192.0.2.3 8300/tcp, 4789/udp",
        ),
        ({"watching": False}, "could not watch"),
        ({"walls": 0}, "not tried"),
        ({"error": "no such network"}, "no such network"),
    ],
)
def test_packets_leave_or_nobody_can_tell(evidence, detail):
    found = isolation.result("a", [walled(**evidence)])
    assert found.state is State.FAILED
    assert detail in found.checks[0].detail
    assert "node2" in found.error
    assert ("PROVISIONER-FORWARD" in found.error) is ("leaks" in evidence)
    assert [problem.id for problem in found.problems] == ["cluster-ports-open"] * ("leaks" in evidence)


@pytest.mark.parametrize(
    ("networks", "hosts", "sizes"),
    [
        (0, 3, []), (1, 3, [1]), (2, 3, [2]), (3, 3, [3]), (4, 7, [2, 2]), (4, 6, [4]), (5, 3, [2, 3]), (9, 3, [3, 3, 3]),
        (2, 100, [2]), (3, 100, [3]), (4, 100, [2, 2]), (5, 100, [2, 3]), (3, 13, [3]),
    ],
)  # fmt: skip
def test_how_many_networks_are_proven_side_by_side(networks, hosts, sizes):
    names = [f"n{n}" for n in range(networks)]
    found = overlay.batches(names, hosts)
    assert [len(batch) for batch in found] == sizes
    assert [name for batch in found for name in batch] == names
