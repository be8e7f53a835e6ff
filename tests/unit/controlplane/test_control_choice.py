"""The control plane that `auto` chooses, and the reason that it gives."""

from __future__ import annotations

import pytest
from captured import capture, with_file, with_info, with_raw
from swarms import FOUND, fresh

from provisioner.controlplane import resolve
from provisioner.controlplane.choice import choose
from provisioner.system.reading import DAEMON_JSON

OLD = {f"node{n}": capture(f"installed-node{n}") for n in (1, 2, 3)}
ON_STORE = {f"node{n}": capture(f"settled-node{n}") for n in (1, 2, 3)}
NEW = fresh()["node3"]
NO_DRIVER = with_raw(OLD["node2"], driver="\n")

ROWS = {
    "old engines with the driver": (OLD, "kv", "no engine is later than 20.10, and all have the driver for Consul"),
    "one new engine": (
        {**OLD, "node3": NEW},
        "swarm",
        "engines 23.0 and later have no external store: 26.1.5 on node3",
    ),
    "an engine without the driver": (
        {**OLD, "node2": NO_DRIVER},
        "swarm",
        "engines are built without the driver for Consul: node2",
    ),
    "no engine yet": (
        {**OLD, "node1": capture("bare")},
        "kv",
        "all installed engines support it; no engine is installed yet on node1",
    ),
    "a new engine beside a store in use": (
        {**ON_STORE, "node3": NEW},
        "kv",
        "engines already use an external store: node1, node2",
    ),
    "old engines in a swarm": (
        {**OLD, "node1": with_info(OLD["node1"], Swarm={"NodeID": "", "LocalNodeState": "active"})},
        "swarm",
        "engines are already in a swarm: node1",
    ),
    "upgraded with the store's keys left": (
        {name: with_file(NEW, DAEMON_JSON, '{"cluster-store": "consul://127.0.0.1:8500"}\n') for name in OLD},
        "swarm",
        "engines 23.0 and later have no external store: 26.1.5 on node1, node2, node3",
    ),
}


@pytest.mark.parametrize("case", ROWS)
def test_auto_with_a_store(inventory, case):
    facts, wanted, why = ROWS[case]
    assert choose(inventory(), facts) == (wanted, why)
    site, _ = resolve(inventory(), facts)
    assert (site.control, site.why) == (wanted, why)
    assert site.undecided is (case == "no engine yet")


def test_without_a_store_it_is_a_swarm_whatever_the_engines(inventory):
    assert choose(inventory(kind=""), OLD) == ("swarm", "the inventory names no store")


def test_the_inventory_s_choice_needs_no_reason(inventory):
    assert choose(inventory(more="control_plane: kv"), FOUND) == ("kv", "")
    assert choose(inventory(kind="", more="control_plane: swarm"), ON_STORE) == ("swarm", "")
