"""Subnets of overlays without a free address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.explain.overlays import endpoints, overlays, subnets_of
from provisioner.model import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provisioner.explain.base import Seen


def full(seen: Seen) -> Iterator[Problem]:
    """Find subnets without a free address."""
    for network in seen.site.inventory.networks:
        used, room = filled(seen, network)
        if room and used >= room:
            where = f"subnet of {network}"
            evidence = f"{used} of {room} addresses are in use"
            yield Problem("subnet-full", "", evidence, {"network": network}, network=network, where=where)


def filled(seen: Seen, network: str) -> tuple[int, int]:
    """Return the addresses of a network that are known to be in use, and all for containers; 0 if unknown.

    In a swarm, those in use include the addresses of the nodes' load balancers.
    """
    entry = next((overlays(seen, name)[network] for name in seen.site.live if network in overlays(seen, name)), {})
    return len(endpoints(seen).get(network, {})), sum(subnet.num_addresses - 3 for subnet in subnets_of(entry))


DETECTORS = (full,)
