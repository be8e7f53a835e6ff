"""Versions of the engine: up to 20.10, engines can share an external store; from 23.0 on, they need swarm mode."""

from __future__ import annotations

import re
from typing import Final

from provisioner.errors import InventoryError
from provisioner.inventory.problems import shown

TODAY: Final = "23.0 or later"
_LAST_WITH_STORE = 20  # 20.10 is the last with cluster-store; 23.0 removed it (moby PR 42247)


def has_no_store(engine: str) -> bool:
    """Return whether an engine of this version does not support external stores. An unknown version counts as one that does."""
    major = re.match("[0-9]{1,6}", engine)
    return major is not None and int(major[0]) > _LAST_WITH_STORE


def all_have_store(named: str) -> bool:
    """Return whether all versions in a text, such as "20.10" or "19.03 and 28.5", support external stores.

    Raises InventoryError if the text contains no version.
    """
    versions = re.findall(r"[0-9]{1,6}(?:\.[0-9]+)*", named)
    if not versions:
        text = f"Docker's version: {shown(named)} is none; write one, such as 28.5 or 20.10"
        raise InventoryError("Docker's version", (text,))
    return not any(map(has_no_store, versions))
