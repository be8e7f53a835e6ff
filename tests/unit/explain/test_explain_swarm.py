"""Causes that only a swarm has."""

from __future__ import annotations

from pathlib import Path

from captured import HOSTS
from swarms import FOUND, IDS, fresh, out

from provisioner import causes
from provisioner.controlplane import resolve
from provisioner.explain import Seen, explain
from provisioner.inventory import of_values
from provisioner.inventory.importers.swarm import understood
from provisioner.model import Problem, ProofResult, State
from provisioner.runner import survey


def seen(found, **more):
    swarm = understood(survey.answers(FOUND["node1"]))
    inventory = of_values(swarm.document({}, "192.168.56.11", HOSTS), Path("swarm"))
    site, findings = resolve(inventory, found)
    return Seen(site, findings=tuple(findings), **more)


def test_a_healthy_swarm_has_none():
    assert explain(seen(FOUND)) == ()


def test_a_node_that_left_explains_that_no_container_starts_there():
    probe = Problem("probe-failed", "node2", "network demo not found", network="demo")
    proof = ProofResult("overlay", "demo", State.FAILED, problems=(probe,))
    (found,) = explain(seen(FOUND | {"node2": out("node2")}, proofs=(proof,)))
    assert (found.id, found.hosts, [each.id for each in found.explained]) == ("node-left", ("node2",), ["probe-failed"])
    assert f"docker node rm --force {IDS['node2']}" in causes.cure(found.problems[0])


def test_hosts_that_never_joined_have_not_left():
    assert "node-left" not in {found.id for found in explain(seen(fresh()))}
