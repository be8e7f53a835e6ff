"""What is wrong and where, in words that are safe on a terminal."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic_core import PydanticCustomError

if TYPE_CHECKING:
    from collections.abc import Iterable

Location = tuple[str | int, ...]
"""The way from the top of the file to a value: ("hosts", "node1", "port")."""

_LONGEST = 60  # characters of a value that a message shows
_PLAIN = re.compile(r"[A-Za-z0-9_./:@~-]+(?: [A-Za-z0-9_./:@~-]+)*")


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong. `line` and `column` count from 1; 0 is the file as a whole."""

    line: int
    column: int
    text: str

    def told(self, path: str) -> str:
        """`path:line:column: text`, as compilers and editors have it."""
        return f"{path}:{self.line}:{self.column}: {self.text}" if self.line else f"{path}: {self.text}"


def refusal(text: str) -> PydanticCustomError:
    """An error whose text reaches the user as it is, whatever characters it holds."""
    return PydanticCustomError("refused", "{text}", {"text": text})


def shown(value: object, longest: int = _LONGEST) -> str:
    """A value of the file as messages show it: quoted, escaped and short, so that no terminal escape gets through."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if not isinstance(value, str):
        return "a list" if isinstance(value, list) else "a mapping"
    return repr(value if len(value) <= longest else value[: longest - 3] + "...")


def code(text: str) -> str:
    """A key, name or piece of YAML in backticks; one with unusual characters escaped."""
    return f"`{text}`" if _plain(text) else shown(text)


def _plain(text: str) -> bool:
    return len(text) <= _LONGEST and bool(_PLAIN.fullmatch(text))


def escaped(text: str) -> str:
    """Text of other programs on one line, with all that does not print written as an escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def dotted(location: Location) -> str:
    """`hosts.node1.port`; parts with unusual characters are escaped."""
    return ".".join(str(p) if isinstance(p, int) or _plain(p) else shown(p) for p in location)


def closest(word: str, known: Iterable[str]) -> str:
    """The known word that is most like this one, whatever the case; nothing where none is close."""
    from difflib import get_close_matches

    by_lower = {name.lower(): name for name in known}
    found = get_close_matches(word[:_LONGEST].lower(), by_lower, n=1, cutoff=0.65)
    return by_lower[found[0]] if found else ""


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean ...?` with the closest of the known words, or nothing."""
    found = closest(word, known)
    return f"; did you mean {code(found)}?" if found else ""
