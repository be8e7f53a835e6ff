"""Running containers that do not reach each other, although new ones may: what proofs, which start containers of their own, can't see."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from provisioner.explain.base import few, once
from provisioner.model import Problem
from provisioner.system import attached

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from provisioner.explain.base import Seen
    from provisioner.system.attached import Attachment

_CAUSES = {"none": "overlay-blocked", "small": "path-mtu"}
_SAID = {"none": "no answer from", "small": "answers to small packets only from"}


@dataclass(frozen=True)
class Way:
    """From one container to another one. found: "none" or "small" if echo requests had no answer, or only small ones; else ""."""

    source: str
    sender: Attachment
    target: str
    receiver: Attachment
    found: str = ""


@once
def unreached(seen: Seen) -> tuple[Problem, ...]:
    """Find containers that do not answer one on another host.

    A container may ignore echo requests. So one that answers nobody counts only if it gets no answer from the other one either, or if
    it has lost its address.
    """
    groups = _groups(seen)
    proven = {key: _proven(seen, key[0], of_it) for key, of_it in groups.items()}
    return tuple(
        _problem(seen, network, found, of_it, variant="running" if proven[network, found] else "")
        for (network, found), of_it in groups.items()
        if proven[network, found] or found == "none"
    )


def apart(seen: Seen) -> tuple[Way, ...]:
    """Return the ways on which containers get no answer, if it is not known that new containers on these hosts reach each other."""
    found = (
        ways for (network, what), ways in _groups(seen).items() if what == "none" and not _proven(seen, network, ways)
    )
    return tuple(way for ways in found for way in ways)


@once
def _groups(seen: Seen) -> dict[tuple[str, str], list[Way]]:
    """Return (network, what is found) -> the ways of which this counts."""
    ways = {(way.sender.address, way.receiver.address, way.sender.network): way for way in _ways(seen)}
    answer = {(way.receiver.address, way.receiver.network) for way in ways.values() if way.found != "none"}
    groups: dict[tuple[str, str], list[Way]] = defaultdict(list)
    for (one, other, network), way in ways.items():
        back = ways.get((other, one, network))
        if way.found and ((other, network) in answer or (back and back.found) or _absent(seen, way)):
            groups[network, way.found].append(way)
    return groups


def _proven(seen: Seen, network: str, ways: list[Way]) -> bool:
    """Return whether new containers on these hosts reached each other."""
    proven = {
        (pair.source, pair.target)
        for result in seen.proofs
        if result.network == network
        for pair in result.pairs
        if pair.proven
    }
    return all((way.source, way.target) in proven for way in ways)


def _absent(seen: Seen, way: Way) -> bool:
    """Return whether no namespace on the receiver's host has its address."""
    kernel = seen.observed.kernels.get(way.target)
    spaces = kernel.spaces.values() if kernel and kernel.enters_all else ()
    return bool(spaces) and all(way.receiver.address != address for space in spaces for address, _ in space.inner)


def _ways(seen: Seen) -> Iterator[Way]:
    running = {host: list(attached.named(seen.site.facts[host])) for host in seen.site.live}
    for host, kernel in seen.observed.kernels.items():
        for sender in running.get(host, ()):
            if (found := kernel.unanswered.get(sender.address)) is not None:
                for there, those in running.items():
                    for receiver in those if there != host else ():
                        if receiver.network == sender.network:
                            yield Way(host, sender, there, receiver, found.get(receiver.address, ""))


def _problem(seen: Seen, network: str, found: str, ways: list[Way], variant: str) -> Problem:
    """Combine the ways of one network. Its place is the host, and its cure the container, that all of them have in common."""
    common = sorted(set.intersection(*({way.source, way.target} for way in ways)))
    names = set.intersection(*({way.sender.name, way.receiver.name} for way in ways)) or {ways[0].receiver.name}
    evidence = few(
        [f"{way.sender.name} on {way.source} gets {_SAID[found]} {way.receiver.name} on {way.target}" for way in ways]
    )
    values: Mapping[str, object] = {
        "port": seen.site.inventory.data_path_port,
        "network": network,
        "names": " ".join(sorted(names)),
    }
    host, target = (common[0], common[1]) if len(common) > 1 else (common[0] if common else "", "")
    return Problem(_CAUSES[found], host, evidence, values, variant, target=target, network=network)


DETECTORS = (unreached,)
