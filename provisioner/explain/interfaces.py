"""Containers' interfaces on overlays: those that are down, or have lost the address or the route that the engine gave them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING, Any

from provisioner.explain.base import few
from provisioner.explain.overlays import is_down, link_down, names_of, of_kernels, overlays, subnets_of
from provisioner.model import Problem
from provisioner.observe.kernel import kind_of
from provisioner.system import attached

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from provisioner.explain.base import Seen
    from provisioner.observe.kernel import Space

_MESH = "ingress_sbox"  # the namespace of a swarm's routing mesh on each node, which answers the published ports of services


def links_down(seen: Seen) -> Iterator[Problem]:
    """Find containers whose interface on an overlay is down, and such interfaces of the routing mesh."""
    listed = of_kernels(seen)
    for name, kernel in seen.observed.kernels.items():
        if mesh := kernel.spaces.get(_MESH):
            for down in (each for each in mesh.links if kind_of(each) == "veth" and is_down(each)):
                yield link_down(name, "", mesh, down, "the namespace of the routing mesh")
        names = names_of(seen, name)
        for network, entry in listed[name].items():
            subnets = list(subnets_of(entry))
            for space in kernel.spaces.values():
                for address, mac in () if space.network else space.inner:
                    link = next((each for each in space.links if mac and each.get("address") == mac), None)
                    if link and is_down(link) and any(IPv4Address(address) in subnet for subnet in subnets):
                        yield link_down(name, network, space, link, names.get((network, address), "a container"))


@dataclass(frozen=True)
class Given:
    """A running container on an overlay, as its engine lists it."""

    name: str
    network: str
    subnet: IPv4Network
    address: str
    mac: str


def _given(seen: Seen, host: str) -> Iterator[Given]:
    known = overlays(seen, host)
    for each in attached.present(seen.site.facts[host]):
        network = known.get(each.network, {})
        subnets = [subnet for subnet in subnets_of(network) if IPv4Address(each.address) in subnet]
        if each.network_id == network.get("Id") and subnets:
            yield Given(each.name, each.network, subnets[0], each.address, each.mac)


def addressed(seen: Seen) -> Iterator[Problem]:
    """Find containers whose interface is up and has lost its address or its route. The engine sets an interface up last."""
    for host, kernel in seen.observed.kernels.items():
        spaces = [
            space
            for space in kernel.spaces.values()
            if not space.network and not space.balances and space.has("addresses")
        ]
        for given in _given(seen, host):
            found = [(space, link) for space in spaces for link in space.links if link.get("address") == given.mac]
            if len(found) == 1 and kind_of(found[0][1]) == "veth" and not is_down(found[0][1]):
                yield from _addressed(host, given, *found[0])


def _addressed(host: str, given: Given, space: Space, link: Mapping[str, Any]) -> Iterator[Problem]:
    device = str(link.get("ifname", ""))
    has = [address for address, mac in space.inner if mac == given.mac]
    values = {"host": host, "space": space.name, "device": device, "name": given.name, "source": given.address}
    values |= {"subnet": str(given.subnet), "address": f"{given.address}/{given.subnet.prefixlen}"}
    place = partial(
        Problem, "address-lost", host, values=values, network=given.network, where=f"{host}: {device} of {given.name}"
    )
    routes = None if space.routed is None else space.routed.get(device, [])
    if given.address not in has:
        instead = f"has {', '.join(has)} instead of" if has else "lacks"
        yield place(evidence=f"{device} of {given.name} {instead} the address {given.address} that the engine gave it")
    elif routes is not None and not any(route.overlaps(given.subnet) for route in routes):
        evidence = f"{given.name} has no route to the subnet {given.subnet} of {given.network} through {device}"
        yield place(evidence=evidence, variant="route")


def without_process(seen: Seen) -> Iterator[Problem]:
    """Find containers that their engine lists as running although no process runs in their namespace."""
    for host, kernel in seen.observed.kernels.items():
        idle = [kernel.spaces[name] for name in sorted(kernel.idle & kernel.spaces.keys())]
        found = [
            given.name
            for given in (_given(seen, host) if idle else ())
            if any(link.get("address") == given.mac for space in idle if not space.network for link in space.links)
        ]
        if names := tuple(dict.fromkeys(found)):
            evidence = f"the engine lists {few(names)} as running, and no process runs in the network namespace"
            yield Problem("process-gone", host, evidence, {"names": names}, where=f"{host}: {few(names)}")


DETECTORS = (links_down, addressed, without_process)
