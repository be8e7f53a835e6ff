"""Where packets are lost inside an overlay: those of failed pairs, and of running containers. Pure; see provisioner.observe.hops."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from provisioner.explain import reach
from provisioner.explain.overlays import of_kernels, within
from provisioner.model import Problem
from provisioner.observe.hops import Counts, Point

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from provisioner.explain.base import Detector, Seen
    from provisioner.model import Missing

_ENOUGH = 2  # packets at one point, of which none arrived at the next one
_UNKNOWN = Counts()
_FIRM = frozenset({"bridge", "between", "taken"})


class Hop(NamedTuple):
    """One point on the way of a packet. variant: the cure if packets are lost just before it. seen: what passed, for the evidence."""

    at: str
    point: Point
    variant: str
    seen: str


def lost(seen: Seen) -> Iterator[Problem]:
    """Find the places where the packets of failed pairs are lost, and those of running containers."""
    for result in seen.proofs:
        yield from located(seen, result.network, ((p.source, p.target) for p in result.pairs if not p.proven))
    for way in reach.apart(seen) if seen.observed.hops else ():
        points = _way(seen, way.source, way.target, way.sender.network_id)
        if points:
            yield from _judged(seen, points, way.sender.network, (way.sender.address, way.receiver.address))


def senders(seen: Seen) -> dict[str, dict[str, list[str]]]:
    """Return which running containers are to send echo requests, so that their packets can be followed; see `observe.hops.observe`.

    They are those that get no answer for a reason that is not known, if new containers could not be tried on their hosts: one for each
    two hosts and network. Their namespaces are among those that were observed.
    """
    found: dict[str, dict[str, list[str]]] = {}
    known = set[tuple[str, str, str]]()
    for way in reach.apart(seen):
        kernel, key = seen.observed.kernels[way.source], (way.source, way.target, way.sender.network)
        if key in known:
            continue
        for space in kernel.spaces.values():
            if not space.network and not space.balances and any(way.sender.address == each for each, _ in space.inner):
                known.add(key)
                found.setdefault(way.source, {}).setdefault(space.name, []).append(way.receiver.address)
    return found


def firm(seen: Seen, missing: Collection[Missing]) -> list[Problem]:
    """Return where the packets of missing pairs are lost, if no engine can mend it by learning more entries."""
    networks = dict.fromkeys(each.network for each in missing)
    pairs = {name: [(each.source, each.target) for each in missing if each.network == name] for name in networks}
    found = (problem for network, of_it in pairs.items() for problem in located(seen, network, of_it))
    return [problem for problem in found if problem.variant in _FIRM]


def located(seen: Seen, network: str, pairs: Iterable[tuple[str, str]]) -> Iterator[Problem]:
    """Find the place where the packets of each pair are lost, in both directions: the problem of a host or a path."""
    every, listed, failed = _owners(seen), of_kernels(seen), set(pairs)
    for source, target in sorted(failed | {(target, source) for source, target in failed}):
        entry = listed.get(source, {}).get(network)
        way = _way(seen, source, target, str(entry.get("Id", ""))) if entry else ()
        if way and entry:
            owners = {address: host for address, host in every.items() if within(entry, address)}
            yield from _judged(seen, way, network, _addresses(seen, way, owners))


def _owners(seen: Seen) -> dict[str, str]:
    """Return the host of each container's address. Addresses on several hosts are left out."""
    found: dict[str, set[str]] = {}
    for name, kernel in seen.observed.kernels.items():
        for space in kernel.spaces.values():
            if not space.network and not space.balances:
                for address, _ in space.inner:
                    found.setdefault(address, set()).add(name)
    return {address: next(iter(names)) for address, names in found.items() if len(names) == 1}


def _way(seen: Seen, source: str, target: str, network_id: str) -> tuple[Hop, ...]:
    """Return the points from one host's container to that of another host; () if they were not observed."""
    spaces = [
        seen.observed.kernels[name].space_of(network_id) for name in (source, target) if name in seen.observed.hops
    ]
    if len(spaces) != 2 or not all(spaces):  # noqa: PLR2004
        return ()
    here, there = (space.name for space in spaces if space)
    return (
        Hop(source, Point(here, "container", out=False), "", f"came from the container on {source}"),
        Hop(source, Point(here, "vxlan", out=True), "bridge", "were passed to the VXLAN device there"),
        Hop(source, Point("", "host", out=True), "sent", f"left {source}"),
        Hop(target, Point("", "host", out=False), "between", f"arrived at {target}"),
        Hop(target, Point(there, "vxlan", out=False), "taken", "came out of the VXLAN device there"),
        Hop(target, Point(there, "container", out=True), "bridge", "were passed to the container"),
    )


def _addresses(seen: Seen, way: tuple[Hop, ...], owners: Mapping[str, str]) -> tuple[str, str]:
    """Return the two addresses of most packets on this way, or those of an ARP request; ("", "") if there are none.

    owners: the network's addresses, each with its host. The hosts' interfaces count the packets of all networks.
    """
    found: dict[tuple[str, str], int] = {}
    for hop in way:
        counts = seen.observed.hops.get(hop.at, _UNKNOWN)
        for kind in (counts.packets, counts.asked):
            for (source, target), number in kind.get(hop.point, {}).items():
                if (owners.get(source), owners.get(target)) == (way[0].at, way[-1].at):
                    found[source, target] = found.get((source, target), 0) + number
    return max(found, key=lambda pair: found[pair]) if found else ("", "")


def _judged(seen: Seen, way: tuple[Hop, ...], network: str, pair: tuple[str, str]) -> Iterator[Problem]:
    """Find the first point at which no packet was seen, although several passed the point before."""
    hops = [hop for hop in way if hop.point.space or not _encrypted(seen, network)]
    counts = [_count(seen, hop, pair) for hop in hops]
    begin = f"{way[0].at} > {way[-1].at}, {pair[0]} to {pair[1]}"
    if not counts[0]:
        yield from _asked(seen, way, network, pair, begin)
        return
    for (before, hop), (count, now) in zip(pairwise(hops), pairwise(counts), strict=True):
        if count >= _ENOUGH and not now:
            passed = [
                f"{number} {each.seen}" for each, number in zip(hops, counts, strict=True) if number or each is hop
            ]
            yield _problem(hop, hop.variant, network, f"{begin}: {', '.join(passed)}", before)
            return
    back = Hop(way[-1].at, replace(way[-1].point, out=False), "", "")
    if counts[-1] >= _ENOUGH and not any(_count(seen, back, pair[::-1], asked=asked) for asked in (False, True)):
        evidence = f"{begin}: {counts[-1]} were passed to the container on {way[-1].at}, which sent nothing back"
        yield _problem(way[-1], "silent", network, evidence)


def _asked(seen: Seen, way: tuple[Hop, ...], network: str, pair: tuple[str, str], begin: str) -> Iterator[Problem]:
    """Judge a container that sends nothing but requests for the MAC address: the VXLAN device answers these, as the engine told it.

    A single request counts if the container got packets that it would have answered.
    """
    asked, passed = (_count(seen, hop, pair, asked=True) for hop in way[:2])
    heard = _count(seen, way[0]._replace(point=replace(way[0].point, out=True)), pair[::-1])
    if asked and max(asked, heard) >= _ENOUGH:
        variant = "asked" if passed else "bridge"
        requests = "1 request" if asked == 1 else f"{asked} requests"
        evidence = f"{begin}: the container on {way[0].at} asked for the MAC address without an answer ({requests})"
        yield _problem(way[1], variant, network, f"{evidence}; {passed} of them {way[1].seen}")


def _count(seen: Seen, hop: Hop, pair: tuple[str, str], *, asked: bool = False) -> int:
    counts = seen.observed.hops[hop.at]
    return (counts.asked if asked else counts.packets).get(hop.point, {}).get(pair, 0)


def _problem(hop: Hop, variant: str, network: str, evidence: str, before: Hop | None = None) -> Problem:
    between = variant == "between" and before
    space = f"namespace {hop.point.space}" if hop.point.space else "interfaces"
    values = {
        "host": hop.at,
        "space": hop.point.space,
        "network": network,
        "source": before.at if before else "",
        "to": hop.at,
    }
    return Problem(
        "lost-in-overlay",
        before.at if between and before else hop.at,
        evidence,
        values,
        variant,
        target=hop.at if between else "",
        network=network,
        where=f"between {before.at} and {hop.at}" if between and before else f"{space} of {hop.at}",
    )


def _encrypted(seen: Seen, network: str) -> bool:
    """Whether the network's packets are encrypted between the hosts, so that they can't be counted there."""
    entry = seen.site.inventory.networks.get(network)
    return bool(entry and entry.encrypted)


DETECTORS: tuple[Detector, ...] = (lost,)
