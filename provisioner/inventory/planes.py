"""Check that settings fit the control plane: a store with kv; the swarm's settings and encryption with swarm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from provisioner.inventory import values
from provisioner.inventory.engine_models import ENGINES_POOL
from provisioner.inventory.network_values import SCOPES
from provisioner.inventory.problems import code
from provisioner.inventory.raw import entries, part, sound, value

if TYPE_CHECKING:
    from ipaddress import IPv4Network

    from provisioner.inventory.document import Document
    from provisioner.inventory.problems import Location


def check(document: Document) -> None:
    """Add an error for each setting that the control plane does not support."""
    plane = document.value.get("control_plane", "auto")
    store, swarm = "store" in document.value, "swarm" in document.value
    if plane == "kv" and not store:
        document.refuse(
            ("control_plane",), "control_plane: `kv` needs a store: add `store: {kind: consul}`, or use `swarm`"
        )
    if plane == "kv" and swarm:
        text = "swarm: is for swarm mode, but control_plane is `kv`: remove one of the two"
        document.refuse(("swarm",), text, at_key=True)
    elif swarm and store:
        text = "swarm: engines use either a store or a swarm: remove one of the two"
        document.refuse(("swarm",), text, at_key=True)
    elif plane == "swarm" and store:
        text = "store: is not used with control_plane `swarm`: remove one of the two"
        document.refuse(("store",), text, at_key=True)
    if plane == "kv":
        _only_in_swarm(document)
    elif plane == "swarm" or not store:
        _pools(document)


def _only_in_swarm(document: Document) -> None:
    for name, entry in entries(document, "networks").items():
        if SCOPES.get(entry.get("driver", "overlay"), entry.get("scope")) != "global":
            continue  # see network_checks.py
        if sound(values.truth, entry.get("encrypted")):
            text = (
                f"networks.{name}.encrypted: engines on an external store exchange no keys: no container could join it"
            )
            document.refuse(("networks", name, "encrypted"), f"{text}; use `control_plane: swarm`")
        if sound(values.truth, entry.get("attachable")) is False:
            text = f"networks.{name}.attachable: on an external store, any container may join; only a network of a swarm can restrict this"
            document.refuse(("networks", name, "attachable"), text)


def _pools(document: Document) -> None:
    """Check that pools contain no host and have room for a subnet, and that no network has the subnet of `ingress`."""
    location: Location = ("swarm", "default_addr_pool")
    given = part(document, "swarm").get("default_addr_pool")
    pools = sound(values.pools, value(document, (*location, "pools"))) or ()
    size = sound(values.whole("prefix length", 8, 29), value(document, (*location, "size"))) or 24
    for index, pool in enumerate(pools):
        at: Location = (*location, "pools", index)
        masked = document.masked(at, pool)
        if pool.prefixlen > size:
            document.refuse(at, f"swarm.default_addr_pool.pools: {masked} is smaller than its subnets, /{size}")
        if clash := next((other for other in pools[:index] if other.overlaps(pool)), None):
            document.refuse(at, f"swarm.default_addr_pool.pools: {masked} overlaps {clash}")
        held = [name for name, address in _addresses(document).items() if address in pool]
        if held:
            document.refuse(
                at, f"swarm.default_addr_pool.pools: {masked} contains the hosts' own addresses: {', '.join(held[:3])}"
            )
    _apart(document, pools, size, given)


def _apart(document: Document, pools: tuple[IPv4Network, ...], size: int, given: object) -> None:
    """Refuse networks on the subnet of `ingress`. Of a pool's other subnets, a swarm gives out only those that are free.

    Tested with 20.10.5 and 26.1.5: it skips the subnets of networks that name their own.
    """
    if given is not None and (not pools or pools[0].prefixlen > size):
        return  # reported already
    first = next(pools[0].subnets(new_prefix=size)) if pools else ENGINES_POOL.first
    for name, entry in entries(document, "networks").items():
        subnet = sound(values.subnet, entry.get("subnet"))
        location: Location = ("networks", name, "subnet")
        if subnet is not None and subnet.overlaps(first):
            text = f"{document.masked(location, subnet)} overlaps {first}, which a swarm uses for its network {code('ingress')}"
            another = "choose another one" if given else "choose another one, or set swarm.default_addr_pool"
            document.refuse(location, f"networks.{name}.subnet: {text}; {another}")


def _addresses(document: Document) -> dict[str, Any]:
    """Return the hosts' own addresses in the inventory."""
    found = {name: entry.get("advertise") or entry.get("address") for name, entry in entries(document, "hosts").items()}
    known = {name: sound(values.ipv4, word) for name, word in found.items() if isinstance(word, str)}
    return {name: address for name, address in known.items() if address}
