"""The step that keeps the engines together, on hosts as captured: together, apart, not there yet."""

from __future__ import annotations

from captured import HOSTS, capture, with_raw

from provisioner import wording
from provisioner.steps.gossip import Gossip

GOSSIP = Gossip()


def knows(name, *numbers):
    """A settled host whose engine knows those hosts, and answers without compression."""
    states = "".join(
        f"87a441646472a4c0a838{10 + n:02x}ab496e6361726e6174696f6e01a44d657461a2ff80a44e616d65a56e6f646531a5537461746500"
        for n in numbers
    )
    return with_raw(capture(name), gossip=states)


def drift(whole, host):
    return [(wording.what(d), d.found) for d in GOSSIP.drift(whole, host)]


APART = "the engine's gossip"


def test_one_engine_apart_is_the_one_to_join_the_others(site):
    whole = site(
        node1=knows("settled-node1", 1), node2=knows("settled-node2", 2, 3), node3=knows("settled-node3", 2, 3)
    )
    assert drift(whole, "node1") == [(APART, "without node2, node3")]
    assert drift(whole, "node2") == drift(whole, "node3") == []


def test_where_all_are_apart_the_first_is_joined_by_the_others(site):
    whole = site(**{f"node{n}": knows(f"settled-node{n}", n) for n in (1, 2, 3)})
    assert [bool(drift(whole, host)) for host in HOSTS] == [False, True, True]


def test_knowing_one_another_through_a_third_is_together_but_not_settled(site):
    whole = site(
        node1=knows("settled-node1", 1, 2), node2=knows("settled-node2", 1, 2, 3), node3=knows("settled-node3", 2, 3)
    )
    assert drift(whole, "node1") == [(APART, "without node3")]
    assert drift(whole, "node2") == []
    assert drift(whole, "node3") == [(APART, "without node1")]


def test_a_host_that_dropped_out_is_missed_by_nobody(site):
    whole = site(node2=knows("settled-node2", 2, 3), node3=knows("settled-node3", 2, 3)).without(frozenset({"node1"}))
    assert drift(whole, "node2") == drift(whole, "node3") == []


def test_an_engine_that_has_not_joined_the_store_is_pending(site):
    (found,) = GOSSIP.drift(site("installed"), "node2")
    assert found.pending
