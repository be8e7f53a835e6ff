"""Which pairs of hosts hold connections, and what is said of each."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

import pytest

from provisioner import render
from provisioner.proofs import flows, verdict
from provisioner.proofs.evidence import FACTS, Evidence
from provisioner.proofs.verdict import pairs

if TYPE_CHECKING:
    from provisioner.model import Problem

NAMES = ("node1", "node2", "node3")


def ways(hosts: int) -> set[tuple[int, int]]:
    numbers = range(1, hosts + 1)
    return {(one, to) for one in numbers for to in flows.targets(one, [n for n in numbers if n != one])}


@pytest.mark.parametrize("hosts", range(2, 7))
def test_few_hosts_try_every_pair(hosts):
    assert ways(hosts) == {(a, b) for a in range(1, hosts + 1) for b in range(1, hosts + 1) if a != b}


@pytest.mark.parametrize("hosts", [7, 8, 12, 50, 200])
def test_on_many_hosts_the_work_of_each_is_the_same(hosts):
    found = ways(hosts)
    assert all(one != to for one, to in found)
    sent, received = Counter(one for one, _ in found), Counter(to for _, to in found)
    assert {*sent.values()} == {*received.values()}
    assert 3 <= sent[1] <= 4
    assert all((one, one % hosts + 1) in found for one in range(1, hosts + 1)), "a ring"


@pytest.mark.parametrize("hosts", [1, 2, 6, 7, 8, 20, 51, 120])
def test_connections_that_are_held_join_each_pair_of_hosts_once(hosts):
    numbers = range(1, hosts + 1)
    held = [frozenset({one, to}) for one in numbers for to in flows.watched(one, [n for n in numbers if n != one])]
    assert len(held) == len({*held})
    sent = {frozenset(way) for way in ways(hosts)}
    assert sent.isdisjoint(held)
    assert len(sent) + len(held) == hosts * (hosts - 1) / 2


def test_a_probe_of_very_many_hosts_can_answer_all_that_call_it():
    callers = Counter(to for one in range(1, 201) for to in flows.watched(one, [n for n in range(1, 201) if n != one]))
    assert max(callers.values()) + 4 <= 64
    assert ", $CALLERS, $FEW) = (7778, 0.15, 0.5, 5, 15, 64, " in render.text("probe.pl")


def test_hosts_that_are_missing_leave_no_gap_in_the_ring():
    assert flows.targets(9, [1, 2, 4, 5, 6, 7, 8]) == [1, 2, 5]
    assert flows.targets(2, [1, 4, 5, 6, 7, 8, 9]) == [4, 5, 7]
    assert flows.targets(3, []) == []


@pytest.fixture
def found() -> dict[str, Evidence]:
    """Three hosts of which all is proven, with a transfer for each pair."""
    return {
        name: Evidence(
            address=IPv4Address(f"10.99.0.{255 - number}"),
            mtu=1450,
            seen={(peer, fact): 0.3 for peer in (1, 2, 3) if peer != number for fact in FACTS},
            bulk={peer: (1048576, 0.01) for peer in (1, 2, 3) if peer != number},
            gaps={peer: (0.151, 0.4) for peer in (1, 2, 3) if peer != number},
            checksums={"host": 0},
            seconds=0.4,
        )
        for number, name in enumerate(NAMES, start=1)
    }


def problems(found: dict[str, Evidence]) -> list[Problem]:
    return list(verdict.trouble("demo", found, pairs(found), {}, "")[1])


def test_a_healthy_network(found):
    for pair in pairs(found):
        assert (pair.proven, pair.transfer, pair.detail) == (True, "passed", "")
        assert (round(pair.throughput), pair.longest_gap) == (839, 0.151)
    found["node1"].bulk.clear()  # a pair without a transfer is none that failed
    assert [(pair.proven, pair.transfer, pair.throughput) for pair in pairs(found)[:2]] == [(True, "", None)] * 2
    assert problems(found) == []


def test_a_few_accidents_are_no_cause(found):
    found["node2"].checksums = {"host": 2, "container": 1}
    found["node2"].gaps[1] = (2.9, 1.0)
    assert problems(found) == []


@pytest.mark.parametrize(
    ("said", "cause", "words"),
    [
        ("changed 2 3 65600", "data-corrupt", "data arrive changed: 3 of 64 blocks of 16 KiB, the first at byte 65600"),
        ("changed 2 1 message", "data-corrupt", "data arrive changed: a message"),
        (
            "stalled 2 131072 5.12",
            "transfer-stalled",
            "a transfer over TCP passed 131072 bytes, then nothing for 5.1 s",
        ),
        (
            "gap 2 4.26 1.5",
            "connection-dropped",
            "no answer on a connection for 4.3 s, from 1.5 s on: packets from node1 arrived, but no answer from node2 did",
        ),
        (
            "cut 2 3 1.5 connection reset by peer",
            "connection-dropped",
            "a connection ended after 1.5 s (connection reset by peer), 3 times in all",
        ),
    ],
)
def test_what_goes_wrong_on_a_connection(found, said, cause, words):
    found["node1"].take(said)
    (problem,) = problems(found)
    assert (problem.id, problem.host, problem.target, problem.network) == (cause, "node1", "node2", "demo")
    assert problem.evidence == f"node1 > node2: {words}"
    bad = [pair for pair in pairs(found) if not pair.proven]
    assert [(pair.source, pair.target, pair.detail) for pair in bad] == [("node1", "node2", words)]


def test_the_direction_of_an_interruption(found):
    found["node1"].take("gap 2 4.2 1.5")
    found["node2"].take("quiet 1 4.0 1.6")
    assert problems(found)[0].evidence.endswith("nothing from node1 arrived at node2")


def test_wrong_checksums_explain_what_is_lost(found):
    found["node1"].take("stalled 2 0 5.1")
    found["node3"].take("stalled 2 0 5.1")
    found["node2"].checksums = {"host": 40, "container": 2}
    (problem,) = problems(found)
    assert (problem.id, problem.host, problem.target) == ("offload", "node2", "")
    assert problem.evidence.endswith("; 42 packets arrived at node2 with a wrong checksum")


def test_a_replaced_probe_ends_connections_without_a_fault_of_the_path(found):
    found["node1"].take("cut 2 1 1.5 closed by the other end")
    found["node1"].take("gap 2 9.5 1.5")
    found["node2"].offset = 3.0
    assert problems(found) == []


def test_nothing_is_said_of_a_connection_where_packets_are_lost(found):
    """The lost packets are the cause. What became of the connection follows from it."""
    del found["node1"].seen[2, "address"]
    found["node1"].take("stalled 2 0 5.1")
    found["node1"].take("gap 2 9.5 1.5")
    assert [problem.id for problem in problems(found)] == ["overlay-blocked"]


def test_the_program_sends_as_many_blocks_as_the_report_says():
    assert f"($BLOCK, $BLOCKS, $AHEAD, $SLOW) = (1 << 14, {flows.BLOCKS}, " in render.text("probe.pl")
