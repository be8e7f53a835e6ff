"""What the engines of a swarm know from gossip, compared with the containers that run. Only `doctor --deep` reads these tables."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from provisioner.controlplane import swarm
from provisioner.explain.base import few
from provisioner.explain.overlays import endpoints, names_of, overlays
from provisioner.model import Problem
from provisioner.system import attached

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from provisioner.explain.base import Seen
    from provisioner.explain.overlays import Endpoint
    from provisioner.observe.tables import Table


@dataclass(frozen=True)
class View:
    """The tables of one network on one host. members: the gossip name of each engine -> its address."""

    host: str
    network: str
    table: Table
    members: Mapping[str, str]


@dataclass(frozen=True)
class Containers:
    """What runs on one network, by (host, address).

    running: from the containers' namespaces, load balancers included. listed: from the engines' lists. named: those that have a
    name for others.
    """

    running: Mapping[tuple[str, str], Endpoint]
    listed: frozenset[tuple[str, str]]
    named: frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Hosts:
    """The hosts of which all namespaces were read: their addresses for gossip and for containers' packets -> host, and back."""

    gossip: Mapping[str, str]
    data: Mapping[str, str]

    def data_of(self, host: str) -> str:
        return next((address for address, name in self.data.items() if name == host), "")


class Kind(StrEnum):
    """What is wrong, as the evidence says it."""

    PEER = "no peer {holder} ({address})"
    NAME = "no name for {container} ({address}) of {holder}"
    PLACE = "no host for {container} ({address}, {mac}) of {holder}"
    STALE = "an entry for {container} ({address}) of {holder}, where no container has this address"


@dataclass(frozen=True, order=True)
class Flaw:
    """One difference. host: whose tables differ. holder: the host to which the address belongs."""

    network: str
    host: str
    holder: str
    kind: Kind
    address: str
    container: str = ""
    mac: str = ""

    @property
    def variant(self) -> str:
        return "stale" if self.kind is Kind.STALE else "own" if self.host == self.holder else ""

    @property
    def text(self) -> str:
        return self.kind.format(holder=self.holder, address=self.address, container=self.container, mac=self.mac)


def views(seen: Seen) -> list[View]:
    """Return the tables of all hosts on which the network has containers: only these take part in its gossip."""
    return [
        View(host, network, table, kernel.tables.members)
        for host, kernel in seen.observed.kernels.items()
        for network, entry in overlays(seen, host).items()
        if (table := kernel.tables.networks.get(str(entry.get("Id", "")))) and kernel.space_of(str(entry.get("Id", "")))
    ]


def containers(seen: Seen) -> dict[str, Containers]:
    """Return network -> what runs on it."""
    listed: dict[str, set[tuple[str, str]]] = defaultdict(set)
    named: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for host in seen.site.live:
        for network, address in names_of(seen, host):
            listed[network].add((host, address))
        for each in attached.named(seen.site.facts[host]):
            named[each.network].add((host, each.address))
    return {
        network: Containers(
            {(each.host, address): each for address, holders in found.items() for each in holders},
            frozenset(listed[network]),
            frozenset(named[network]),
        )
        for network, found in endpoints(seen).items()
    }


def differing(seen: Seen) -> Iterator[Problem]:
    """Find containers that an engine's tables lack or place elsewhere, and entries of containers that are gone."""
    found = _flaws(seen)
    if seen.earlier is not None:  # gossip takes a moment: only what differs both times is wrong
        found &= _flaws(replace(seen, observed=seen.earlier, earlier=None))
    groups: dict[tuple[str, str, str, str], list[Flaw]] = defaultdict(list)
    for flaw in sorted(found):
        groups[flaw.network, flaw.host, flaw.holder, flaw.variant].append(flaw)
    for (network, host, holder, variant), flaws in groups.items():
        names = ", ".join(dict.fromkeys(flaw.container for flaw in flaws if flaw.container))
        yield Problem(
            "table-differs",
            host,
            f"the gossip tables of {host} have {few([flaw.text for flaw in flaws])}",
            {"host": holder if variant else host, "containers": names},
            variant,
            target=holder if holder != host else "",
            network=network,
            where=f"{host}: gossip tables of {network}",
        )


def _flaws(seen: Seen) -> set[Flaw]:
    """Return all differences. What the engine of a container itself does not announce is reported for its host only."""
    if not (seen_by := views(seen)):
        return set()
    running, hosts = containers(seen), _hosts(seen)
    none = Containers({}, frozenset(), frozenset())
    found = {
        flaw
        for view in seen_by
        for of in (running.get(view.network, none),)
        for flaw in (*_lacking(view, of, hosts), *_stale(view, of, hosts))
    }
    return {flaw for flaw in found if flaw.host == flaw.holder or replace(flaw, host=flaw.holder) not in found}


def _hosts(seen: Seen) -> Hosts:
    read = [host for host, kernel in seen.observed.kernels.items() if kernel.enters_all and host in seen.site.advertise]
    gossip = {str(seen.site.advertise[host]): host for host in read}
    return Hosts(gossip, {swarm.data_address(seen.site.facts[host]) or at: host for at, host in gossip.items()})


def _lacking(view: View, of: Containers, hosts: Hosts) -> Iterator[Flaw]:
    """Find what the tables lack of the containers that run, and of the engines that have some."""
    running = {at: each for at, each in of.running.items() if not each.balances}
    holders = {host for host, _ in running} - {view.host}
    for address, holder in hosts.gossip.items():
        if holder in holders and address not in view.table.peers:
            yield Flaw(view.network, view.host, holder, Kind.PEER, address)
    for (holder, address), each in running.items():
        flaw = Flaw(view.network, view.host, holder, Kind.NAME, address, each.name)
        if (holder, address) in of.named and not view.table.named(address):
            yield flaw
        right = hosts.data_of(holder)
        if right and (right, each.mac) not in {(place.host, place.mac) for place in view.table.at(address)}:
            yield replace(flaw, kind=Kind.PLACE, mac=each.mac)


def _stale(view: View, of: Containers, hosts: Hosts) -> Iterator[Flaw]:
    """Find entries of containers that are gone. Nothing is known of hosts that were not read."""
    entries = [(hosts.data.get(place.host), place.address, "a container") for place in view.table.places]
    entries += [
        (hosts.gossip.get(view.members.get(each.owner, "")), each.address, each.name) for each in view.table.names
    ]
    for holder, address, name in entries:
        if holder and (holder, address) not in of.running and (holder, address) not in of.listed:
            yield Flaw(view.network, view.host, holder, Kind.STALE, address, name)


DETECTORS = (differing,)
