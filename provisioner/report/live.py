"""Progress on a terminal: a row for each host, redrawn in place. Each ended phase is printed above as one line."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, TextIO

from rich.live import Live
from rich.text import Text

from provisioner.model import Asking, CommandEnded, Notice, State
from provisioner.report import stream as streams
from provisioner.report import words
from provisioner.report.board import Board
from provisioner.report.paper import BAD, CARE, GOOD, HEAD, QUIET, console, fit, widest
from provisioner.report.plain import COMMANDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from provisioner.model import Event
    from provisioner.report.board import Closed, Phase, Row

_PER_SECOND = 6
_HEADERS = 3  # running phases that are shown
_LOWEST = 6  # lines that are used even if they fill most of the terminal
_NARROW = 50  # columns below which a host's phase is omitted
_STYLES = {
    State.SETTLED: GOOD,
    State.CONVERGED: GOOD,
    State.DRIFTED: CARE,
    State.PENDING: CARE,
    State.FAILED: BAD,
    State.SKIPPED: QUIET,
}
_COUNTED = {
    State.CONVERGED: ("changed", GOOD),
    State.DRIFTED: ("drifted", CARE),
    State.PENDING: ("can't be known yet", CARE),
    State.SKIPPED: ("skipped", QUIET),
    State.FAILED: ("failed", BAD),
}


class LiveObserver:
    """Draws the board with rich, whose own thread redraws it. `event` only prints ended phases.

    No code takes rich's lock while it holds the board's, so the two threads can't deadlock.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        color: bool | None = None,
        verbose: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._board = Board(clock)
        self._marks = streams.marks(stream)
        self._verbose = verbose
        self._console = console(stream, color=color)
        self._closed = False
        self._live = Live(
            console=self._console,
            get_renderable=self._draw,
            refresh_per_second=_PER_SECOND,
            transient=True,
            vertical_overflow="crop",
            redirect_stdout=False,  # a program may read standard output
            redirect_stderr=stream is sys.stderr,
        )
        self._live.start()

    def event(self, event: Event) -> None:
        if self._closed:  # from a thread that outlived an interrupted run
            return
        closed = self._board.take(event)
        if isinstance(event, Asking):
            self._live.start() if event.ended else self._live.stop()
        elif isinstance(event, Notice):
            self._print(Text(words.line(event.text)))
        elif isinstance(event, CommandEnded) and self._verbose >= COMMANDS:
            self._print(Text(words.command(event), QUIET))
        elif closed is not None:
            self._print(*self._over(closed))

    def close(self, *, stopped: bool) -> None:
        """Erase the rows. stopped: print what was still running."""
        if self._closed:
            return
        self._closed = True
        self._live.stop()
        now, phases, rows = self._board.look()
        for phase in phases if stopped else ():
            busy = [row for row in rows if row.phase == phase.name and row.state is None]
            doing = words.some([row.host + (f" ({row.text})" if row.text else "") for row in busy])
            took = words.seconds(now - phase.began, 1)
            text = f" {words.line(phase.name)}   stopped after {took}{': ' if doing else ''}{doing}"
            self._print(Text.assemble((self._marks.bad, BAD), text))

    def _print(self, *lines: Text) -> None:
        for line in lines:
            self._console.print(line, soft_wrap=True)

    def _over(self, closed: Closed) -> list[Text]:
        failed = State.FAILED in closed.states.values()
        line = Text.assemble(
            (self._marks.bad, BAD) if failed else (self._marks.ok, GOOD),
            f" {words.line(closed.name):<14}",
            f" {words.count(len(closed.hosts), 'host'):>8}   {words.seconds(closed.seconds, 1):>6}",
        )
        states = list(closed.states.values())
        for state, (word, style) in _COUNTED.items():
            if states.count(state):
                line.append("   ").append(f"{states.count(state)} {word}", style)
        errors = [(host, error) for host, error in closed.errors.items()]
        shown = errors if self._verbose else errors[:5]
        lines = [line, *(Text(f"  {words.line(host)}: {error}", BAD) for host, error in shown)]
        if len(errors) > len(shown):
            lines.append(Text(f"  {self._marks.dots} and {len(errors) - len(shown)} more", BAD))
        return lines

    def _draw(self) -> Text:
        now, phases, rows = self._board.look()
        width, height = self._console.size
        heads = [self._head(phase, now, width) for phase in phases[-_HEADERS:]]
        room = max(height * 2 // 3, min(height - 1, _LOWEST))  # keeps the last printed lines visible above
        shown, left_out = _by_relevance(rows, max(room - len(heads) - 1, 1))
        lines = [*heads, *self._table(shown, now, width)]
        if left_out:
            lines.append(
                Text(fit(f"  {self._marks.dots} and {_summed(left_out)}", width - 1, self._marks).rstrip(), QUIET)
            )
        return Text("\n", no_wrap=True, overflow="crop").join(lines[:room])

    def _head(self, phase: Phase, now: float, width: int) -> Text:
        title = f"{phase.number}. {words.line(phase.name)}: {words.line(phase.title)}"
        done = f"  {len(phase.states)}/{len(phase.hosts)}  {words.seconds(now - phase.began, 1)}"
        return Text(fit(title, min(widest([title]), width - len(done) - 1), self._marks) + done, HEAD)

    def _table(self, rows: list[Row], now: float, width: int) -> list[Text]:
        name = widest((words.line(row.host) for row in rows), max(width // 4, 8))
        phase = widest((words.line(row.phase) for row in rows), 14) if width >= _NARROW else 0
        rest = max(width - 3 - name - 2 - (phase + 2 if phase else 0) - 11, 4)
        return [self._row(row, now, (name, phase, rest)) for row in rows]

    def _row(self, row: Row, now: float, widths: tuple[int, int, int]) -> Text:
        name, phase, rest = widths
        style = _STYLES[row.state] if row.state else "cyan"
        text = words.line(row.text) or (row.state.value if row.state else "")
        took = now - row.began if row.took is None else row.took
        line = Text.assemble((self._mark(row, now), style), f" {fit(words.line(row.host), name, self._marks)}")
        if phase:
            line.append(f"  {fit(words.line(row.phase), phase, self._marks)}", QUIET)
        line.append(f"  {fit(text, rest, self._marks)}", style if row.state is State.FAILED else "")
        return line.append(f" {words.seconds(took, 1):>9}", QUIET)

    def _mark(self, row: Row, now: float) -> str:
        if row.state is None:
            return self._marks.spinner[int(now * _PER_SECOND) % len(self._marks.spinner)]
        if row.state is State.FAILED:
            return self._marks.bad
        return self._marks.none if row.state in (State.SKIPPED, State.PENDING) else self._marks.ok


def _by_relevance(rows: list[Row], most: int) -> tuple[list[Row], list[Row]]:
    """Return the rows to show and those left out. If not all fit, busy and failed hosts come first."""
    if len(rows) <= most:
        return rows, []
    order = sorted(range(len(rows)), key=lambda at: (_rank(rows[at]), at))
    return [rows[at] for at in order[:most]], [rows[at] for at in order[most:]]


def _rank(row: Row) -> int:
    if row.state is None:
        return 0
    return 1 if row.state is State.FAILED else 2


def _summed(rows: list[Row]) -> str:
    """Return "37 settled", "3 busy, 34 settled"."""
    busy = sum(row.state is None for row in rows)
    failed = sum(row.state is State.FAILED for row in rows)
    parts = ((busy, "busy"), (failed, "failed"), (len(rows) - busy - failed, "settled"))
    summary = ", ".join(f"{number} {word}" for number, word in parts if number)
    return f"{len(rows)} more: {summary}" if busy or failed else summary
