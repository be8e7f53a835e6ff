"""Settings that fit the control plane: store, swarm, and settings of a swarm's networks."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from provisioner.inventory import Inventory

KV, SWARM, NONE = "store: {kind: consul}", "# no store", "# no store"
SAFE = "networks: {demo: {subnet: 10.99.0.0/24, encrypted: true}}"
MANY = " (an odd number, so that a majority is left if one is lost); without this key, the present managers stay"

ROWS: dict[str, tuple[dict[str, str], list[str]]] = {
    "kv without a store": (
        {"store": NONE, "more": "control_plane: kv"},
        ["control_plane: `kv` needs a store: add `store: {kind: consul}`, or use `swarm`"],
    ),
    "kv with the swarm's keys": (
        {"store": KV, "more": "control_plane: kv\nswarm: {managers: [node1]}"},
        ["swarm: is for swarm mode, but control_plane is `kv`: remove one of the two"],
    ),
    "a store and the swarm's keys": (
        {"store": KV, "more": "swarm: {managers: [node1]}"},
        ["swarm: engines use either a store or a swarm: remove one of the two"],
    ),
    "swarm with a store": (
        {"store": KV, "more": "control_plane: swarm"},
        ["store: is not used with control_plane `swarm`: remove one of the two"],
    ),
    "no control plane": (
        {"store": KV, "more": "control_plane: serf"},
        ["control_plane: must be `auto` or `kv` or `swarm`, not 'serf'"],
    ),
    "encrypted in kv": (
        {"store": KV, "more": "control_plane: kv", "networks": SAFE},
        [
            "networks.demo.encrypted: engines on an external store exchange no keys: no container could join it; use `control_plane: swarm`"
        ],
    ),
    "not attachable in kv": (
        {"store": KV, "more": "control_plane: kv", "networks": SAFE.replace("encrypted: true", "attachable: false")},
        [
            "networks.demo.attachable: on an external store, any container may join; only a network of a swarm can restrict this"
        ],
    ),
    "an even number of managers": (
        {"store": NONE, "more": "swarm: {managers: [node1, node2]}"},
        [f"swarm.managers: names 2 managers; there must be 1, 3 or 5{MANY}"],
    ),
    "a manager that is no host": (
        {"store": NONE, "more": "swarm: {managers: [node9]}"},
        ["swarm.managers: 'node9' is not one of the hosts; did you mean `node3`?"],
    ),
    "a port below those of users": (
        {"store": NONE, "more": "swarm: {data_path_port: 53}"},
        ["swarm.data_path_port: 53 is not a valid data path port: must be from 1024 to 49151"],
    ),
    "the port of the gossip": (
        {"store": NONE, "more": "swarm: {data_path_port: 7946}"},
        ["swarm.data_path_port: 7946 is the port of the engines' gossip; choose another one"],
    ),
    "pools that are no list": (
        {"store": NONE, "more": "swarm: {default_addr_pool: {pools: 10.20.0.0/16}}"},
        ["swarm.default_addr_pool.pools: must be a list of 1 to 16 ranges: `[10.20.0.0/16]`, not '10.20.0.0/16'"],
    ),
    "a pool smaller than its subnets": (
        {"store": NONE, "more": "swarm: {default_addr_pool: {pools: [10.20.0.0/25]}}"},
        ["swarm.default_addr_pool.pools: 10.20.0.0/25 is smaller than its subnets, /24"],
    ),
    "pools that overlap, and the hosts": (
        {"store": NONE, "more": "swarm: {default_addr_pool: {pools: [192.168.0.0/16, 192.168.0.0/20], size: 26}}"},
        [
            "swarm.default_addr_pool.pools: 192.168.0.0/16 contains the hosts' own addresses: node1, node2, node3",
            "swarm.default_addr_pool.pools: 192.168.0.0/20 overlaps 192.168.0.0/16",
        ],
    ),
    "a network in the first subnet of the pool": (
        {"store": NONE, "more": "swarm: {default_addr_pool: {pools: [10.99.0.0/16]}}"},
        [
            "networks.demo.subnet: 10.99.0.0/24 overlaps 10.99.0.0/24, which a swarm uses for its network `ingress`; choose another one"
        ],
    ),
    "the network ingress": (
        {"store": NONE, "networks": "networks: {demo: {subnet: 10.0.0.0/23}}"},
        [
            "networks.demo.subnet: 10.0.0.0/23 overlaps 10.0.0.0/24, which a swarm uses for its network `ingress`; choose another one, or set swarm.default_addr_pool"
        ],
    ),
}


@pytest.mark.parametrize("case", ROWS)
def test_refused(problems: Callable[..., list[str]], case: str) -> None:
    parts, expected = ROWS[case]
    assert [line.partition(": ")[2] for line in problems(**parts)] == expected


@pytest.mark.parametrize(
    "more",
    [
        "",
        "control_plane: swarm",
        "swarm: {managers: [node2], data_path_port: 4790, default_addr_pool: {pools: [10.20.0.0/16], size: 26}}",
    ],
)
def test_no_store_is_needed_in_a_swarm(loaded: Callable[..., Inventory], more: str) -> None:
    found = loaded(store=NONE, more=more, networks=SAFE)
    assert found.store is None
    assert found.networks["demo"].encrypted
    assert found.servers == (("node2",) if "managers" in more else ("node1", "node2", "node3"))
    if found.swarm:
        assert found.swarm.default_addr_pool.pools == (IPv4Network("10.20.0.0/16"),)


def test_an_external_boolean_counts_like_one_in_the_file(
    problems: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAFE", "true")
    found = problems(store=KV, more="control_plane: kv", networks=SAFE.replace("true", "!env SAFE"))
    assert ["networks.demo.encrypted" in line for line in found] == [True]


def test_a_network_may_have_a_later_subnet_of_the_pool(loaded: Callable[..., Inventory]) -> None:
    more = "swarm: {default_addr_pool: {pools: [10.77.0.0/16], size: 25}}"
    found = loaded(store=NONE, more=more, networks="networks: {demo: {subnet: 10.77.0.128/25}}")
    assert found.address_pool.first == IPv4Network("10.77.0.0/25")
