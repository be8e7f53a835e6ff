"""Paths between hosts that are too narrow for the packets of overlays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.explain import devices
from provisioner.explain.losses import lost
from provisioner.explain.overlays import of_kernels
from provisioner.model import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provisioner.explain.base import Seen
    from provisioner.observe.underlay import Path

NARROW = "mtu"


def sizes(seen: Seen) -> Iterator[Problem]:
    """Find paths that are too narrow for full-size packets of an overlay."""
    networks = seen.site.inventory.networks
    needs = {network: mtu + networks[network].headers for network, mtu in _mtus(seen).items()}
    limited = {host for host in _losing_themselves(seen) if devices.queue(seen, host)[0]}
    for network, needed in needs.items():
        tried = max((size for size in seen.observed.underlay.sizes if size <= needed), default=0)
        narrow = {
            way: path.size
            for way, path in seen.observed.underlay.paths.items()
            if path.size is not None and path.size < tried and _data_passes(seen, path) and way[0] not in limited
        }
        if not narrow:
            yield from _assumed(seen, network, needed)
            continue
        size = min(narrow.values())
        ways = sorted(narrow)
        common = set.intersection(*(set(way) for way in ways))
        host = ways[0][0] if len(common) > 1 else next(iter(common), "")
        target = ways[0][1] if len(common) > 1 else ""
        shown = ", ".join(f"{a} > {b}: {narrow[a, b]} bytes" for a, b in ways[:3])
        silent = any((seen.observed.underlay.paths[way].mtu or needed) >= needed for way in ways)
        effect = (
            "larger ones vanish, and the sender does not know" if silent else "the sender knows, and splits larger ones"
        )
        evidence = (
            f"the network {network} sends packets of up to {needed} bytes; the largest packets that arrived: {shown};"
            f" {effect}"
        )
        values = {"network": network, "needed": needed, "size": size}
        where = f"path between {host} and {target}" if target else f"paths of {host or 'several hosts'}"
        yield Problem(NARROW, host, evidence, values, target=target, network=network, where=where)


def _losing_themselves(seen: Seen) -> set[str]:
    """Return the hosts that lose packets of their own before these leave."""
    found = (each for path in seen.observed.underlay.paths.values() for each in lost(path, anything=True))
    return {each.source for each in found if each.at == each.source}


def _assumed(seen: Seen, network: str, needed: int) -> Iterator[Problem]:
    """Find hosts that take a wide path for a narrow one: full-size packets of containers fail, and those of the test pass."""
    failed = {
        (pair.source, pair.target)
        for result in seen.proofs
        if result.network == network
        for pair in result.pairs
        if pair.address is not None and pair.full is None
    }
    for (source, target), path in seen.observed.underlay.paths.items():
        if path.mtu and path.mtu < needed and path.size and (source, target) in failed:
            address = str(seen.site.advertise[target])
            evidence = (
                f"the network {network} sends packets of up to {needed} bytes, and they pass from {source} to {target}; but the"
                f" kernel of {source} has an MTU of {path.mtu} for {address}"
            )
            values = {"network": network, "needed": needed, "size": path.mtu, "address": address, "host": source}
            where = f"{source}: route to {address}"
            yield Problem(NARROW, source, evidence, values, "assumed", target=target, network=network, where=where)


def _data_passes(seen: Seen, path: Path) -> bool:
    """Return whether small datagrams to the data port pass. If none does, packet sizes are unknown."""
    found = path.udp.get(seen.site.inventory.data_path_port)
    return bool(found and found.passed)


def _mtus(seen: Seen) -> dict[str, int]:
    """Network -> MTU of its containers, from a proof, the inventory, or the network's VXLAN devices."""
    found = {result.network: result.mtu for result in seen.proofs if result.mtu and result.proof == "overlay"}
    networks = seen.site.inventory.networks
    for name, network in networks.items():
        if network.is_global and name not in found and (mtu := getattr(network, "mtu", None)):
            found[name] = int(mtu) - network.headers
    for host, listed in of_kernels(seen).items():
        for name, entry in listed.items():
            space = seen.observed.kernels[host].space_of(str(entry.get("Id", "")))
            for link in space.vxlans if space and name in networks else ():
                if isinstance(mtu := link.get("mtu"), int):
                    found.setdefault(name, mtu)
    return found
