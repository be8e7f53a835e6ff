"""Overlays whose namespace is gone while containers are on them, and what looks alike."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from captured import with_http, with_info, with_raw, with_system
from scenes import BOX, HOSTS, SPACE, YOUNG, cluster, named, since, with_kernel, without, without_network

from provisioner import causes
from provisioner.explain import problems


@pytest.mark.parametrize("scope", ["swarm", "global"])
def test_a_network_without_its_namespace_although_a_container_is_on_it(site, scope):
    assert named(cluster(site, scope)) == []
    seen = without(cluster(site, scope), f"space:{SPACE}:")
    assert named(seen) == [("sandbox-lost", "", "node2", "", "demo")]
    (found,) = problems(seen)
    assert found.evidence == "the namespace of demo is gone, and containers are still on this network: web-node2"


@pytest.mark.parametrize(
    ("scope", "age", "live", "variant"),
    [("global", 300, False, "kept"), ("global", 700, False, ""), ("global", 300, True, ""), ("global", 595, False, "")],
)
def test_a_namespace_that_outlived_the_engines_last_start_needs_more_than_another_one(site, scope, age, live, variant):
    """The namespace is 600 seconds old."""
    seen = cluster(site, scope)
    facts = seen.site.facts["node2"]
    units = facts.raw["units"].replace("Id=docker.service", "Id=docker.service\nStarted=100000")
    facts = with_info(with_system(with_raw(facts, units=units), "uptime=", f"{1000 + age}"), LiveRestoreEnabled=live)
    seen = replace(seen, site=seen.site.known("node2", facts))

    def other(links):
        found = json.loads(json.dumps(links))
        for each in found:
            if each["ifname"] == "vxlan0":
                each["linkinfo"]["info_data"]["id"] = 999
        return found

    (found,) = (
        each
        for each in problems(with_kernel(seen, "node2", f"space:{SPACE}:links", other))
        if each.id == "vni-mismatch"
    )
    assert (found.host, found.variant) == ("node2", variant)
    assert (causes.to_run(found)[0].startswith("systemctl restart")) == (not variant)


def test_what_looks_alike(site):
    gone = f"space:{SPACE}:"
    fresh = with_kernel(cluster(site), "node2", "since", lambda _: since({BOX["node2"].name: YOUNG}))
    assert named(without(fresh, gone)) == [], "the container is only just starting or ending"
    assert named(without(cluster(site, listed=("node1", "node3")), gone)) == [], "its engine lists no container there"
    assert named(without(cluster(site), "space:")) == [], "the engine has its namespaces elsewhere"
    blind = with_kernel(without(cluster(site), gone), "node2", "failed", lambda _: f"space:{SPACE}:links gone\n")
    assert named(blind) == [], "it could not be read"


def test_an_engine_that_does_not_reach_its_store_lists_the_network_no_more(site):
    seen = without(cluster(site, "global"), f"space:{SPACE}:")
    for hosts in (HOSTS[1:2], HOSTS):
        for name in hosts:
            seen = without_network(seen, name, "demo")
        assert "sandbox-lost" in {each.id for each in problems(seen)}


def test_containers_on_a_network_that_was_created_again_have_the_namespace_of_the_old_one(site):
    seen = cluster(site, "global")
    for name in HOSTS:
        facts = seen.site.facts[name]
        anew = [{**each, "Id": "f" * 64} if each["Name"] == "demo" else each for each in facts.networks.values()]
        seen = replace(seen, site=seen.site.known(name, with_http(facts, "networks", anew)))
    assert "sandbox-lost" not in {each.id for each in problems(seen)}
