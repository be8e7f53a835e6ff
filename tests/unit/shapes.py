"""The shape of a host's facts: sections and kinds of entries, without the values that differ between hosts."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

Shape = dict[str, set[str]]


def shape(raw: Mapping[str, str]) -> Shape:
    """Section -> its kinds of entries."""
    return {name: _kinds(name, body) for name, body in raw.items()}


def differences(committed: Mapping[str, str], today: Mapping[str, str]) -> list[str]:
    """Describes where the shapes differ."""
    old, new = shape(committed), shape(today)
    kinds = [f"{name}: {kind} is {'new' if kind in new.get(name, ()) else 'gone'}"
            for name in sorted({*old, *new}) for kind in sorted(old.get(name, set()) ^ new.get(name, set()))]  # fmt: skip
    return kinds + [f"the section {name} is {'new' if name in new else 'gone'}" for name in sorted({*old} ^ {*new})]


def _kinds(section: str, body: str) -> set[str]:
    lines = [line for line in body.split("\n") if line]
    if section.startswith("http:"):
        code, _, text = body.partition(" ")
        try:
            return {code, *_keys(json.loads(text))}
        except ValueError:
            return {code}
    if section == "units":
        return {f"{key} of {unit}" for unit, keys in _units(body).items() for key in keys}
    if section in _FORMS:
        return {_FORMS[section](line) for line in lines}
    return {"something"} if lines else set()


def _units(body: str) -> dict[str, list[str]]:
    blocks = [[line.partition("=")[::2] for line in block.split("\n") if line] for block in body.split("\n\n")]
    return {dict(block).get("Id", ""): [key for key, _ in block] for block in blocks if block}


def _keys(value: Any, at: str = "") -> set[str]:
    """The paths of values in JSON. A key with a digit, dot or slash is a name (ID, address, option): `*` replaces it."""
    if isinstance(value, dict):
        lasting = {key: each for key, each in value.items() if not _PASSING.fullmatch(key)}
        return {
            found
            for key, each in lasting.items()
            for found in _keys(each, f"{at}.{'*' if re.search('[0-9./]', key) else key}")
        }
    if isinstance(value, list):
        return {found for each in value for found in _keys(each, f"{at}[]")}
    return {at} if at else set()


# etcd omits a rate of exactly zero (omitempty), so the key's presence depends on the traffic of the last seconds.
_PASSING = re.compile("(send|recv)(Pkg|Bandwidth)Rate")


def _path(line: str) -> str:
    return re.sub(r"^(/sys/class/net/)[^/]+", r"\1*", line.partition(":")[0])


_FORMS = {
    "system": lambda line: (
        line.partition("=")[0] + (f"={line.split('=')[1].split()[0]}" if line.startswith("program=") else "")
    ),
    "files": _path,
    "secrets": lambda line: line if line.startswith("=") else _path(line),
    "guarded": _path,
    "sums": lambda line: line.partition("  ")[2],
    "ports": lambda line: " ".join(line.split()[: 1 if line.startswith("owner") else 2]),
    "addresses": lambda line: f"{len(line.split())} words",
    "firewall": str,
}
