"""The pairs of a proof as a table: rows are sources, columns are targets.

Columns have names if these fit, else numbers. With more than a dozen hosts, a pair is one character.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING

from rich.text import Text

from provisioner.report import once, words
from provisioner.report.paper import BAD, GOOD, QUIET, fit, widest
from provisioner.report.verdict import tally

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provisioner.model import Pair, ProofResult, Report
    from provisioner.report.paper import Look
    from provisioner.report.verdict import Tally

_MOST_WITH_TIMES = 12
_MOST_LISTED = 20
_NAME = 20  # cells for a host's name in front of a row
_WHOLE = 10  # Mbit/s from which on decimals are not shown
_BUNCH = 10  # columns between two gaps of the compact matrix
_FAILURES = {
    "n": "name not resolved",
    "a": "address not reached",
    "b": "not reached by name",
    "l": "alias not resolved",
    "f": "no packet of full size",
    "c": "data changed on the way",
    "s": "transfer stalled",
    "d": "connection dropped",
    "?": "not measured",
}


def failures(pair: Pair | None) -> str:
    """Return a letter for each failure, except by_name if it follows from a missing name or address."""
    if pair is None:
        return "?"
    name = "n" if pair.name is None else "b" if pair.by_name is None and pair.address is not None else ""
    name += "l" if pair.alias is None and pair.name is not None else ""
    broken = pair.transfer[:1] if pair.transfer != "passed" else ""  # corrupt, stalled, dropped
    return name + ("a" if pair.address is None else "") + ("f" if pair.full is None else "") + broken


def matrix(proof: ProofResult, report: Report, look: Look) -> list[Text]:
    seen = tally(proof, report)
    if not seen.total:
        return []
    grid = _Grid(seen, look)
    timed = grid.with_times() if len(seen.hosts) <= _MOST_WITH_TIMES else None
    rows = timed or list(grid.compact())
    failing = _failing(seen, look) if look.verbose or not once.is_covered(proof, report) else []
    return [*rows, *_legend(seen, look, compact=timed is None), *failing]


@dataclass(frozen=True, slots=True)
class _Grid:
    seen: Tally
    look: Look

    def with_times(self) -> list[Text] | None:
        """Return the table with times, or None if it is too wide."""
        hosts = [words.line(host) for host in self.seen.hosts]
        numbers = [str(number) for number in range(1, len(hosts) + 1)]
        numbered = [f"{number:>2} {host}" for number, host in zip(numbers, hosts, strict=True)]
        return self._table(hosts, hosts) or self._table(numbered, numbers)

    def _table(self, labels: list[str], heads: list[str]) -> list[Text] | None:
        cells = {pair: self._cell(*pair) for pair in self._all()}
        width = widest((*heads, *(cell.plain for cell in cells.values())))
        left = widest(labels, _NAME + 3)
        if 4 + left + len(heads) * (width + 2) > self.look.width:
            return None
        top = "".join(f"  {fit(head, width, self.look.marks)}" for head in heads)
        lines = [Text(f"    {' ' * left}{top}".rstrip(), QUIET)]
        for label, source in zip(labels, self.seen.hosts, strict=True):
            row = Text(f"    {fit(label, left, self.look.marks)}")
            for target in self.seen.hosts:
                cell = cells[source, target]
                row.append("  ").append_text(cell).append(" " * (width - cell.cell_len))
            row.rstrip()
            lines.append(row)
        return lines

    def _all(self) -> list[tuple[str, str]]:
        return [(source, target) for source in self.seen.hosts for target in self.seen.hosts]

    def _cell(self, source: str, target: str) -> Text:
        if not self.seen.wanted(source, target):
            return Text(self.look.marks.none, QUIET)
        pair = self.seen.pairs.get((source, target))
        if pair is None or not pair.proven:
            return Text(f"{self.look.marks.bad} {failures(pair)}", BAD)
        time = "" if pair.rtt is None else f" {words.round_trip(pair.rtt)}"
        return Text(f"{self.look.marks.ok}{time}", GOOD)

    def compact(self) -> Iterator[Text]:
        """Yield a table with one character per pair, split into blocks of columns that fit the width."""
        hosts = self.seen.hosts
        digits = len(str(len(hosts)))
        labels = [f"{number:>{digits}} {words.line(host)}" for number, host in enumerate(hosts, 1)]
        left = widest(labels, _NAME + digits)
        room = self.look.width - left - 6
        each = max(room // (_BUNCH + 1) * _BUNCH, _BUNCH)
        for begin in range(0, len(hosts), each):
            columns = range(begin, min(begin + each, len(hosts)))
            for digit in range(digits):
                marks = [str(column + 1).rjust(digits)[digit] for column in columns]
                yield Text(f"    {' ' * left}  {_bunched(marks)}".rstrip(), QUIET)
            for label, source in zip(labels, hosts, strict=True):
                row = Text(f"    {fit(label, left, self.look.marks)}  ")
                for number, column in enumerate(columns):
                    gap = " " if number and not number % _BUNCH else ""
                    row.append(gap).append_text(self._mark(source, hosts[column]))
                yield row

    def _mark(self, source: str, target: str) -> Text:
        if not self.seen.wanted(source, target):
            return Text(self.look.marks.none, QUIET)
        pair = self.seen.pairs.get((source, target))
        if pair is not None and pair.proven:
            return Text(self.look.marks.ok, GOOD)
        letters = failures(pair)
        return Text(letters if len(letters) == 1 else self.look.marks.bad.upper(), BAD)


def _bunched(marks: list[str]) -> str:
    return " ".join("".join(marks[at : at + _BUNCH]) for at in range(0, len(marks), _BUNCH))


def _legend(seen: Tally, look: Look, *, compact: bool) -> list[Text]:
    failed = [failures(seen.pairs.get(pair)) for pair in _unproven(seen)]
    used = set("".join(failed))
    letters = [f"{letter} {meaning}" for letter, meaning in _FAILURES.items() if letter in used]
    several = f"{look.marks.bad.upper()} several" if compact and any(len(each) > 1 for each in failed) else ""
    signs = [sign for sign in (several, *letters) if sign]
    base = f"rows: from, columns: to; {look.marks.ok} reached by name, by address and at full size"
    measured = "; ".join(filter(None, (_round_trips(seen, compact=compact), _throughput(seen))))
    lines = ("; ".join((base, ", ".join(signs))) if signs else base, measured)
    return [row for line in lines if line for row in look.prose(Text("    "), line, QUIET)]


def _round_trips(seen: Tally, *, compact: bool) -> str:
    """Explain the times. The compact table shows none, so return the shortest and the longest."""
    times = {pair: found.rtt for pair, found in seen.pairs.items() if found.rtt is not None}
    if not times or not compact:
        return "times: shortest of 5 round trips" if times else ""
    longest = max(times, key=lambda pair: times[pair])
    way = f"{words.line(longest[0])} to {words.line(longest[1])}"
    least, most = (words.round_trip(value) for value in (min(times.values()), times[longest]))
    return f"shortest of 5 round trips: {least} to {most} ({way})"


def _throughput(seen: Tally) -> str:
    """Return the least and the most, and how many pairs were measured if not all."""
    found = [pair.throughput for pair in seen.pairs.values() if pair.throughput is not None]
    if not found:
        return ""
    some = f" on {len(found)} of {seen.total} pairs" if len(found) < seen.total else ""
    least, most = (f"{each:.0f}" if each >= _WHOLE else f"{each:.1f}" for each in (min(found), max(found)))
    return f"throughput {least if least == most else f'{least} to {most}'} Mbit/s{some}"


def _unproven(seen: Tally) -> list[tuple[str, str]]:
    all_ = [way for way in permutations(seen.hosts, 2) if seen.wanted(*way)]
    return [pair for pair in all_ if pair not in seen.pairs or not seen.pairs[pair].proven]


def _failing(seen: Tally, look: Look) -> list[Text]:
    texts = _in_words(seen)
    most = len(texts) if look.verbose else _MOST_LISTED
    lines = [line for text in texts[:most] for line in look.prose(Text(f"    {look.marks.bad} ", BAD), text)]
    if len(texts) > most:
        lines.append(Text(f"    {look.marks.dots} and {len(texts) - most} more", QUIET))
    return lines


def _in_words(seen: Tally) -> list[str]:
    """Describe the failures. A host that fails in the same way with all others gets one line."""
    left = dict.fromkeys(_unproven(seen))
    texts = []
    for host in seen.hosts:
        others = [other for other in seen.hosts if other != host]
        for pairs, text in (
            ([(host, other) for other in others], f"{words.line(host)} -> every other host"),
            ([(other, host) for other in others], f"every other host -> {words.line(host)}"),
        ):
            ways = {_way(seen, pair) if pair in left else "" for pair in pairs}
            if len(pairs) > 1 and len(ways) == 1 and ways != {""}:
                texts.append(f"{text}: {ways.pop()}")
                left = {pair: None for pair in left if pair not in set(pairs)}
    return texts + [
        f"{words.line(source)} -> {words.line(target)}: {_way(seen, (source, target))}" for source, target in left
    ]


def _way(seen: Tally, pair: tuple[str, str]) -> str:
    found = seen.pairs.get(pair)
    detail = words.line(found.detail) if found else ""
    return ", ".join(_FAILURES[letter] for letter in failures(found)) + (f" ({detail})" if detail else "")
