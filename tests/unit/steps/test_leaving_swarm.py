"""A host leaves a captured swarm: what a manager does before and after, and what the host does itself."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from captured import with_file, with_http, with_info
from swarms import ADDRESSES, FOUND

from provisioner import wording
from provisioner.controlplane import resolve
from provisioner.controlplane.swarm import View, address_of, swarm_info
from provisioner.steps.leaving_swarm import Forget, LeaveSwarm, Rest
from provisioner.system.swarm import OURS, PROGRAM, UNIT_FILE


@pytest.fixture
def swarm(inventory):
    """Return the site without node3, the leaving host, and the acting manager (node1)."""
    whole, _ = resolve(inventory(3, kind="", more="swarm: {managers: [node1]}"), FOUND)
    staying = replace(whole.without(frozenset({"node3"})), leaving=IPv4Address(ADDRESSES["node3"]))
    return staying, "node3", View(staying).acting


def differs(step, site, host):
    return [wording.what(d) for d in step.drift(site, host)]


def test_only_one_manager_acts(swarm):
    site, leaving, acting = swarm
    assert f"services on {leaving}" in differs(Rest(leaving), site, acting)
    (gone,) = differs(Forget(leaving), site, acting)
    assert gone.endswith(f" of {leaving}")
    assert not [
        d
        for name in site.live
        if name != acting
        for d in differs(Rest(leaving), site, name) + differs(Forget(leaving), site, name)
    ]


def test_only_the_node_of_the_host_is_touched(swarm):
    site, leaving, acting = swarm
    node = next(n for n in View(site).nodes.values() if address_of(n) == str(site.leaving))
    for step in (Rest(leaving), Forget(leaving)):
        script = step.work(site, acting, ()).script
        assert node["ID"] in script
        assert not [n for n in View(site).nodes.values() if n["ID"] != node["ID"] and n["ID"] in script]


def test_settled(swarm):
    site, leaving, acting = swarm
    nodes = [n for n in View(site).nodes.values() if address_of(n) != str(site.leaving)]
    gone = site.known(acting, with_http(site.facts[acting], "nodes", nodes))
    assert differs(Rest(leaving), gone, acting) == differs(Forget(leaving), gone, acting) == []
    facts = site.facts[acting]
    out = with_info(facts, Swarm={**swarm_info(facts), "LocalNodeState": "inactive"})
    assert differs(LeaveSwarm(), site, acting) == ["the swarm", PROGRAM, UNIT_FILE]
    assert differs(LeaveSwarm(), site.known(acting, out), acting) == [PROGRAM, UNIT_FILE]
    for path in OURS:
        out = with_file(out, path, "")
    assert differs(LeaveSwarm(), site.known(acting, out), acting) == []
