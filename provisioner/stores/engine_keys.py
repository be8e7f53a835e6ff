"""The keys that engines write into a store, in the format of libkv and libnetwork."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from provisioner.system.strict import json_object, literal

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv4Address

    from provisioner.inventory import Store
    from provisioner.system.request import Request


@dataclass(frozen=True, order=True)
class Endpoint:
    """A container's endpoint on a network, as stored by its engine. host: the address that the engine advertises.

    id: another one each time that a container starts.
    """

    network: str  # ID
    name: str
    host: IPv4Address
    id: str = ""


def endpoints_path(store: Store) -> str:
    """Return the folder in which libnetwork keeps the endpoints, as NETWORK ID/ENDPOINT ID."""
    return (f"{store.prefix}/" if store.prefix else "") + "docker/network/v1.0/endpoint"


def of_all(store: Store, requests: Iterable[Request]) -> tuple[Request, ...]:
    """Return requests that list all keys of engines, from those that list the endpoints."""
    front = f"{store.prefix}/" if store.prefix else ""
    return tuple(replace(each, what=each.what.replace(endpoints_path(store), f"{front}docker")) for each in requests)


def count_key(store: Store, network: str) -> str:
    """Return the key in which libnetwork counts a network's endpoints, as {"Count":NUMBER}. network: its ID."""
    return endpoints_path(store) + f"_count/{network}"


def nodes_path(store: Store) -> str:
    """Return the folder for discovery: each engine writes its address below it."""
    return (f"{store.prefix}/" if store.prefix else "") + (store.discovery.path or "docker/nodes")


def endpoint(key: str, text: str) -> Endpoint | None:
    """Parse a key and its value. Returns None if the key is not an endpoint's."""
    network = re.search(r"\bdocker/network/v1.0/endpoint/([0-9a-f]+)/([0-9a-f]+)/?$", key)
    value = json_object(text)
    address = literal(str(value.get("locator", "")))
    if not network or not address or "name" not in value:
        return None
    return Endpoint(network[1], str(value["name"]), address, network[2])
