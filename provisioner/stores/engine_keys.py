"""The keys that engines keep in a store, as libkv and libnetwork write them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from provisioner.system.strict import json_object, literal

if TYPE_CHECKING:
    from ipaddress import IPv4Address

    from provisioner.inventory import Store


@dataclass(frozen=True, order=True)
class Endpoint:
    """A container's place on a network, as the engines keep it in the store. host: the address that its engine advertises."""

    network: str  # ID
    name: str
    host: IPv4Address


def endpoints_path(store: Store) -> str:
    """The folder in the store in which libnetwork keeps them: NETWORK'S ID/ENDPOINT'S ID under it."""
    return (f"{store.prefix}/" if store.prefix else "") + "docker/network/v1.0/endpoint"


def count_key(store: Store, network: str) -> str:
    """Where libnetwork counts the endpoints of a network, by its ID: as {"Count":NUMBER}."""
    return endpoints_path(store) + f"_count/{network}"


def nodes_path(store: Store) -> str:
    """Where in the store the engines say that they are there: below it each its address."""
    return (f"{store.prefix}/" if store.prefix else "") + (store.discovery.path or "docker/nodes")


def endpoint(key: str, text: str) -> Endpoint | None:
    """What a key and its value tell; None for a key that is no endpoint's."""
    network = re.search(r"\bdocker/network/v1.0/endpoint/([0-9a-f]+)/[0-9a-f]+/?$", key)
    value = json_object(text)
    address = literal(str(value.get("locator", "")))
    return Endpoint(network[1], str(value["name"]), address) if network and address and "name" in value else None
