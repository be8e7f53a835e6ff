"""Connections between probes: which pairs hold one and send data over it, and what went wrong on them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from provisioner.proofs.evidence import Evidence

BLOCKS = 64  # of a transfer, as in probe.pl
_ALL = 6  # hosts up to which every ordered pair has a connection
_FARTHEST = 60  # steps in the ring; a probe answers 64 others at once (probe.pl)
_DROPPED = 3.0  # seconds without an answer that no congestion explains; TCP repeats a lost packet several times in it
PASSED, CORRUPT, STALLED, DROPPED = "passed", "corrupt", "stalled", "dropped"  # states of a `Flow`


@dataclass(frozen=True)
class Flow:
    """What happened on the connection of one ordered pair.

    state: passed, corrupt, stalled or dropped; "" if there was no connection. detail: what was seen, unless it passed.
    throughput: Mbit/s. gap: seconds, the longest time without an answer.
    """

    state: str = ""
    detail: str = ""
    throughput: float | None = None
    gap: float | None = None


def targets(number: int, others: Sequence[int]) -> list[int]:
    """Return the probes to which this one sends: all others on few hosts. On more hosts: the next one, and three farther on.

    The next ones form a ring. So each host sends and receives, and the work of a host does not grow with their number.
    """
    count = len({number, *others})
    return _at(number, others, range(1, count) if count <= _ALL else _spread(count))


def watched(number: int, others: Sequence[int]) -> list[int]:
    """Return the other probes to which this one holds a connection without sending data, on many hosts.

    With those of `targets`, each pair of hosts has a connection, from one of them. On very many hosts, only near ones in the ring do.
    """
    count = len({number, *others})
    steps = range(1, min(count // 2, _FARTHEST) + 1) if count > _ALL else ()
    return _at(number, others, [step for step in steps if step not in _spread(count)])


def _spread(count: int) -> list[int]:
    return sorted({1, 2, count // 3, count // 2})


def _at(number: int, others: Sequence[int], steps: Iterable[int]) -> list[int]:
    """Return the probes that are so many steps farther on in the ring of all."""
    ring = sorted({number, *others})
    return [ring[(ring.index(number) + step) % len(ring)] for step in steps]


def flow(source: str, target: str, found: Mapping[str, Evidence], numbers: Mapping[str, int]) -> Flow:
    """Return what happened on the connection from one host's probe to another's, of which all else is proven."""
    here, peer = found[source], numbers[target]
    gap = here.gaps[peer][0] if peer in here.gaps else None
    size, seconds = here.bulk.get(peer, (0, 0.0))
    throughput = size * 8 / seconds / 1e6 if size and seconds else None
    state, detail = _flaw(source, target, found, numbers)
    if not state and throughput is not None:
        state = PASSED
    return Flow(state, detail, throughput, gap)


def _flaw(source: str, target: str, found: Mapping[str, Evidence], numbers: Mapping[str, int]) -> tuple[str, str]:
    here, there, peer = found[source], found[target], numbers[target]
    if peer in here.changed:
        blocks, where = here.changed[peer]
        what = (
            "a message" if where == "message" else f"{blocks} of {BLOCKS} blocks of 16 KiB, the first at byte {where}"
        )
        return CORRUPT, f"data arrive changed: {what}{_checksums(target, there)}"
    if peer in here.stalled:
        size, seconds = here.stalled[peer]
        ended = f" ({here.cuts[peer][2]})" if peer in here.cuts else ""
        what = f"a transfer over TCP passed {size} bytes, then nothing for {seconds:.1f} s{ended}"
        return STALLED, f"{what}{_checksums(target, there)}"
    if here.offset or there.offset:  # a probe was replaced, which ends its connections
        return "", ""
    if peer in here.gaps and here.gaps[peer][0] >= _DROPPED:
        seconds, since = here.gaps[peer]
        return (
            DROPPED,
            f"no answer on a connection for {seconds:.1f} s, from {since:.1f} s on: {_lost(source, target, found, numbers)}",
        )
    if peer in here.cuts:
        times, since, why = here.cuts[peer]
        return DROPPED, f"a connection ended after {since:.1f} s ({why}), {times} times in all"
    return "", ""


def _lost(source: str, target: str, found: Mapping[str, Evidence], numbers: Mapping[str, int]) -> str:
    """Return in which direction packets were lost. Each end knows for how long nothing arrived."""
    longest = found[source].gaps[numbers[target]][0]
    quiet = found[target].quiet.get(numbers[source], (0.0, 0.0))[0]
    if 2 * quiet > longest:
        return f"nothing from {source} arrived at {target}"
    return f"packets from {source} arrived, but no answer from {target} did"


def _checksums(name: str, evidence: Evidence) -> str:
    wrong = sum(evidence.checksums.values())
    return f"; {wrong} packets arrived at {name} with a wrong checksum" if wrong else ""
