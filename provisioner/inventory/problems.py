"""Problems with their positions, in text that is safe on a terminal."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic_core import PydanticCustomError

from provisioner.errors import InventoryError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

Location = tuple[str | int, ...]
"""The path from the top of the file to a value: ("hosts", "node1", "port")."""

_LONGEST = 60  # characters of a value that a message shows
_SHORTEST = 3  # characters of an abbreviation
_PLAIN = re.compile(r"[A-Za-z0-9_./:@~-]+(?: [A-Za-z0-9_./:@~-]+)*")


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One problem. `line` and `column` start at 1; 0 means the whole file."""

    line: int
    column: int
    text: str

    def located(self, path: str) -> str:
        """Return `path:line:column: text`, the form of compilers and editors."""
        return f"{path}:{self.line}:{self.column}: {self.text}" if self.line else f"{path}: {self.text}"


def invalid(path: Path | str, problems: Iterable[Problem]) -> InventoryError:
    """Return the error of a file with these problems, in the order of the file."""
    name, found = escaped(str(path)), sorted(set(problems))
    places = ((problem.line, problem.column, problem.text) for problem in found)
    return InventoryError(name, tuple(problem.located(name) for problem in found), places)


def refusal(text: str) -> PydanticCustomError:
    """Return an error whose text reaches the user unchanged."""
    return PydanticCustomError("refused", "{text}", {"text": text})


def shown(value: object, longest: int = _LONGEST) -> str:
    """Return a value for messages: quoted, escaped and short, so no terminal escape passes."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if not isinstance(value, str):
        return "a list" if isinstance(value, list) else "a mapping"
    return repr(value if len(value) <= longest else value[: longest - 3] + "...")


def code(text: str) -> str:
    """Return a key, name or piece of YAML in backticks; unusual characters are escaped."""
    return f"`{text}`" if _plain(text) else shown(text)


def _plain(text: str) -> bool:
    return len(text) <= _LONGEST and bool(_PLAIN.fullmatch(text))


def escaped(text: str) -> str:
    """Return text of other programs on one line, with unprintable characters escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def dotted(location: Location) -> str:
    """`hosts.node1.port`; parts with unusual characters are escaped."""
    return ".".join(str(p) if isinstance(p, int) or _plain(p) else shown(p) for p in location)


def closest(word: str, known: Iterable[str]) -> str:
    """Return the most similar known word, ignoring case; else the only one that `word` abbreviates; or nothing."""
    from difflib import get_close_matches

    by_lower = {name.lower(): name for name in known}
    lower = word[:_LONGEST].lower()
    found = get_close_matches(lower, by_lower, n=1, cutoff=0.65)
    short = lower.removesuffix("s")  # `certs` for certificates
    if not found and len(short) >= _SHORTEST:
        found = [name for name in by_lower if name.startswith(short)]
    return by_lower[found[0]] if len(found) == 1 else ""


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean ...?` with the closest of the known words, or nothing."""
    found = closest(word, known)
    return f"; did you mean {code(found)}?" if found else ""
