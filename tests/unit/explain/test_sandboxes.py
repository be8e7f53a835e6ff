"""Overlays whose namespace is gone while containers are on them, and what looks alike."""

from __future__ import annotations

from dataclasses import replace

import pytest
from scenes import BOX, HOSTS, SPACE, YOUNG, cluster, named, since, with_kernel, without_network

from provisioner.explain import problems
from provisioner.observe.kernel import Kernel


def without(seen, *begins, host="node2"):
    """Remove sections of a host's kernel. begins: how their names begin."""
    raw = {name: text for name, text in seen.observed.kernels[host].raw.items() if not name.startswith(begins)}
    return replace(seen, observed=replace(seen.observed, kernels={**seen.observed.kernels, host: Kernel(raw)}))


@pytest.mark.parametrize("scope", ["swarm", "global"])
def test_a_network_without_its_namespace_although_a_container_is_on_it(site, scope):
    assert named(cluster(site, scope)) == []
    seen = without(cluster(site, scope), f"space:{SPACE}:")
    assert named(seen) == [("sandbox-lost", "", "node2", "", "demo")]
    (found,) = problems(seen)
    assert found.evidence == "the namespace of demo is gone, and containers are still on this network: web-node2"


def test_what_looks_alike(site):
    gone = f"space:{SPACE}:"
    fresh = with_kernel(cluster(site), "node2", "since", lambda _: since({BOX["node2"].name: YOUNG}))
    assert named(without(fresh, gone)) == [], "the container is only just starting or ending"
    assert named(without(cluster(site, listed=("node1", "node3")), gone)) == [], "its engine lists no container there"
    assert named(without(cluster(site), "space:")) == [], "the engine has its namespaces elsewhere"
    blind = with_kernel(without(cluster(site), gone), "node2", "failed", lambda _: f"space:{SPACE}:links gone\n")
    assert named(blind) == [], "it could not be read"
    seen = without(cluster(site), gone)
    for name in HOSTS:
        seen = without_network(seen, name, "demo")
    assert "sandbox-lost" not in {each.id for each in problems(seen)}, "the engine has lost the network"
