"""Host names for an inventory, derived from the names in other tools."""

from __future__ import annotations

import ipaddress
import re

from provisioner.inventory.values import LABEL

_LONGEST = 63


def tidied(names: list[str]) -> list[str]:
    """Return a valid, unique name for each: lower-case letters, digits and `-`, in the same order.

    Valid names stay. Of a full domain name, only the first label is used if it is unique.
    """
    labels = [_label(name.split(".")[0]) if _is_domain(name) else _label(name) for name in names]
    plain = [label if labels.count(label) == 1 else _label(name) for label, name in zip(labels, names, strict=True)]
    taken = {name for name in names if LABEL.fullmatch(name)}
    result: list[str] = []
    for label, name in zip(plain, names, strict=True):
        free = name if name in taken and name not in result else _free(label, taken | set(result))
        result.append(free)
    return result


def _is_domain(name: str) -> bool:
    return "." in name and not _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _label(name: str) -> str:
    """The nearest valid label. An address gets a prefix, so that it is not taken for a number."""
    bare = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:_LONGEST].strip("-")
    return f"host-{bare}"[:_LONGEST] if _is_address(name) or not bare else bare


def _free(label: str, taken: set[str]) -> str:
    label = label.strip("-")
    if label not in taken:
        return label
    number = 2
    while (free := f"{label[: _LONGEST - 5].strip('-')}-{number}") in taken:
        number += 1
    return free
