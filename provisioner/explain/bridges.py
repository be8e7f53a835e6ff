"""Bridges: a docker_gwbridge that is missing, down, too wide or without its address, and bridges without a free port."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

from provisioner.explain.overlays import GWBRIDGE, gateway, is_down, outbound, overlays
from provisioner.model import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from ipaddress import IPv4Interface

    from provisioner.explain.base import Seen
    from provisioner.observe.kernel import Kernel

_MOST_PORTS = 1023  # ports of a bridge: BR_MAX_PORTS - 1 in linux/net/bridge/br_private.h


def bridges(seen: Seen) -> Iterator[Problem]:
    """Find a docker_gwbridge that does not work, and full bridges."""
    for name, kernel in seen.observed.kernels.items():
        if kernel.iproute and seen.site.facts[name].networks:
            yield from _gwbridge(seen, name, kernel)
        elif any(link.get("master") == GWBRIDGE for link in kernel.links) and is_down(kernel.link(GWBRIDGE)):
            yield _down(name)  # its engine does not answer, but containers use the bridge
        yield from _full_bridges(seen, name, kernel)


def _gwbridge(seen: Seen, name: str, kernel: Kernel) -> Iterator[Problem]:
    facts, link = seen.site.facts[name], kernel.link(GWBRIDGE)
    place = partial(Problem, "gwbridge", name, where=f"{name}: {GWBRIDGE}")
    if GWBRIDGE not in facts.networks:
        if users := outbound(seen, name):
            yield place(
                evidence=f"the network {GWBRIDGE} does not exist, and {users[0]} needs it", values={"host": name}
            )
    elif not link:
        yield place(evidence=f"{GWBRIDGE} is missing", values={"host": name})
    elif is_down(link):
        yield _down(name)
    elif (own := gateway(facts.networks[GWBRIDGE])) and not _has(kernel, own):
        values = {"host": name, "address": own}
        yield place(evidence=f"{GWBRIDGE} does not have its address {own.ip}", values=values, variant="address")
    elif (mtu := _narrower(kernel, link)) and outbound(seen, name):
        wide = int(link["mtu"])
        evidence = f"{GWBRIDGE} has the MTU {wide}, and the interface of the default route has {mtu}"
        yield place(evidence=evidence, values={"host": name, "mtu": mtu}, variant="mtu", warns=True)


def _down(name: str) -> Problem:
    where = f"{name}: {GWBRIDGE}"
    return Problem("gwbridge", name, f"{GWBRIDGE} is down", {"host": name}, "down", where=where)


def _has(kernel: Kernel, own: IPv4Interface) -> bool:
    """Return whether the bridge has this address, or its routes are unknown."""
    local = [route for route in kernel.routes if route.get("type") == "local"]
    return not local or any((route.get("dst"), route.get("dev")) == (str(own.ip), GWBRIDGE) for route in local)


def _narrower(kernel: Kernel, bridge: Mapping[str, Any]) -> int:
    """Return the MTU of the default route's interface if it is smaller than the bridge's; otherwise 0."""
    routes = [
        route for route in kernel.routes if route.get("dst") == "default" and route.get("table") in {None, "main"}
    ]
    mtus = [kernel.link(str(route.get("dev", ""))).get("mtu") for route in routes]
    known = [mtu for mtu in mtus if isinstance(mtu, int)]
    wide = bridge.get("mtu")
    return max(known) if known and isinstance(wide, int) and wide > max(known) else 0


def _full_bridges(seen: Seen, name: str, kernel: Kernel) -> Iterator[Problem]:
    """Find full bridges on the host itself, and in the namespaces of its overlays."""
    places = [("", "", kernel.links)]
    for network, entry in overlays(seen, name).items():
        if space := kernel.space_of(str(entry.get("Id", ""))):
            places.append((network, f" in {space.name}", space.links))
    for network, inside, links in places:
        for bridge, ports in Counter(str(link.get("master", "")) for link in links).items():
            if bridge and ports >= _MOST_PORTS:
                evidence, where = f"{bridge}{inside} has {ports} ports", f"{name}: {bridge}{inside}"
                yield Problem("bridge-full", name, evidence, {"host": name}, network=network, where=where)


DETECTORS = (bridges,)
