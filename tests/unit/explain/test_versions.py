"""Known errors of engine versions are named where they matter, and nowhere else. The hosts are captured; the versions are set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from captured import HOSTS, with_http, with_info
from swarms import FOUND, put

from provisioner import causes
from provisioner.controlplane import resolve
from provisioner.explain import Seen, explain
from provisioner.explain.versions import version
from provisioner.inventory import of_values
from provisioner.inventory.importers.swarm import understood
from provisioner.model import Problem, ProofResult, State
from provisioner.runner import survey
from provisioner.system.facts import Facts

OLD, NEW = "28.5.2", "29.9.0"
NAMELESS = Problem("names-unresolved", "node1", "node1 > node2: unknown", target="node2", network="demo")
SAFE = {"Name": "safe", "Id": "safe1", "Driver": "overlay", "Scope": "swarm", "Options": {"encrypted": ""}}


def seen(versions, *, encrypted=False, port=0, address="", **more):
    """The captured swarm with these engine versions, an encrypted network, another data path port, or a node's other address."""
    found = {}
    for name, number in zip(HOSTS, versions, strict=True):
        facts = FOUND[name]
        if address and name == "node2":
            facts = put(name, NodeAddr=address)
        cluster = facts.engine["Swarm"].get("Cluster")
        cluster = cluster | {"DataPathPort": port or cluster["DataPathPort"]} if cluster else None
        facts = with_info(facts, ServerVersion=number, Swarm={**facts.engine["Swarm"], "Cluster": cluster})
        found[name] = with_http(facts, "networks", [*facts.networks.values(), *([SAFE] if encrypted else [])])
    document = understood(survey.answers(FOUND["node1"]))
    site, _ = resolve(of_values(document.document({}, "192.168.56.11", HOSTS), Path("swarm")), found)
    return Seen(site, **more)


def nameless(*versions, problem=NAMELESS):
    return seen(versions, proofs=(ProofResult("overlay", "demo", State.FAILED, problems=(problem,)),))


def named(found):
    return [(each.id, each.hosts) for each in explain(found)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("29.0.0", (29, 0, 0)), ("29.2.1-rc.1", (29, 2, 1)), ("dev", None), ("", None), ("1.2", None)],
)
def test_versions(text, expected):
    assert version(replace(Facts({}), raw={"engine": f"Docker version {text}, build x"})) == expected


@pytest.mark.parametrize("number", ["20.10.24", OLD, "29.0.1", "29.2.1", NEW, "dev"])
def test_a_healthy_swarm_of_one_version_has_none(number):
    assert named(seen([number] * 3, encrypted=True)) == []


def test_names_that_engines_forgot():
    (found,) = explain(nameless("29.6.2", "29.6.2", "29.6.2"))
    assert (found.id, found.hosts, [each.id for each in found.explained]) == (
        "dns-lost",
        ("node1", "node2"),
        ["names-unresolved"],
    )
    run = causes.to_run(found.problems[0])
    assert run == ("systemctl restart docker  # on node2; its containers stop meanwhile unless it has live-restore",)
    (found,) = explain(nameless("29.6.2", "29.6.2", "29.6.2", problem=replace(NAMELESS, host="", target="")))
    assert "the engines on node1, node2, node3, one after the other" in causes.cure(found.problems[0])


@pytest.mark.parametrize("number", [OLD, "29.7.0"])
def test_other_engines_do_not_forget_names(number):
    assert named(nameless(number, number, number)) == [("names-unresolved", ("node1", "node2"))]
    assert named(nameless(number, number, "29.1.0")) == [("names-unresolved", ("node1", "node2"))]


def test_names_of_local_networks():
    assert named(seen(["29.0.0", "29.0.1", OLD])) == [("local-dns", ("node1",))]


@pytest.mark.parametrize("number", [OLD, "29.2.1"])
def test_engines_that_number_keys_differently(number):
    assert named(seen(["29.1.3", number, number], encrypted=True)) == [("spi-mismatch", ("node1",))]
    assert named(seen(["29.1.3", number, number])) == []
    assert named(seen(["29.1.3"] * 3, encrypted=True)) == []


@pytest.mark.parametrize(("number", "broken"), [("20.10.24", True), ("24.0.2", True), ("23.0.7", False), (OLD, False)])
def test_encryption_on_another_port(number, broken):
    expected = [("encrypted-port", HOSTS)] if broken else []
    assert named(seen([number] * 3, encrypted=True, port=7789)) == expected
    assert named(seen([number] * 3, encrypted=True, port=4789)) == []
    assert named(seen([number] * 3, port=7789)) == []


def test_overlays_over_ipv6():
    assert named(seen(["24.0.7"] * 3, address="2001:db8::2")) == [("ipv6-underlay", ("node2",))]
    assert named(seen([OLD] * 3, address="2001:db8::2")) == []
