"""Strict parsers for the output of hosts. A malformed value is an error of the host that sent it. Pure.

Python's own parsers are too lenient for untrusted hosts: `int` and `isdigit` accept the digits of every script. `json`
accepts NaN, integers of any length, lone surrogates, duplicate keys, and nesting until the stack overflows.
"""

from __future__ import annotations

import json
import math
import re
from contextlib import contextmanager
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

from provisioner.errors import Malformed
from provisioner.transport.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterator

UNFIT = (ValueError, RecursionError)  # the exceptions of other JSON parsers for such a text
_DIGITS = 20  # of the largest 64-bit integer
_DEEPEST = 100  # levels; an engine's /info has 7
_SHOWN = 200  # characters of an answer that an error shows


def number(text: str) -> int:
    """Parse a whole number of at most 20 ASCII digits. Raises ValueError."""
    if not re.fullmatch(rf"[0-9]{{1,{_DIGITS}}}", text):
        raise ValueError(f"{shown(text, 40)!r} is not a whole number")
    return int(text)


def decimal(text: str) -> float:
    """Parse a number of seconds such as "12" or "0.25", in ASCII digits. Raises ValueError."""
    if not re.fullmatch(rf"[0-9]{{1,{_DIGITS}}}(?:\.[0-9]{{0,{_DIGITS}}})?", text):
        raise ValueError(f"{shown(text, 40)!r} is not a number of seconds")
    return float(text)


def value(text: str) -> Any:
    """Parse a JSON text. Raises ValueError, also for valid JSON that no engine or store writes."""
    try:
        found = json.loads(
            text, parse_constant=_constant, parse_int=_integer, parse_float=_float, object_pairs_hook=_unique
        )
    except RecursionError:
        raise ValueError(f"it nests deeper than {_DEEPEST} levels") from None
    level = [found]
    for _ in range(_DEEPEST):
        level = [inner for outer in level for inner in _inside(outer)]
    if level:
        raise ValueError(f"it nests deeper than {_DEEPEST} levels")
    if "\\u" in text and re.search("[\ud800-\udfff]", json.dumps(found, ensure_ascii=False)):
        raise ValueError("it has a lone surrogate")
    return found


def json_object(text: str) -> dict[str, Any]:
    """Parse a JSON object; {} if the text is anything else."""
    try:
        found = value(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def inside(found: object, *keys: str) -> dict[str, Any]:
    """Return the object under these nested keys; {} if one of them is missing or holds something else."""
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def shown(text: str, most: int = _SHOWN) -> str:
    """Return the beginning of a host's output, without characters that could control a terminal."""
    harmless = clean(text[: 4 * most].encode(errors="replace"))
    return harmless if len(harmless) <= most else harmless[:most] + "..."


@contextmanager
def understood(what: str, said: str, cure: str = "") -> Iterator[None]:
    """Turn a parser's error inside the block into Malformed.

    what: what was read, as the subject of a sentence. said: the host's output, or "" if it may be secret.
    """
    try:
        yield
    except (ValueError, IndexError) as error:
        words = isinstance(error, IndexError) or "to unpack" in str(error)
        raise malformed(what, "it has the wrong number of words" if words else str(error), said, cure) from None


def malformed(what: str, why: str, said: str = "", cure: str = "") -> Malformed:
    cure = cure or "check this on the host, repair it, and run again"
    return Malformed(f"{what} can't be understood: {shown(why)}", answer=shown(said), cure=cure)


def _inside(found: object) -> Iterator[object] | list[object]:
    if isinstance(found, dict):
        return iter(found.values())
    return found if isinstance(found, list) else []


def _constant(word: str) -> None:
    raise ValueError(f"{word} is not a JSON number")


def _integer(text: str) -> int:
    if len(text) > _DIGITS:
        raise ValueError(f"it has a number of {len(text)} digits")
    return int(text)


def _float(text: str) -> float:
    if not math.isfinite(found := float(text)):
        raise ValueError(f"{shown(text, 40)} is too large a number")
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {shown(twice, 40)} appears twice")
    return found


def literal(text: str) -> IPv4Address | None:
    """Parse an IPv4 address; None for a name, an IPv6 address or anything else."""
    try:
        return IPv4Address(text)
    except ValueError:
        return None
