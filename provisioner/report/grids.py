"""What was measured between each two hosts, as tables: rows are sources, columns are targets. Pure.

Each cell has a text, so that colour alone says nothing. A table in which all values are equal becomes one sentence.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import permutations
from typing import TYPE_CHECKING, Any

from provisioner.report import words
from provisioner.report.drawing import needed
from provisioner.report.junit import failures_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

_LEVELS = 5
_SPREAD = 10.0  # values that differ by less than this factor do not use all levels
_WIDE = 12  # with more hosts, columns have numbers
Way = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Cell:
    """text: short. level: 1 to 5, the higher the darker; 0: none. kind: "", "bad", "self" or "none". note: the whole text."""

    text: str
    level: int = 0
    kind: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Grid:
    """One table. note: below it. open: whether it is worth a look. cells: by row."""

    title: str
    names: Sequence[str]
    cells: Sequence[Sequence[Cell]]
    note: str
    open: bool
    same: str = ""  # the sentence instead of a table

    @property
    def wide(self) -> bool:
        return len(self.names) > _WIDE


def grids(document: Mapping[str, Any]) -> list[Grid]:
    """Return the tables: for each overlay what was reached, and the other measurements if there are any."""
    found = [
        _reached(document, proof, _order(document, proof["pairs"])) for proof in document["proofs"] if proof["pairs"]
    ]
    for proof in document["proofs"]:
        found += _more(proof, _order(document, proof["pairs"]))
    paths = document["paths"]
    return [*found, *_sizes(paths, _order(document, paths), needed(document)), *_losses(paths, _order(document, paths))]


def _order(document: Mapping[str, Any], ways: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the hosts that take part, in the inventory's order."""
    seen = dict.fromkeys(name for way in ways for name in (way["source"], way["target"]))
    known = [name for name in document["hosts"] if name in seen]
    return [*known, *(name for name in seen if name not in set(known))]


def _reached(document: Mapping[str, Any], proof: Mapping[str, Any], names: list[str]) -> Grid:
    pairs = {(pair["source"], pair["target"]): pair for pair in proof["pairs"]}
    times = [pair["rtt"] for pair in pairs.values() if pair["proven"] and pair["rtt"] is not None]
    level = _scale(times)
    good = sum(pair["proven"] for way, pair in pairs.items() if way[0] != way[1])
    limit = set(document["limit"])

    def cell(way: Way) -> Cell:
        pair = pairs.get(way)
        if pair is None:
            left_out = limit and not limit & set(way)
            return (
                Cell("·", kind="none", note="not chosen") if left_out else Cell("?", kind="none", note="not measured")
            )
        if not pair["proven"]:
            return Cell("✗", kind="bad", note=_note(pair))
        if pair["rtt"] is None:
            return Cell("✓", note="reached")
        text = words.round_trip(pair["rtt"])
        short = text.removesuffix(" ms") if len(names) > _WIDE else f"✓ {text}"
        return Cell(short, level(pair["rtt"]), note=text)

    total = sum(not limit or bool(limit & set(way)) for way in permutations(names, 2))
    sign, unit = ("", " in ms") if len(names) > _WIDE else ("✓ ", "")
    note = f"{sign}Reached by name, by address and at full size: the shortest of 5 round trips{unit}; the darker, the longer. ✗ Failed."
    title = f"{proof['network']}: round-trip times, {good} of {total} pairs proven"
    return Grid(title, names, _rows(names, cell), note, open=True)


def _note(pair: Mapping[str, Any]) -> str:
    return ", ".join(filter(None, [*failures_of(pair), pair["detail"]]))


def _more(proof: Mapping[str, Any], names: list[str]) -> list[Grid]:
    """Return the other measurements of the pairs, as far as the report has them."""
    found = []
    for field, (title, text, note) in _MORE.items():
        values = {
            (pair["source"], pair["target"]): pair[field] for pair in proof["pairs"] if pair.get(field) is not None
        }
        if values:
            found.append(_values(f"{proof['network']}: {title}", names, values, text, note))
            alike = max(values.values()) < 2 * min(values.values())
            found[-1] = replace(found[-1], open=not alike)
    return found


def rate(value: float) -> str:
    """Return Mbit/s as "940 Mbit/s", "1.2 Gbit/s"."""
    return f"{value / 1000:.3g} Gbit/s" if value >= 999.5 else f"{value:.3g} Mbit/s"  # noqa: PLR2004 - rounds to 1000


_MORE: Mapping[str, tuple[str, Callable[[float], str], str]] = {
    "throughput": ("throughput", rate, "Of 1 MiB over a new TCP connection; the darker, the more."),
    "longest_gap": (
        "longest gaps",
        words.moment,
        "The longest time without an answer on an open connection; the darker, the longer.",
    ),
}


def _sizes(paths: Sequence[Mapping[str, Any]], names: list[str], least: int) -> list[Grid]:
    """Return the largest packets. least: the size that the overlays need."""
    sizes = {(path["source"], path["target"]): path["size"] for path in paths if path["size"] is not None}
    note = "The largest packet that arrived unfragmented on the underlay, in bytes."
    note += f" ✗ The overlays need {least}." if any(size < least for size in sizes.values()) else ""
    if not sizes:
        return []
    grid = _values(
        "Path MTU", names, sizes, lambda size: f"✗ {size}" if size < least else str(size), note, unit=" bytes"
    )
    marked = [
        [replace(cell, level=0, kind="bad" if "✗" in cell.text else cell.kind) for cell in row] for row in grid.cells
    ]
    return [replace(grid, cells=marked)]


def _losses(paths: Sequence[Mapping[str, Any]], names: list[str]) -> list[Grid]:
    """Return the loss on the worst port of each path."""
    losses = {
        (path["source"], path["target"]): max(path["ports"], key=lambda port: port["lost"])
        for path in paths
        if path["ports"]
    }
    if not losses:
        return []
    title, note = "Packet loss", "Packets lost on the underlay, on the worst port of each path; the darker, the more."
    if not any(port["lost"] for port in losses.values()):
        return [Grid(title, names, (), note, open=False, same="no packet was lost on any path")]

    def cell(way: Way) -> Cell:
        port = losses.get(way)
        if port is None:
            return Cell("?", kind="none", note="not measured")
        lost, what = port["lost"], f"{port['port']}/{port['protocol']}"
        if not lost:
            return Cell("0 %")
        return Cell(f"✗ {lost} %", min(_LEVELS, 1 + lost * _LEVELS // 101), "bad", f"{what} {_at(port)}")

    return [Grid(title, names, _rows(names, cell), note, open=True)]


def _at(port: Mapping[str, Any]) -> str:
    return f"at {port['at']}" if port["at"] else "between the hosts"


def _values(
    title: str,
    names: list[str],
    values: Mapping[Way, float],
    text: Callable[[float], str],
    note: str,
    *,
    unit: str = "",
) -> Grid:
    """Return a table of numbers, or a sentence if all are equal."""
    complete = len(values) == len(names) * (len(names) - 1)
    if complete and len(set(values.values())) == 1:
        return Grid(title, names, (), note, open=False, same=f"{text(next(iter(values.values())))}{unit} on every path")

    level = _scale(values.values())

    def cell(way: Way) -> Cell:
        if way not in values:
            return Cell("?", kind="none", note="not measured")
        return Cell(text(values[way]), level(values[way]))

    return Grid(title, names, _rows(names, cell), note, open=len(set(values.values())) > 1)


def _rows(names: list[str], cell: Callable[[Way], Cell]) -> list[list[Cell]]:
    blank = Cell("·", kind="self")
    return [[blank if row == column else cell((row, column)) for column in names] for row in names]


def _scale(values: Collection[float]) -> Callable[[float], int]:
    """Return the function from a value to its level, on a logarithmic scale."""
    least = max(min(values, default=0.0), 1e-9)
    spread = math.log(max(max(values, default=0.0) / least, _SPREAD))

    def level(value: float) -> int:
        return min(_LEVELS, 1 + int(_LEVELS * math.log(max(value, least) / least) / spread))

    return level
