"""The lines of an inventory that name a host, for people who remove the host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from provisioner.inventory import document as yaml

if TYPE_CHECKING:
    from pathlib import Path

    from provisioner.inventory.problems import Location


def lines_about(path: Path, host: str) -> tuple[str, ...]:
    """The places that name a host, such as "lines 4-6" and "line 9 (store.servers)". Empty if the file can't be read."""
    document = yaml.read(path)
    if not isinstance(document.value, dict):
        return ()
    lines = []
    entry: Location = ("hosts", host)
    if entry in document.places:
        first = document.places[entry].key[0]
        starts = (place.key[0] for at, place in document.places.items() if at[:1] != entry[:1] or len(at) == len(entry))
        before = min((line for line in starts if line > first), default=None)  # the next entry in the file
        inside = (place.value[0] for at, place in document.places.items() if at[: len(entry)] == entry)
        # Lines of a merged mapping are elsewhere in the file, and do not count.
        last = max(line for line in inside if line >= first and (before is None or line < before))
        lines.append(f"line {first}" if first == last else f"lines {first}-{last}")
    for at, place in sorted(document.places.items(), key=lambda item: item[1].value):
        listed = len(at) > 1 and isinstance(at[-1], int) and _value(document.value, at) == host
        if listed or (at[-1:] == (host,) and at[0] == "networks" and len(at) > len(entry)):
            lines.append(f"line {place.key[0]} ({'.'.join(map(str, at[:-1]))})")
    return tuple(lines)


def _value(value: Any, location: Location) -> Any:
    for part in location:
        value = value[part]
    return value
