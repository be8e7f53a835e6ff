"""Packets that are lost between hosts: on which path and port, how many, and where."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from provisioner.model import PathSeen, PortSeen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provisioner.explain.base import Seen
    from provisioner.observe.underlay import Attempt, Datagrams, Path

NOISE, _LITTLE = 3, 2  # fewer lost datagrams than this are ignored, and less than so many percent


@dataclass(frozen=True)
class Lost:
    """Packets lost on one path and port.

    at: the host that drops them; "" if they are lost between the two hosts.
    stage: a text that says where. share: the lost packets in percent. count: the packets that are lost there.
    refused: why the sender's kernel refused them, or "".
    """

    source: str
    target: str
    protocol: str
    port: int
    at: str
    stage: str
    share: int = 100
    count: int = 1
    refused: str = ""

    @property
    def what(self) -> str:
        return f"{self.port}/{self.protocol}"


def lost(path: Path, *, anything: bool = False) -> Iterator[Lost]:
    """Return the losses on one path. anything: also what may be chance: the observation is repeated."""
    for port, seen in path.udp.items():
        if found := _datagrams(path, port, seen, anything=anything):
            yield found
    for port, attempt in path.tcp.items():
        if found := attempted(path, port, attempt):
            yield found


def _datagrams(path: Path, port: int, seen: Datagrams, *, anything: bool) -> Lost | None:
    least = 1 if anything else min(max(NOISE, ceil(seen.tried * _LITTLE / 100)), seen.tried)
    if not seen.tried or seen.lost < least:
        return None
    share = round(100 * seen.lost / seen.tried)
    steps = (
        (seen.tried - seen.left, path.source),
        (seen.left - seen.arrived, ""),
        (seen.arrived - seen.passed, path.target),
    )
    count, at = max(steps, key=lambda step: step[0])
    refused = seen.refused if at == path.source else ""
    counts = f"{seen.tried} sent, {seen.left} left {path.source}, {seen.arrived} arrived at {path.target}, {seen.passed} passed its rules"
    stage = f"{counts} ({refused})" if refused else counts
    return Lost(path.source, path.target, "udp", port, at, stage, share, count, refused)


def attempted(path: Path, port: int, seen: Attempt) -> Lost | None:
    """Return the loss if a connection got no answer, or if a firewall rule refused it."""
    if not seen.state or seen.state == "open" or (seen.state == "refused" and seen.passed):
        return None
    stages = (
        (seen.left, path.source, f"no SYN left {path.source}"),
        (seen.arrived, "", f"the SYN left {path.source} but did not arrive at {path.target}"),
        (seen.passed, path.target, f"the SYN arrived at {path.target} but did not pass its rules"),
        (seen.answered, path.target, f"the SYN passed the rules of {path.target}, but no answer left it"),
        (seen.returned, "", f"the answer left {path.target} but did not arrive at {path.source}"),
        (0, path.source, f"the answer arrived at {path.source} but did not pass its rules"),
    )
    _, at, stage = next(stage for stage in stages if not stage[0])
    why = f" ({seen.why})" if seen.why else ""
    return Lost(path.source, path.target, "tcp", port, at, f"{stage}{why}", refused=seen.why)


def losing(seen: Seen) -> tuple[str, ...]:
    """Return the hosts that lose packets, or that packets do not reach; those of most paths first."""
    return tuple(host for host, _ in Counter(each.at or each.target for each in _losses(seen)).most_common())


def concerned(seen: Seen) -> frozenset[str]:
    """Return the hosts that lose packets, and both ends of paths that lose some elsewhere."""
    return frozenset(host for each in _losses(seen) for host in ([each.at] if each.at else [each.source, each.target]))


def _losses(seen: Seen) -> Iterator[Lost]:
    return (each for path in seen.observed.underlay.paths.values() for each in lost(path, anything=True))


def summaries(seen: Seen) -> tuple[PathSeen, ...]:
    """Return what passed on each path, for reports."""
    return tuple(_summary(path) for path in seen.observed.underlay.paths.values())


def _summary(path: Path) -> PathSeen:
    losses = {(each.port, each.protocol): each for each in lost(path)}
    ports = []
    for port, sent in sorted(path.udp.items()):
        share = round(100 * sent.lost / sent.tried) if sent.tried else 0
        at = losses[port, "udp"].at if (port, "udp") in losses else ""
        ports.append(PortSeen(port, "udp", sent.tried, sent.left, sent.arrived, sent.passed, share, at))
    for port, syn in sorted(path.tcp.items()):
        found = losses.get((port, "tcp"))
        share, at = (found.share, found.at) if found else (0, "")
        time = syn.seconds if syn.state == "open" else None
        ports.append(PortSeen(port, "tcp", syn.left, syn.left, syn.arrived, syn.passed, share, at, time))
    return PathSeen(path.source, path.target, path.size, tuple(ports))
