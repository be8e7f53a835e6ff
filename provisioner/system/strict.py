"""Values taken out of a host's words. Whatever has not its form is refused with the host's own error. Pure.

Python is lenient where hosts are not to be trusted: `int` and `isdigit` take digits of every script, `json` takes NaN,
integers of any length, half of a surrogate pair and the same key twice, and nests until the stack is full.
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

UNFIT = (ValueError, RecursionError)  # what other JSON readers raise on such a text
_DIGITS = 20  # those of the largest integer of 64 bits
_DEEPEST = 100  # an engine's /info nests to 7
_SHOWN = 200  # characters of an answer that an error shows


def number(text: str) -> int:
    """A whole number of at most 64 bits, in ASCII digits. Raises ValueError."""
    if not re.fullmatch(rf"[0-9]{{1,{_DIGITS}}}", text):
        raise ValueError(f"{shown(text, 40)!r} is not a whole number")
    return int(text)


def decimal(text: str) -> float:
    """A number of seconds such as "12" or "0.25", in ASCII digits. Raises ValueError."""
    if not re.fullmatch(rf"[0-9]{{1,{_DIGITS}}}(?:\.[0-9]{{0,{_DIGITS}}})?", text):
        raise ValueError(f"{shown(text, 40)!r} is not a number of seconds")
    return float(text)


def value(text: str) -> Any:
    """What a JSON text holds. Raises ValueError on all that engines and stores never write."""
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
        raise ValueError("it has half of a surrogate pair")
    return found


def json_object(text: str) -> dict[str, Any]:
    """The object in a JSON file; {} where it is none."""
    try:
        found = value(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def inside(found: object, *keys: str) -> dict[str, Any]:
    """The object under these keys, one inside the other; {} where one of them holds something else, or is not there."""
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def shown(text: str, most: int = _SHOWN) -> str:
    """The beginning of what a host says, harmless for a terminal."""
    harmless = clean(text[: 4 * most].encode(errors="replace"))
    return harmless if len(harmless) <= most else harmless[:most] + "..."


@contextmanager
def understood(what: str, said: str, cure: str = "") -> Iterator[None]:
    """What a host says is turned into values in here; what can't be raises Malformed.

    what: what was read, as the subject of a sentence. said: the words themselves, or "" where they may be secret.
    """
    try:
        yield
    except (ValueError, IndexError) as error:
        words = isinstance(error, IndexError) or "to unpack" in str(error)
        raise malformed(what, "it has not as many words as it should" if words else str(error), said, cure) from None


def malformed(what: str, why: str, said: str = "", cure: str = "") -> Malformed:
    cure = cure or "look at what the host says there, repair it, and run again"
    return Malformed(f"{what} can't be understood: {shown(why)}", answer=shown(said), cure=cure)


def _inside(found: object) -> Iterator[object] | list[object]:
    if isinstance(found, dict):
        return iter(found.values())
    return found if isinstance(found, list) else []


def _constant(word: str) -> None:
    raise ValueError(f"{word} is no number in JSON")


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
        raise ValueError(f"{shown(twice, 40)} is there twice")
    return found


def literal(text: str) -> IPv4Address | None:
    """An IPv4 address, or None for a name, an IPv6 address and anything else."""
    try:
        return IPv4Address(text)
    except ValueError:
        return None
