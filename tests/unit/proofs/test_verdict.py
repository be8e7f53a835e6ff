from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from provisioner.controlplane.kv import Kv
from provisioner.model import Problem
from provisioner.proofs import verdict
from provisioner.proofs.evidence import FACTS, Evidence
from provisioner.proofs.verdict import pairs

NAMES = ("node1", "node2", "node3")


def trouble(*about, **more) -> str:
    return verdict.trouble(*about, **more)[0]


def causes(*about, **more) -> list[tuple[str, str, str]]:
    """Return the id, the host and the other end of each cause."""
    return [(found.id, found.host, found.target) for found in verdict.trouble(*about, **more)[1]]


@pytest.fixture
def found() -> dict[str, Evidence]:
    """The evidence of three hosts with all pairs proven."""
    return {
        name: Evidence(
            address=IPv4Address(f"10.99.0.{255 - number}"),
            mtu=1450,
            seen={(peer, fact): 0.3 for peer in (1, 2, 3) if peer != number for fact in FACTS},
            heard=frozenset({1, 2, 3} - {number}),
            seconds=0.3,
        )
        for number, name in enumerate(NAMES, start=1)
    }


def lack(evidence: Evidence, peer: int, **why: str) -> None:
    for fact, reason in why.items():
        del evidence.seen[peer, fact]
        evidence.lacks[peer, fact] = reason


def detail(found: dict[str, Evidence], source: str = "node1", target: str = "node2") -> str:
    return next(p.detail for p in pairs(found) if (p.source, p.target) == (source, target))


def test_all_is_proven(found):
    result = pairs(found)
    assert [(p.source, p.target) for p in result] == [
        ("node1", "node2"), ("node1", "node3"), ("node2", "node1"),
        ("node2", "node3"), ("node3", "node1"), ("node3", "node2"),
    ]  # fmt: skip
    assert all(p.proven and not p.detail for p in result)
    assert verdict.trouble("demo", found, result, {}, "") == ("", ())


def test_a_probe_that_did_not_start_fails_both_directions(found):
    found["node2"] = Evidence(
        error="Cannot connect to the Docker daemon",
        problem=Problem("probe-failed", "node2", "Cannot connect", {"cure": "start it"}, "told"),
    )
    for evidence in (found["node1"], found["node3"]):
        evidence.seen = {key: at for key, at in evidence.seen.items() if key[0] != 2}
    result = pairs(found)
    assert {(p.source, p.target) for p in result if p.proven} == {("node1", "node3"), ("node3", "node1")}
    text = trouble("demo", found, result, {}, "")
    assert detail(found) == detail(found, "node2", "node3") == "no probe on node2: Cannot connect to the Docker daemon"
    assert "the network demo is not proven: 4 of 6 pairs failed" in text
    assert "on node2: start it" in text
    assert causes("demo", found, result, {}, "") == [("probe-failed", "node2", "")], "its paths are unknown"
    assert "4789" not in text


ALL = dict.fromkeys(("address", "by_name", "full"), "no answer")


@pytest.mark.parametrize(
    ("here", "there", "words"),
    [
        ({2}, set(), "packets pass from node2 to node1, but not from node1 to node2"),
        (set(), {1}, "packets pass from node1 to node2, but not from node2 to node1"),
        (set(), set(), "nothing passes in either direction"),
        ({2}, {1}, "although packets pass in both directions"),
        ({2}, None, "and one of the probes did not report what it received"),
    ],
)
def test_the_direction_in_which_datagrams_are_lost(found, here, there, words):
    lack(found["node1"], 2, **ALL)
    found["node1"].heard = frozenset(here)
    found["node2"].heard = None if there is None else frozenset(there)
    assert detail(found) == f"10.99.0.253: no answer, {words}"
    assert "4789/udp" in trouble("demo", found, pairs(found), {}, "")
    assert "4790/udp" in trouble("demo", found, pairs(found), {}, "", data=4790)
    assert causes("demo", found, pairs(found), {}, "") == [("overlay-blocked", "node1", "node2")]


def test_the_place_of_what_many_pairs_have_in_common(found):
    lack(found["node1"], 2, **ALL)
    lack(found["node3"], 2, **ALL)
    assert causes("demo", found, pairs(found), {}, "") == [("overlay-blocked", "node2", "")]
    lack(found["node2"], 1, **ALL)
    assert causes("demo", found, pairs(found), {}, "") == [("overlay-blocked", "node2", "")]
    (problem,) = verdict.trouble("demo", found, pairs(found), {}, "")[1]
    assert problem.evidence.startswith("node1 > node2, node2 > node1, node3 > node2: 10.99.0.253: no answer")
    assert problem.network == "demo"
    lack(found["node1"], 3, **ALL)
    assert causes("demo", found, pairs(found), {}, "") == [("overlay-blocked", "", "")]


def test_the_two_directions_of_one_path(found):
    lack(found["node1"], 2, **ALL)
    lack(found["node2"], 1, **ALL)
    assert causes("demo", found, pairs(found), {}, "") == [("overlay-blocked", "node1", "node2")]


def test_a_name(found):
    lack(found["node1"], 2, name="NXDOMAIN", by_name="not tried")
    assert detail(found) == "the name of node2 is not resolved: NXDOMAIN"
    assert "the same store" in trouble("demo", found, pairs(found), {}, "")
    assert causes("demo", found, pairs(found), {}, "") == [("names-unresolved", "node1", "node2")]


def test_a_name_that_leads_elsewhere(found):
    lack(found["node1"], 2, by_name="DNS says 10.99.0.9")
    assert detail(found) == "by name: DNS says 10.99.0.9, but node2 has 10.99.0.253"
    assert "docker network inspect demo" in trouble("demo", found, pairs(found), {}, "")
    assert causes("demo", found, pairs(found), {}, "") == [("name-stale", "node1", "node2")]


def test_the_mtu_and_its_cure(found):
    lack(found["node1"], 2, full="no answer")
    assert detail(found) == "MTU: packets of 1450 bytes don't pass, no answer"
    assert causes("demo", found, pairs(found), {}, "") == [("path-mtu", "node1", "node2")]
    assert "set a smaller mtu for the network demo" in trouble("demo", found, pairs(found), {}, "")
    found["node1"].largest[2] = 1350
    assert detail(found) == "MTU: 1350 of 1450 bytes pass"
    assert "mtu: 1400" in trouble("demo", found, pairs(found), {}, "")
    assert "mtu: 1426" in trouble("demo", found, pairs(found), {}, "", headers=76), "an encrypted network"
    assert causes("demo", found, pairs(found), {}, "") == [("path-mtu", "node1", "node2")]


def test_equal_addresses(found):
    found["node2"].address = found["node1"].address
    lack(found["node1"], 2, **ALL)
    assert detail(found) == "node1 and node2 have the same address 10.99.0.254"


def test_a_probe_that_ended_early(found):
    found["node1"].seconds = None
    found["node1"].error = "exit code 137"
    lack(found["node1"], 2, **ALL)
    assert detail(found) == "the probe on node1 ended early: exit code 137"
    found["node2"].lacks = {}
    lack(found["node2"], 1, **ALL)
    assert "the probe on node1 ended early: exit code 137" in detail(found, "node2", "node1")


def test_an_error_fits_on_a_page(found):
    many = {f"node{n}": Evidence(error=f"reason {n}") for n in range(1, 31)}
    text = trouble("demo", many, pairs(many), {}, "")
    assert "870 of 870" in text
    assert len(text.splitlines()) < 14
    assert max(map(len, text.splitlines()[:-1])) < 200


def test_engines_that_do_not_know_one_another_are_the_cause(found):
    lack(found["node1"], 2, **ALL)
    text = trouble("demo", found, pairs(found), {"node1": ("node2",)}, Kv().reunion(None))
    assert "the engine of node1 does not know node2 from gossip" in text
    assert "run `provisioner up INVENTORY`" in text
    assert "4789" not in text
    assert causes("demo", found, pairs(found), {"node1": ("node2",)}, "") == [("engines-apart", "node1", "node2")]
