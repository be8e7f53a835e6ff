"""The step gossip on captured hosts: connected engines, engines that do not know one another, and engines without a store."""

from __future__ import annotations

from captured import HOSTS, capture, with_raw

from provisioner import wording
from provisioner.steps.gossip import Gossip

GOSSIP = Gossip()


def knows(name, *numbers):
    """Return a settled host whose engine knows the hosts of these numbers, and answers without compression."""
    states = "".join(
        f"87a441646472a4c0a838{10 + n:02x}ab496e6361726e6174696f6e01a44d657461a2ff80a44e616d65a56e6f646531a5537461746500"
        for n in numbers
    )
    return with_raw(capture(name), gossip=states)


def drift(whole, host):
    return [(wording.what(d), d.found) for d in GOSSIP.drift(whole, host)]


APART = "the engine's gossip"


def test_a_single_engine_joins_the_others(site):
    whole = site(
        node1=knows("settled-node1", 1), node2=knows("settled-node2", 2, 3), node3=knows("settled-node3", 2, 3)
    )
    assert drift(whole, "node1") == [(APART, "without node2, node3")]
    assert drift(whole, "node2") == drift(whole, "node3") == []


def test_if_no_engine_knows_another_all_join_the_first(site):
    whole = site(**{f"node{n}": knows(f"settled-node{n}", n) for n in (1, 2, 3)})
    assert [bool(drift(whole, host)) for host in HOSTS] == [False, True, True]


def test_engines_that_know_one_another_through_a_third_still_drift(site):
    whole = site(
        node1=knows("settled-node1", 1, 2), node2=knows("settled-node2", 1, 2, 3), node3=knows("settled-node3", 2, 3)
    )
    assert drift(whole, "node1") == [(APART, "without node3")]
    assert drift(whole, "node2") == []
    assert drift(whole, "node3") == [(APART, "without node1")]


def test_a_host_that_dropped_out_is_not_missed(site):
    whole = site(node2=knows("settled-node2", 2, 3), node3=knows("settled-node3", 2, 3)).without(frozenset({"node1"}))
    assert drift(whole, "node2") == drift(whole, "node3") == []


def test_an_engine_that_has_not_joined_the_store_is_pending(site):
    (found,) = GOSSIP.drift(site("installed"), "node2")
    assert found.pending
