"""The step that keeps the engines together, on hosts as captured: together, apart, half-done, not there yet."""

from __future__ import annotations

import pytest
from captured import HOSTS, capture, with_file, with_raw, with_unit

from provisioner.controlplane import resolve
from provisioner.steps.gossip import Gossip
from provisioner.system import gossip

GOSSIP = Gossip()


def knows(name, *numbers):
    """A settled host whose engine knows those hosts, and answers without compression."""
    states = "".join(
        f"87a441646472a4c0a838{10 + n:02x}ab496e6361726e6174696f6e01a44d657461a2ff80a44e616d65a56e6f646531a5537461746500"
        for n in numbers
    )
    return with_raw(capture(name), gossip=states)


def drift(whole, host):
    return [(d.what, d.found) for d in GOSSIP.drift(whole, host)]


APART = "the engine's gossip"


def test_one_engine_apart_is_the_one_to_join_the_others(site):
    whole = site(node1=knows("settled-node1", 1), node2=knows("settled-node2", 2, 3), node3=knows("settled-node3", 2, 3))
    assert drift(whole, "node1") == [(APART, "without node2, node3")]
    assert drift(whole, "node2") == drift(whole, "node3") == []


def test_where_all_are_apart_the_first_is_joined_by_the_others(site):
    whole = site(**{f"node{n}": knows(f"settled-node{n}", n) for n in (1, 2, 3)})
    assert [bool(drift(whole, host)) for host in HOSTS] == [False, True, True]


def test_knowing_one_another_through_a_third_is_together_but_not_settled(site):
    whole = site(node1=knows("settled-node1", 1, 2), node2=knows("settled-node2", 1, 2, 3), node3=knows("settled-node3", 2, 3))
    assert drift(whole, "node1") == [(APART, "without node3")]
    assert drift(whole, "node2") == []
    assert drift(whole, "node3") == [(APART, "without node1")]


def test_a_host_that_dropped_out_is_missed_by_nobody(site):
    whole = site(node2=knows("settled-node2", 2, 3), node3=knows("settled-node3", 2, 3)).without(frozenset({"node1"}))
    assert drift(whole, "node2") == drift(whole, "node3") == []


def test_an_engine_that_has_not_joined_the_store_is_pending(site):
    found = {d.what: d for d in GOSSIP.drift(site("installed"), "node2")}
    assert found[APART].pending
    assert not found[gossip.UNIT_FILE].pending


def test_a_host_more_changes_the_unit_of_all(inventory):
    facts = {name: capture(f"settled-{name}") for name in HOSTS}
    whole = resolve(inventory(4), facts)[0]
    (found,) = GOSSIP.drift(whole, "node1")
    assert found.what == gossip.UNIT_FILE
    assert "192.168.56.11 192.168.56.12 192.168.56.13 192.168.56.14\n" in found.wanted


@pytest.mark.parametrize("path", gossip.FILES)
def test_a_file_that_was_changed_by_others_is_put_back(site, path):
    whole = site(node2=with_file(capture("settled-node2"), path, "other\n"))
    assert drift(whole, "node2") == [(path, "other\n")]
    assert 'systemctl start "$unit"' in GOSSIP.work(whole, "node2", ()).script


def test_a_unit_that_is_off_at_boot(site):
    whole = site(node2=with_unit(capture("settled-node2"), gossip.UNIT, UnitFileState="disabled"))
    assert drift(whole, "node2") == [(f"{gossip.UNIT} at boot", "off")]
