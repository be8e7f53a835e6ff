"""What an output stream supports, and a writer whose errors never end a run."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TextIO

from provisioner.report.words import ASCII, UNICODE

if TYPE_CHECKING:
    from collections.abc import Callable

    from provisioner.report.words import Marks


class SafeStream:
    """A stream that tolerates a closed reader and characters that its encoding lacks."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._gone = False
        self.encoding = encoding(stream)

    def write(self, text: str) -> int:
        shown = text.encode(self.encoding, "replace").decode(self.encoding, "replace")
        self._try(lambda: self._stream.write(shown))
        return len(text)

    def flush(self) -> None:
        self._try(self._stream.flush)

    def isatty(self) -> bool:
        return is_terminal(self._stream)

    def fileno(self) -> int:
        return self._stream.fileno()

    def _try(self, act: Callable[[], object]) -> None:
        if self._gone:
            return
        try:
            act()
        except BrokenPipeError:
            self._gone = True
            self._point_nowhere()
        except (OSError, ValueError):  # the terminal was closed, or the stream was
            self._gone = True

    def _point_nowhere(self) -> None:
        """Redirect buffered output to /dev/null: else Python reports an error at exit and changes the exit code."""
        try:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
        except (OSError, ValueError):
            return


def encoding(stream: TextIO) -> str:
    return getattr(stream, "encoding", None) or "utf-8"


def is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


def is_lively(stream: TextIO) -> bool:
    """Whether lines can be redrawn in place."""
    return is_terminal(stream) and os.environ.get("TERM", "") not in {"", "dumb", "unknown"}


def is_colourful(stream: TextIO, *, color: bool | None) -> bool:
    """Whether to use colour: `color` if given, else on a capable terminal unless NO_COLOR is set (no-color.org)."""
    if color is not None:
        return color
    return is_lively(stream) and not os.environ.get("NO_COLOR")


def marks(stream: TextIO) -> Marks:
    try:
        f"{UNICODE.ok}{UNICODE.bad}{UNICODE.none}{UNICODE.dots}{UNICODE.spinner}".encode(encoding(stream))
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return UNICODE
