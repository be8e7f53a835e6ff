"""Measures the phases of a run by the time of the output line that ends each phase.

`up --verbose` prints these lines for people, and tests/bench/raw.sh prints the same form. The last host's line counts.
"""

from __future__ import annotations

import re
import statistics
import time
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# The start of a line -> the phase that it ends. Packages need no change, so their line ends the reading.
_ENDS = {
    r"connect  begins": "start",
    r"connect  ": "connect",
    r"packages  ": "read and check",
    r"firewall  ": "firewall",
    r"store  ": "store",
    r"(daemon|swarm)  ": "engine",
    r"gossip  ": "gossip",
    r"networks  ": "networks",
    r"observe  begins": "compare",
    r"observe  ": "observe",
    r"proof \S+  \S+ +has a probe at": "probes start",
    r"proof \S+  \S+ +reached": "probes reach one another",
    r"proof \S+  .*  settled": "probes end",
}
_END = "end"


@dataclass
class Lines:
    """The output lines of a command. `read` has each line with its time in seconds since `began`."""

    began: float
    read: list[tuple[float, str]] = field(default_factory=list)

    def listen(self, stream: IO[str]) -> None:
        for line in stream:
            self.read.append((time.monotonic() - self.began, line))

    def phases(self, whole: float) -> dict[str, float]:
        """Phase -> seconds, which add up to `whole`. Empty for a command that does not print phases."""
        ends: dict[str, float] = {}
        for at, line in self.read:
            name = next((name for begin, name in _ENDS.items() if re.match(begin, line)), None)
            if name:
                ends[name] = at
        if not ends:
            return {}
        ends[_END] = whole
        order = sorted(ends, key=lambda name: ends[name])
        before = [0.0, *(ends[name] for name in order)]
        return {name: ends[name] - began for name, began in zip(order, before, strict=False)}


def table(job: str, found: Mapping[str, Sequence[Mapping[str, float]]]) -> list[str]:
    """A Markdown table with a column for each contender: the mean of each phase. Means add up to the mean of the whole."""
    present = {name for runs in found.values() for run in runs for name in run}
    lines = ["", "| " + " | ".join([f"{job}: phases, mean s", *found]) + " |", "|---" * (len(found) + 1) + "|"]
    for name in dict.fromkeys((*_ENDS.values(), _END)):
        if name in present:
            means = [statistics.mean(run.get(name, 0.0) for run in runs) for runs in found.values()]
            lines.append("| " + " | ".join([name, *(f"{mean:.2f}" if mean else "" for mean in means)]) + " |")
    wholes = [statistics.mean(sum(run.values()) for run in runs) for runs in found.values()]
    return [*lines, "| " + " | ".join(["the whole", *(f"{mean:.2f}" for mean in wholes)]) + " |"]
