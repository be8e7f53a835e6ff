"""Keys that begin with `x-`, at the top level and in hosts, belong to other tools."""

from __future__ import annotations

import pytest


def test_they_are_not_read(loaded):
    inventory = loaded(
        hosts="hosts:\n  node1: {address: 192.168.56.11, x-vagrant: {memory: 2048}, x-empty: }",
        more="x-vagrant: {machines: 3}\nx-list: [1, {a: !env NOT_SET_ANYWHERE}]",
    )
    assert inventory == loaded(hosts="hosts:\n  node1: {address: 192.168.56.11}")


def test_their_anchors_can_be_used(loaded):
    inventory = loaded(
        cluster="x-common: &common {user: admin, x-mine: 1}\ncluster: lab",
        hosts="hosts:\n  node1: {address: 192.168.56.11, <<: *common}",
    )
    assert inventory.target("node1").user == "admin"


def test_names_may_begin_with_x(loaded):
    inventory = loaded(
        hosts="hosts:\n  x-ray: {address: 192.168.56.11}",
        networks="networks:\n  x-net: {subnet: 10.99.0.0/24, labels: {x-tier: front}}",
    )
    assert list(inventory.hosts) == ["x-ray"]
    assert inventory.networks["x-net"].labels == {"x-tier": "front"}


@pytest.mark.parametrize(
    ("part", "text"),
    [
        ("ssh", "ssh: {x-port: 22}"),
        ("store", "store: {kind: consul, x-mine: 1}"),
        ("networks", "networks:\n  demo: {subnet: 10.99.0.0/24, x-mine: 1}"),
    ],
)
def test_elsewhere_they_are_unknown(problems, part, text):
    (problem,) = problems(**{part: text})
    assert "unknown key `x-" in problem
