"""Forwarding and neighbour entries of overlays for containers on other hosts: missing and wrong ones."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from provisioner.controlplane import swarm
from provisioner.explain.overlays import Endpoint, endpoints, of_kernels
from provisioner.model import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provisioner.explain.base import Seen
    from provisioner.observe.kernel import Space
    from provisioner.observe.tables import Table


@dataclass(frozen=True)
class Entry:
    """The place of the entries for a network's containers on other hosts.

    table: what the engine knows of the network from gossip; None if it was not read. whole: whether an absent entry is an
    error: an engine of a swarm has those of all containers, and one with a store learns them on demand.
    """

    host: str
    network: str
    space: Space
    table: Table | None = None
    whole: bool = False

    def said(self, address: str) -> str:
        """Return what the engine knows of the holder of an address, for the evidence."""
        if self.table is None:
            return ""
        places = ", ".join(sorted({place.host for place in self.table.at(address)}))
        return f"; its gossip table says {places}" if places else "; its gossip table has no host for it"


def forwarding(seen: Seen) -> Iterator[Problem]:
    """Find missing and wrong forwarding entries of overlays."""
    listed = of_kernels(seen)
    for network, by_address in endpoints(seen).items():
        here = {each.host for holders in by_address.values() for each in holders if each.settled}
        for name, kernel in seen.observed.kernels.items():
            entry = listed[name].get(network) or {}
            space = kernel.space_of(str(entry.get("Id", "")))
            if space and space.vxlans:
                whole = entry.get("Scope") == "swarm" and name in here
                at = Entry(name, network, space, kernel.tables.networks.get(str(entry.get("Id", ""))), whole)
                for address, holders in by_address.items():
                    if len(holders) == 1 and holders[0].host != name:
                        yield from filter(None, (_entry(seen, at, address, holders[0]),))


def _entry(seen: Seen, at: Entry, address: str, holder: Endpoint) -> Problem | None:
    """Return the problem of the entries for a container on another host, if any."""
    space = at.space
    right = swarm.data_address(seen.site.facts[holder.host]) or str(seen.site.advertise.get(holder.host, ""))
    if not right or space.neighbours is None or space.forwarding is None:
        return None
    known = space.neighbours.get(address)
    device = known.device if known else str(space.vxlans[0].get("ifname", ""))
    values = {"host": at.host, "space": space.name, "mac": holder.mac, "device": device, "right": right}
    values |= {"address": address, "holder": f"{address} in {holder.space}"}
    where = f"{at.host}: entry for {holder.mac} in {space.name}"
    place = partial(Problem, host=at.host, values=values, target=holder.host, network=at.network, where=where)
    who = f"{holder.name} ({address}, {holder.mac})"
    to = space.forwarding.get(holder.mac)
    if not known:
        lost = (at.whole or (to and _unanswered(seen, at, address))) and holder.settled and len(space.vxlans) == 1
        evidence = f"{at.host} has no MAC address for {who} on {holder.host}{at.said(address)}"
        return place("fdb-lost", evidence=evidence, variant="address") if lost else None
    if known.mac != holder.mac:
        wrong = known.permanent and holder.settled
        evidence = (
            f"{at.host} sends packets for {who} on {holder.host} to the MAC address {known.mac}{at.said(address)}"
        )
        return place("fdb-stale", evidence=evidence, variant="mac") if wrong else None
    if to is None:
        evidence = f"{at.host} has the MAC address of {who}, but no forwarding entry for it{at.said(address)}"
        return place("fdb-lost", evidence=evidence)
    if at.whole and holder.settled and holder.mac in space.learned and len(space.vxlans) == 1:
        evidence = f"{at.host} has only an entry for {who} that its kernel learned from a packet, and that expires"
        return place("fdb-lost", evidence=f"{evidence}{at.said(address)}")
    if to != right:
        runs = f"but it runs on {holder.host} ({right}){at.said(address)}"
        return place("fdb-stale", evidence=f"{at.host} sends packets for {who} to {to}, {runs}")
    return None


def _unanswered(seen: Seen, at: Entry, address: str) -> bool:
    """Return whether a container on this host got no answer from the address: an engine with a store would have added the entry by now.

    Observed with 20.10: an engine that has added both once takes them for present, and does not add one that is gone.
    """
    return any(said.get(address) == "none" for said in seen.observed.kernels[at.host].unanswered.values())


DETECTORS = (forwarding,)
