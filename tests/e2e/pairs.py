"""Pairs of faults that are made at once, drawn by a seed. In a whole round, each fault is in a pair.

Rules say which two faults can't be told apart; there is no list of pairs. A fault between two hosts has as its other end a host
without a fault, if there is one. So some path always shows it, whatever else is broken.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from provisioner.causes import CAUSES
from provisioner.lab import FAULTS
from provisioner.lab.faults import Place

if TYPE_CHECKING:
    import random

    from provisioner.lab import Fault

HOSTS = ("node1", "node2", "node3")
# What a script changes: ports, files, chains, devices, and the namespaces of overlays.
_THING = re.compile(r"\$DATA|\b(?:7946|2377|8300)\b|/(?:var/)?run/[\w/.-]*\w|\b(?:FORWARD|PREROUTING|tun-fault|eth0)\b")
_ENGINE = frozenset({"engine-down", "engine-hangs"})
_SPACE = "/var/run/docker/netns"  # with the namespaces of overlays, whose entries name other hosts
_FAILING = frozenset({"overlay-blocked", "names-unresolved", "probe-failed"})  # of pairs in the proof of an overlay
_ENGINE_STARTS = re.compile(r"systemctl (re)?start docker")
# What an engine, a store or a swarm's leader must answer to show.
_LISTED = frozenset({"network-detached", "endpoint-lost", "node-resting", "service-tasks-missing"})
_LEADERLESS = frozenset({"store-down", "store-hangs", "store-blocked", "manager-blocked"})
_AWAY = frozenset({"host-lost", "node-left", "other-swarm"})  # these take a host with its containers out of the cluster
_SAME_HOST = 1 / 3  # share of the pairs on one host, among those that can be


@dataclass(frozen=True)
class Made:
    """A fault at its place. to: the other host of a fault between two."""

    fault: Fault
    host: str
    to: str = ""

    def __str__(self) -> str:
        return f"{self.fault.id} on {self.host}"


Pair = tuple[Made, Made]


def pool(kind: str, dice: random.Random) -> list[Fault]:
    """Return the faults of a round in random order: those of a store, or those of a swarm and as many others.

    Managers that could not reach each other need minutes to come back. So others do not take managers away.
    """
    ours = [fault for fault in FAULTS.values() if kind in fault.stores]
    others = [fault for fault in FAULTS.values() if not fault.stores and fault.place is not Place.ROUTER]
    quick = [fault for fault in others if not takes_manager(fault)]
    found = ours + (dice.sample(quick, len(ours)) if kind == "swarm" else others)
    dice.shuffle(found)
    return found


def drawn(kind: str, dice: random.Random) -> list[Pair]:
    """Return the pairs of a round. Only faults that find no partner among those that are left share one."""
    faults = pool(kind, dice)
    left, pairs = list(faults), []
    while left:
        first = left.pop()
        others = [each for each in left if not confused(kind, first, each)]
        second = others[0] if others else dice.choice([each for each in faults if not confused(kind, first, each)])
        if second in left:
            left.remove(second)
        pairs.append(placed(first, second, dice))
    return pairs


def placed(first: Fault, second: Fault, dice: random.Random) -> Pair:
    """Return two faults at random hosts, in the order in which they can be made.

    The one with fewer consequences is made first: it may need what the other one takes away, such as a leader.
    """
    one, other = sorted((first, second), key=lambda fault: len(consequences(fault.cause)))
    host, next_host, free = dice.sample(HOSTS, 3)
    if not entangled(one, other) and dice.random() < _SAME_HOST:
        next_host = host
    return tuple(Made(fault, at, free if fault.place.pair else "") for fault, at in ((one, host), (other, next_host)))  # type: ignore[return-value]


def confused(kind: str, first: Fault, second: Fault) -> str:
    """Return why two faults can't be made, seen or told apart even on two hosts, or ""."""
    both = (first, second)
    if first.cause == second.cause:
        return "they have the same cause"
    if any(each.cause in _AWAY for each in both) and any("fdb show" in each.make for each in both):
        return "the forwarding entry may be for a container of the host that can't be read, or has left the swarm"
    if any("address del" in one.make and "fdb show" in other.make for one, other in (both, both[::-1])):
        return "the forwarding entry may be for the container that loses its address"
    if any("@th," in one.make and after(other) & _FAILING for one, other in (both, both[::-1])):
        return "only transfers of the proof show lost large packets, and it ends early if it knows why other pairs fail"
    if any(_SPACE in one.make and one.cause in after(other) for one, other in (both, both[::-1])):
        return "the entry of an overlay may be for a container of the other host, from whose fault it can follow"
    if any(one.cause in _LISTED and other.cause in _LEADERLESS for one, other in (both, both[::-1])):
        return "only an engine or a store that answers shows it, and none may answer while a leader is elected"
    if all(each.place.pair for each in both) and any(one.cause in after(other) for one, other in (both, both[::-1])):
        return "both are on paths of the same other host, where one follows from the other"
    if kind == "swarm" and all(map(takes_manager, both)):
        return "a swarm of three managers has no leader without two of them"
    return ""


def takes_manager(fault: Fault) -> bool:
    """Return whether a manager of a swarm of which all hosts are managers can't take part any more."""
    return "docker swarm" in fault.make or bool(after(fault) & {"swarm-leaderless", "host-lost", *_ENGINE})


def entangled(first: Fault, second: Fault) -> str:
    """Return why two faults can't be made or can't both be seen on one host, or ""."""
    for one, other in ((first, second), (second, first)):
        if takes_manager(one):
            return f"{one.id} takes the engine away, in which {other.id} is made or seen"
        if _ENGINE_STARTS.search(one.make) and _SPACE in other.make:
            return f"{one.id} restarts the engine, which makes its containers' namespaces anew"
        if other.cause in after(one):
            return f"{other.cause} follows from {one.cause}"
    if both := things(first) & things(second):
        return f"both change {', '.join(sorted(both))}"
    return ""


def after(fault: Fault) -> set[str]:
    """Return the cause of a fault and its consequences."""
    return {fault.cause} | consequences(fault.cause)


def consequences(cause: str) -> set[str]:
    """Return the causes that can follow from a cause, as the catalogue says. What says where an overlay's packets are lost follows, too."""
    found: set[str] = set()
    left = [cause]
    while left:
        more = set(CAUSES[left.pop()].explains) - found - {cause}
        found |= more
        left += more & CAUSES.keys()
    return found | ({"lost-in-overlay"} - {cause} if "overlay-blocked" in found else set())


def things(fault: Fault) -> set[str]:
    """Return what the scripts of a fault change."""
    return set(_THING.findall(f"{fault.make}\n{fault.heal}"))
