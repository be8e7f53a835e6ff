"""Addresses that two containers of an overlay have, or a container and the gateway."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from provisioner.explain.overlays import UNNAMED, endpoints, of_kernels
from provisioner.model import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provisioner.explain.base import Seen


def addresses(seen: Seen) -> Iterator[Problem]:
    """Find containers with the same address, or with the gateway's address."""
    listed = of_kernels(seen)
    for network, by_address in endpoints(seen).items():
        gateways = {
            address
            for name, kernel in seen.observed.kernels.items()
            if (space := kernel.space_of(str((listed[name].get(network) or {}).get("Id", ""))))
            for address, _ in space.inner
        }
        for address, holders in by_address.items():
            first, *others = holders
            where = f"{first.host}: address {address} on {network}"
            if others:
                both = " and ".join(f"{each.name} on {each.host}" for each in holders)
                values = {"both": both, "network": network, "name": others[0].name, "host": others[0].host}
                target = others[0].host if others[0].host != first.host else ""
                evidence = f"{both} have the address {address}"
                variant = "unnamed" if others[0].name == UNNAMED else ""
                place = partial(Problem, "duplicate-ip", first.host, target=target, network=network, where=where)
                yield place(evidence=evidence, values=values, variant=variant)
            elif address in gateways:
                values = {"network": network, "name": first.name, "host": first.host}
                evidence = f"{first.name} has the gateway's address {address}"
                variant = "unnamed" if first.name == UNNAMED else ""
                place = partial(Problem, "gateway-given", first.host, network=network, where=where)
                yield place(evidence=evidence, values=values, variant=variant)


DETECTORS = (addresses,)
