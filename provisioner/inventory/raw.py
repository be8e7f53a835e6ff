"""The raw values of an inventory, for checks between values.

Invalid values are already reported and count as absent.
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
    """Return the checked value, or None if it is absent or invalid."""
    try:
        return None if item is None else check(item)
    except PydanticCustomError:
        return None


def line(document: Document, location: Location) -> int:
    return document.place(location).key[0]


def literals(hosts: dict[str, dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Return the hosts that advertise an address, with the address."""
    for name, entry in hosts.items():
        word = sound(values.advertise, entry.get("advertise"))
        if word and values.is_literal(word):
            yield name, word
