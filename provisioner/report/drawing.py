"""The hosts and the paths between them as a drawing: positions and states, which templates/report.html.j2 draws. Pure.

The hosts are on a circle, and each pair of hosts is one line. A mark on a line shows where packets are lost: near the host that drops
them, or halfway. The numbers at hosts and lines are those of the causes.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from provisioner.report.junit import failures_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_FEW = 10  # with more hosts, labels are turned, and a host that drops packets has no marks beside it
_MOST_MARKS = 40
_LABEL, _TURNED = 18, 16  # characters of a host's name
_BLOCKED, _NOISE = 90, 15  # percent: from here on, a port counts as blocked; below, losses are not shown
_HEADERS = 50  # bytes that VXLAN adds
_NEAR, _HALFWAY = 0.24, 0.5  # where a mark is, as a share of the line


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong from one host to another. bad: nothing passes. at: the host that drops the packets; "": between, or unknown."""

    source: str
    target: str
    what: str
    bad: bool
    at: str = ""
    known: bool = False  # whether `at` was observed

    @property
    def where(self) -> str:
        return f"at {self.at}" if self.at else "between the hosts" if self.known else ""


@dataclass(frozen=True, slots=True)
class Node:
    name: str
    label: str
    x: float
    y: float
    text_x: float
    text_y: float
    anchor: str
    turn: float  # degrees
    state: str  # "good" | "bad" | "warn" | "lost"
    numbers: str = ""  # of its causes


@dataclass(frozen=True, slots=True)
class Line:
    x1: float
    y1: float
    x2: float
    y2: float
    state: str
    title: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A cross on a line, or with `numbers` the numbers of causes."""

    x: float
    y: float
    title: str
    numbers: str = ""


@dataclass(frozen=True, slots=True)
class Drawing:
    width: int
    height: int
    radius: int  # of a host
    nodes: Sequence[Node]
    lines: Sequence[Line]
    marks: Sequence[Mark]
    troubles: Sequence[Trouble]
    measured: bool  # whether any path was tried
    cluster: str = ""  # the numbers of causes that concern no single host

    @property
    def quiet(self) -> str:
        """The lines without trouble, as one path of SVG."""
        return " ".join(f"M{at.x1:g} {at.y1:g}L{at.x2:g} {at.y2:g}" for at in self.lines if at.state == "good")


@dataclass
class _Places:
    """Positions of the hosts."""

    names: Sequence[str]
    at: dict[str, tuple[float, float, float]] = field(default_factory=dict)  # x, y, angle
    width: float = 0.0
    height: float = 0.0

    def __post_init__(self) -> None:
        number = len(self.names)
        few = number <= _FEW
        ring = {0: 0.0, 1: 0.0, 2: 110.0}.get(number, 128.0 if few else max(150.0, number * 28 / math.tau))
        longest = max((len(cut(name, _LABEL if few else _TURNED)) for name in self.names), default=0)
        side = 34 + 7 * longest  # what a turned label takes
        across, down = (50 + 8 * longest, 44) if few else (side, side)
        begin = math.pi if number == 2 else -math.pi / 2  # noqa: PLR2004 - two hosts side by side
        angles = [begin + math.tau * place / max(number, 1) for place in range(number)]
        xs, ys = [ring * math.cos(angle) for angle in angles], [ring * math.sin(angle) for angle in angles]
        left, top = min(xs, default=0) - across, min(ys, default=0) - down
        self.width, self.height = max(xs, default=0) + across - left, max(ys, default=0) + down - top
        self.at = {name: (xs[at] - left, ys[at] - top, angles[at]) for at, name in enumerate(self.names)}

    def between(self, source: str, target: str, share: float) -> tuple[float, float]:
        (x1, y1, _), (x2, y2, _) = self.at[source], self.at[target]
        return round(x1 + (x2 - x1) * share, 1), round(y1 + (y2 - y1) * share, 1)


def drawing(document: Mapping[str, Any]) -> Drawing:
    places = _Places(document["hosts"])
    found = [each for each in troubles(document) if each.source in places.at and each.target in places.at]
    at_hosts, on_paths, cluster = _numbers(document, places)
    few = len(places.names) <= _FEW
    return Drawing(
        round(places.width),
        round(places.height),
        10 if few else 6,
        tuple(
            _node(name, places, _state(document, name, at_hosts), at_hosts.get(name, []), few=few)
            for name in places.names
        ),
        tuple(_lines(document, places, found)),
        tuple(_marks(places, found, on_paths, few=few)),
        found,
        bool(_tried(document)),
        ", ".join(cluster),
    )


# -- what is wrong -----------------------------------------------------------------------------------------------------


def troubles(document: Mapping[str, Any]) -> list[Trouble]:
    """Return what is wrong on each path, in the order of the document: on the underlay first, then on the overlays."""
    least = needed(document)
    found = [each for path in document["paths"] for each in _of_path(path, least)]
    known = {(each.source, each.target) for each in found if each.bad}
    for proof in document["proofs"]:
        for pair in proof["pairs"]:
            if not pair["proven"] and pair["source"] != pair["target"]:
                what = f"{proof['network']}: {', '.join(failures_of(pair))}"
                way = (pair["source"], pair["target"])
                if way not in known:
                    found.append(Trouble(*way, what, bad=True, at=_suspect(document, way)))
    return found


def _of_path(path: Mapping[str, Any], least: int) -> Iterator[Trouble]:
    ways = path["source"], path["target"]
    places: dict[tuple[bool, str], list[str]] = defaultdict(list)
    for port in path["ports"]:
        if port["lost"] >= _NOISE:
            bad = port["lost"] >= _BLOCKED
            share = "" if bad else f" {port['lost']} %"
            places[bad, port["at"]].append(f"{port['port']}/{port['protocol']}{share}")
    for (bad, at), ports in places.items():
        yield Trouble(*ways, f"{', '.join(ports)} lost", bad, at, known=True)
    if path["size"] is not None and path["size"] < least:
        yield Trouble(*ways, f"packets of up to {path['size']} bytes arrive, {least} are needed", bad=False)


def needed(document: Mapping[str, Any]) -> int:
    """Return the size of the largest packet that an overlay sends on the underlay; 0 if it is unknown."""
    sizes = [proof["mtu"] for proof in document["proofs"] if proof["pairs"] and proof["mtu"]]
    return max(sizes) + _HEADERS if sizes else 0


def _suspect(document: Mapping[str, Any], way: tuple[str, str]) -> str:
    """Return the end of a failed path at which a cause is, if it is only one of them."""
    ends = {name for cause in document["causes"] if not cause["path"] for name in cause["hosts"] if name in way}
    return ends.pop() if len(ends) == 1 else ""


def _tried(document: Mapping[str, Any]) -> set[frozenset[str]]:
    """Return the pairs of hosts between which something was tried."""
    ways = [*document["paths"], *(pair for proof in document["proofs"] for pair in proof["pairs"])]
    return {frozenset((way["source"], way["target"])) for way in ways}


# -- what is drawn -----------------------------------------------------------------------------------------------------


def _numbers(
    document: Mapping[str, Any], places: _Places
) -> tuple[dict[str, list[str]], dict[tuple[str, str], list[str]], list[str]]:
    """Return the numbers of the causes at hosts, on paths, and of the whole cluster."""
    at_hosts: dict[str, list[str]] = defaultdict(list)
    on_paths: dict[tuple[str, str], list[str]] = defaultdict(list)
    cluster: list[str] = []
    for number, cause in enumerate(document["causes"], start=1):
        path = (cause["path"]["from"], cause["path"]["to"]) if cause["path"] else None
        known = [name for name in cause["hosts"] if name in places.at]
        if path and set(path) <= set(places.at) and path[0] != path[1]:
            on_paths[path].append(str(number))
        elif known:
            for name in dict.fromkeys(known):
                at_hosts[name].append(str(number))
        else:
            cluster.append(str(number))
    return at_hosts, on_paths, cluster


def _state(document: Mapping[str, Any], name: str, at_hosts: Mapping[str, list[str]]) -> str:
    if name in document["lost"]:
        return "lost"
    severities = {document["causes"][int(number) - 1]["severity"] for number in at_hosts.get(name, [])}
    return "bad" if "error" in severities else "warn" if severities else "good"


def _node(name: str, places: _Places, state: str, numbers: list[str], *, few: bool) -> Node:
    x, y, angle = places.at[name]
    right, down = math.cos(angle), math.sin(angle)
    shown = ", ".join(numbers[:3]) + ("…" if len(numbers) > 3 else "")  # noqa: PLR2004
    if not few:
        left = right < 0
        turn = math.degrees(angle) + (180 if left else 0)
        away = 14 + (8 if numbers else 0)
        text = (x + away * right, y + away * down)
        label, anchor = cut(name, _TURNED), "end" if left else "start"
    else:
        sideways = abs(right) > 0.3  # noqa: PLR2004 - the label is beside the host, else above or below it
        away = 17 + 4 * len(shown)
        text = (x + away * (1 if right > 0 else -1), y + 5) if sideways else (x, y + (-19 if down < 0 else 29))
        label, turn, anchor = cut(name, _LABEL), 0.0, ("start" if right > 0 else "end") if sideways else "middle"
    return Node(
        name,
        label,
        round(x, 1),
        round(y, 1),
        round(text[0], 1),
        round(text[1], 1),
        anchor,
        round(turn, 1),
        state,
        shown,
    )


def _lines(document: Mapping[str, Any], places: _Places, found: Sequence[Trouble]) -> Iterator[Line]:
    """Yield the lines, the bad ones last, so that they are drawn over the others."""
    named = {
        frozenset(cause["path"].values())
        for cause in document["causes"]
        if cause["path"] and cause["severity"] == "error"
    }
    wrong: dict[frozenset[str], list[Trouble]] = defaultdict(list)
    for each in found:
        wrong[frozenset((each.source, each.target))].append(each)
    tried = _tried(document)
    lines = []
    for number, source in enumerate(places.names):
        for target in places.names[number + 1 :]:
            here = wrong.get(frozenset((source, target)), [])
            bad = any(each.bad for each in here) or frozenset((source, target)) in named
            state = "bad" if bad else "warn" if here else "good" if frozenset((source, target)) in tried else "unknown"
            ends = (*places.between(source, target, 0), *places.between(source, target, 1))
            lines.append(Line(*ends, state, "; ".join(map(sentence, here))))
    yield from sorted(lines, key=lambda line: ("unknown", "good", "warn", "bad").index(line.state))


def _marks(
    places: _Places, found: Sequence[Trouble], on_paths: Mapping[tuple[str, str], list[str]], *, few: bool
) -> Iterator[Mark]:
    """Yield the marks: one for each place on a line. With many hosts, a host that drops packets is marked itself."""
    marks: dict[tuple[float, float], list[str]] = defaultdict(list)
    numbered = {frozenset(way) for way in on_paths}
    for each in found:
        share = _NEAR if each.at == each.source else 1 - _NEAR if each.at == each.target else _HALFWAY
        if each.bad and (few or not each.at) and not (share == _HALFWAY and {each.source, each.target} in numbered):
            marks[places.between(each.source, each.target, share)].append(sentence(each))
    for (x, y), titles in marks.items() if len(marks) <= _MOST_MARKS else ():
        yield Mark(x, y, "; ".join(titles))
    for (source, target), numbers in on_paths.items():
        title = f"cause {', '.join(numbers)}: {source} to {target}"
        yield Mark(*places.between(source, target, _HALFWAY), title, ", ".join(numbers))


def sentence(trouble: Trouble) -> str:
    where = f", {trouble.where}" if trouble.where else ""
    return f"{trouble.source} to {trouble.target}: {trouble.what}{where}"


def cut(text: str, most: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"
