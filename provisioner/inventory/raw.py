"""The values of an inventory as they stand in the file, for checks of what they must be together.

What is no sound value by itself is told already, and is as if it were not there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from pydantic_core import PydanticCustomError

from provisioner.inventory import values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from provisioner.inventory.document import Document
    from provisioner.inventory.problems import Location

T = TypeVar("T")


def dots(location: Location) -> str:
    return ".".join(str(part) for part in location)


def part(document: Document, key: str) -> dict[str, Any]:
    found = document.value.get(key)
    return found if isinstance(found, dict) else {}


def entries(document: Document, key: str) -> dict[str, dict[str, Any]]:
    """The hosts or networks that are mappings, by name."""
    return {name: entry for name, entry in part(document, key).items() if isinstance(entry, dict)}


def value(document: Document, location: Location) -> Any:
    found = document.value
    for key in location:
        found = found.get(key) if isinstance(found, dict) else None
    return found


def sound(check: Callable[[object], T], item: object) -> T | None:
    """The checked value, or None where it is not there or told to be wrong already."""
    try:
        return None if item is None else check(item)
    except PydanticCustomError:
        return None


def line(document: Document, location: Location) -> int:
    return document.place(location).key[0]


def literals(hosts: dict[str, dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """The hosts that advertise an address of their own, with it."""
    for name, entry in hosts.items():
        word = sound(values.advertise, entry.get("advertise"))
        if word and values.is_literal(word):
            yield name, word
