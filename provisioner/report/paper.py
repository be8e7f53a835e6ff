"""A console for the output stream, and helpers that lay out the lines of a report.

rich never parses data as markup: every line is a `Text`, assembled from pieces and their styles.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO, cast

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleDimensions
from rich.text import Text

from provisioner.report import stream as streams
from provisioner.report import words

if TYPE_CHECKING:
    from collections.abc import Iterable

    from provisioner.report.words import Marks

GOOD, BAD, CARE, QUIET, HEAD = "green", "red", "yellow", "dim", "bold"
_WIDE = 120  # columns if the output is not a terminal
_NARROWEST = 20


class Terminal(Console):
    """rich's console, but with the size of its own stream, not of stdin."""

    @property  # type: ignore[misc]  # writable in rich; nothing here sets it
    def size(self) -> ConsoleDimensions:
        columns, lines = 0, 0
        try:
            columns, lines = os.get_terminal_size(self.file.fileno())
        except (OSError, ValueError, AttributeError):
            given = os.environ.get("COLUMNS", "")
            columns = int(given) if given.isdigit() else 0
        fallback = 80 if self.is_terminal else _WIDE
        return ConsoleDimensions(columns or fallback, lines or 25)


def console(stream: TextIO, *, color: bool | None = None) -> Terminal:
    colourful = streams.is_colourful(stream, color=color)
    terminal = streams.is_terminal(stream)
    return Terminal(
        file=cast("TextIO", streams.SafeStream(stream)),
        force_terminal=terminal,
        force_interactive=terminal,
        color_system="standard" if colourful else None,  # the sixteen colours of the user's own theme
        no_color=not colourful,
        markup=False,
        highlight=False,
        emoji=False,
        legacy_windows=False,
    )


@dataclass(frozen=True, slots=True)
class Look:
    """How to lay out text on the output. wrap: break prose at `width`; false for files and pipes. diff: show all texts as diffs."""

    marks: Marks
    width: int = 80
    wrap: bool = True
    verbose: bool = False
    diff: bool = False

    def prose(self, first: Text, body: str, style: str = "") -> list[Text]:
        """Return `first` followed by `body`, wrapped with a hanging indent as wide as `first`."""
        room = self.width - first.cell_len
        if not self.wrap or room < _NARROWEST:
            return [first + Text(body, style)]
        rows = _broken(body.split(), room)
        indent = Text(" " * first.cell_len)
        return [(indent if number else first) + Text(row, style) for number, row in enumerate(rows or [""])]


def _broken(pieces: Iterable[str], room: int) -> list[str]:
    rows: list[str] = []
    for piece in pieces:
        if rows and cell_len(rows[-1]) + 1 + cell_len(piece) <= room:
            rows[-1] += f" {piece}"
        else:
            rows.append(piece)
    return rows


def fit(text: str, width: int, marks: Marks) -> str:
    """Return the text in exactly `width` cells: padded, or cut with dots."""
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    dots = marks.dots if width > len(marks.dots) else ""
    return set_cell_size(text, width - len(dots)) + dots


def widest(texts: Iterable[str], most: int = 1000) -> int:
    return min(max((cell_len(text) for text in texts), default=0), most)


def heading(text: str) -> list[Text]:
    return [Text(), Text(words.line(text), HEAD)]
