"""The pairs of faults that end-to-end tests make at once: tests/e2e/pairs.py."""

from __future__ import annotations

from random import Random

import pytest

from provisioner.lab import FAULTS
from provisioner.lab.faults import Place
from tests.e2e.pairs import confused, consequences, drawn, entangled

SEEDS = range(1, 40)


def test_a_round_has_each_fault_of_the_table_in_a_pair():
    for seed in SEEDS:
        found = [made.fault for kind in ("consul", "swarm") for pair in drawn(kind, Random(seed)) for made in pair]
        assert set(found) == {fault for fault in FAULTS.values() if fault.place is not Place.ROUTER}


@pytest.mark.parametrize("kind", ["consul", "swarm"])
def test_both_faults_of_a_pair_can_be_made_and_seen(kind):
    together = 0
    for first, second in (pair for seed in SEEDS for pair in drawn(kind, Random(seed))):
        assert not confused(kind, first.fault, second.fault)
        assert len(consequences(first.fault.cause)) <= len(consequences(second.fault.cause))
        for made in (first, second):
            assert bool(made.to) == made.fault.place.pair
            assert made.to not in {first.host, second.host}
            assert kind in made.fault.stores or not made.fault.stores
        if first.host == second.host:
            together += 1
            assert not entangled(first.fault, second.fault)
    assert together


def test_a_seed_gives_the_same_pairs_again():
    assert drawn("consul", Random(7)) == drawn("consul", Random(7)) != drawn("consul", Random(8))


@pytest.mark.parametrize(
    ("kind", "first", "second", "why"),
    [
        ("consul", "vxlan-blocked", "between", "same cause"),
        ("consul", "fdb-stale", "link-cut", "host that can't be read"),
        ("consul", "fdb-stale", "containerd-hangs", "the other host"),
        ("consul", "fdb-stale", "vxlan-blocked", ""),
        ("swarm", "large-dropped", "gossip-udp", "ends early"),
        ("swarm", "large-dropped", "cluster-ports-open", ""),
        ("swarm", "other-swarm", "manager-blocked", "no leader"),
        ("swarm", "swarm-locked", "node-left", "no leader"),
        ("swarm", "swarm-locked", "vxlan-blocked", ""),
        ("consul", "engine-down", "store-down", ""),
    ],
)
def test_a_rule_says_why_two_faults_are_in_no_pair(kind, first, second, why):
    said = confused(kind, FAULTS[first], FAULTS[second]), confused(kind, FAULTS[second], FAULTS[first])
    assert all(why in each if why else not each for each in said)


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        ("host-frozen", "vxlan-blocked", "takes the engine away"),
        ("other-swarm", "fdb-lost", "takes the engine away"),
        ("vni-mismatch", "engine-down", "takes the engine away"),
        ("flag-conflict", "ip-forward", "takes the engine away"),
        ("vxlan-blocked", "packet-loss", "both change $DATA"),
        ("fdb-stale", "link-down", "both change /var/run/docker/netns"),
        ("forward-dropped", "firewall-reload", "both change FORWARD"),
        ("route-shadow", "ip-forward", ""),
        ("vxlan-blocked", "gossip-blocked", ""),
    ],
)
def test_a_rule_says_why_two_faults_are_not_on_one_host(first, second, why):
    pairs = (FAULTS[first], FAULTS[second]), (FAULTS[second], FAULTS[first])
    assert all(why in said if why else not said for said in (entangled(*pair) for pair in pairs))
