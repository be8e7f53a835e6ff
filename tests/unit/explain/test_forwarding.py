"""Entries for containers on other hosts: what is wrong, and what looks alike."""

from __future__ import annotations

from dataclasses import replace

import pytest
from scenes import BOX, GIVEN, OLD, SPACE, YOUNG, cluster, kernel, named, since, with_kernel

from provisioner import causes
from provisioner.explain import problems
from provisioner.observe.kernel import Kernel

WRONG = "02:de:ad:be:ef:03"


def neighbour(seen, host, change):
    """Change the entry for node1's container in the neighbour table of the overlay on a host. change: gets and returns it, or None."""

    def changed(entries):
        return [new for each in entries for new in [change(each) if each["dst"] == GIVEN["node1"][0] else each] if new]

    return with_kernel(seen, host, f"space:{SPACE}:neighbours", changed)


def wrong(seen, **more):
    return neighbour(seen, "node2", lambda entry: {**entry, "lladdr": WRONG, **more})


def lost(seen):
    """Node2 has no entries at all for node1's container."""
    mac = GIVEN["node1"][1]
    seen = neighbour(seen, "node2", lambda _: None)
    keep = lambda entries: [each for each in entries if each["mac"] != mac or "dst" not in each]  # noqa: E731
    return with_kernel(seen, "node2", f"space:{SPACE}:forwarding", keep)


@pytest.mark.parametrize("scope", ["swarm", "global"])
def test_a_wrong_mac_address_of_a_container_on_another_host(site, scope):
    (found,) = problems(wrong(cluster(site, scope)))
    address, mac = GIVEN["node1"]
    assert named(wrong(cluster(site, scope))) == [("fdb-stale", "mac", "node2", "node1", "demo")]
    assert f"web-node1 ({address}, {mac}) on node1 to the MAC address {WRONG}" in found.evidence
    neigh, fdb = causes.to_run(found)
    assert f"ip neigh replace {address} lladdr {mac} dev vxlan0 nud permanent" in neigh
    assert f"bridge fdb replace {mac} dev vxlan0 dst 192.168.56.11" in fdb


def test_entries_that_an_engine_of_a_swarm_lacks(site):
    (found,) = problems(lost(cluster(site)))
    assert named(lost(cluster(site))) == [("fdb-lost", "address", "node2", "node1", "demo")]
    assert "node2 has no MAC address for web-node1" in found.evidence
    assert len(causes.to_run(found)) == 2
    assert named(lost(cluster(site, "global"))) == [], "an engine with a store learns entries on demand"


@pytest.mark.parametrize(("answer", "found"), [("none", ["fdb-lost"]), ("small", []), ("", [])])
def test_one_of_two_entries_that_an_engine_with_a_store_lacks_although_packets_need_it(site, answer, found):
    one, (other, _) = GIVEN["node1"][0], GIVEN["node2"]
    seen = neighbour(cluster(site, "global"), "node2", lambda _: None)
    seen = with_kernel(seen, "node2", f"echo:{other}", lambda _: f"asked\n{one} {answer}\n" if answer else "asked\n")
    assert [problem.id for problem in problems(seen) if problem.id.startswith("fdb")] == found


@pytest.mark.parametrize(
    "change",
    [
        {"age": YOUNG},  # the other engines do not know it yet
        {"engine": "deactivating"},  # it has left the gossip, and its containers are about to end
        {"engine": "activating"},
        {"engine": ""},
        {
            "listed": ("node2", "node3")
        },  # a container of another network with the same subnet, or one that is gone by now
    ],
)
def test_entries_for_containers_that_come_or_go_do_not_count(site, change):
    assert named(lost(cluster(site, **change))) == []
    assert named(wrong(cluster(site, **change))) == []


def test_entries_that_expire_or_belong_to_the_bridge_do_not_count(site):
    assert named(wrong(cluster(site), state=["STALE"])) == []
    assert named(wrong(cluster(site), state=["FAILED"])) == [("fdb-lost", "address", "node2", "node1", "demo")]
    assert named(wrong(cluster(site, "global"), dev="br0")) == []


def test_a_host_whose_own_containers_are_young_may_lack_entries(site):
    seen = with_kernel(lost(cluster(site)), "node2", "since", lambda _: since({BOX["node2"].name: YOUNG}))
    assert named(seen) == []


def test_a_container_that_was_started_again_between_two_observations_does_not_count(site):
    seen = lost(cluster(site))
    old = BOX["node1"].name
    raw = {
        key.replace(old, "0123456789ab"): text.replace(old, "0123456789ab")
        for key, text in seen.observed.kernels["node1"].raw.items()
    }
    earlier = replace(seen.observed, kernels={**seen.observed.kernels, "node1": type(kernel("node1"))(raw)})
    assert named(replace(seen, earlier=seen.observed)) == named(seen)
    assert named(replace(seen, earlier=earlier)) == []


@pytest.mark.parametrize(
    ("scope", "age", "found"), [("swarm", OLD, ["fdb-lost"]), ("swarm", YOUNG, []), ("global", OLD, [])]
)
def test_an_entry_that_the_kernel_learned_does_not_replace_the_engines(site, scope, age, found):
    def learned(entries):
        return [{**e, "state": ""} if e.get("dst") and e["mac"] == GIVEN["node1"][1] else e for e in entries]

    seen = with_kernel(cluster(site, scope, age=age), "node2", f"space:{SPACE}:forwarding", learned)
    assert [problem.id for problem in problems(seen)] == found
    assert all("expires" in problem.evidence for problem in problems(seen))


@pytest.mark.parametrize("section", [f"{SPACE}:neighbours", f"{SPACE}:forwarding", f"{BOX['node2'].name}:addresses"])
def test_what_was_not_read_is_not_lost(site, section):
    """Its engine lists each container, and in a swarm all others have entries for it."""
    seen = cluster(site)
    raw = {name: text for name, text in seen.observed.kernels["node2"].raw.items() if name != f"space:{section}"}
    kernels = {**seen.observed.kernels, "node2": Kernel(raw)}
    assert problems(replace(seen, observed=replace(seen.observed, kernels=kernels))) == []
