"""Which control plane: the inventory's, or with `auto` the one that all hosts' engines can take part in, and why."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from provisioner import stores
from provisioner.controlplane.swarm import state

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provisioner.inventory import Inventory
    from provisioner.system.facts import Facts

_LAST_WITH_STORE = 20  # 20.10 is the last with cluster-store; 23.0 removed it (moby PR 42247)
_NAMED = 3  # hosts that are named before "and N more"


def has_no_store(engine: str) -> bool:
    """Whether an engine of this version knows no external store any more; what is not known may."""
    major = re.match("[0-9]{1,6}", engine)
    return major is not None and int(major[0]) > _LAST_WITH_STORE


def choose(inventory: Inventory, facts: Mapping[str, Facts]) -> tuple[str, str]:
    """The control plane's name, and why it is this one; "" where the inventory says it.

    What is in use already stays: engines that are on the store, else those in a swarm, decide for the others.
    """
    if decided := _decided(inventory, facts):
        return decided
    if to_come := _without_engine(inventory, facts):
        return (
            "kv",
            f"no engine that is there speaks against it; one that is still to be installed may, on {_some(to_come)}",
        )
    return "kv", f"no engine is later than 20.10, and each has the driver for {stores.of(inventory.the_store).title}"


def undecided(inventory: Inventory, facts: Mapping[str, Facts]) -> bool:
    """Whether engines that are still to be installed may lead to another control plane than the one that is chosen."""
    return bool(_without_engine(inventory, facts)) and not _decided(inventory, facts)


def _without_engine(inventory: Inventory, facts: Mapping[str, Facts]) -> list[str]:
    return [name for name in inventory.hosts if name in facts and "dockerd" not in facts[name].programs]


def _decided(inventory: Inventory, facts: Mapping[str, Facts]) -> tuple[str, str] | None:
    """What the inventory or an engine that is there decides, and why; None: nothing speaks against an external store."""
    if inventory.control_plane != "auto":
        return inventory.control_plane, ""
    if not inventory.store:
        return "swarm", "the inventory names no store"
    names = [name for name in inventory.hosts if name in facts]
    title = stores.of(inventory.store).title
    if there := [name for name in names if facts[name].engine.get("ClusterStore")]:
        return "kv", f"on an external store already: {_some(there)}"
    if there := [name for name in names if state(facts[name]) not in {"", "inactive"}]:
        return "swarm", f"in a swarm already: {_some(there)}"
    if new := [name for name in names if has_no_store(facts[name].engine_version)]:
        versions = ", ".join(sorted({facts[name].engine_version for name in new}))
        return "swarm", f"engines from 23.0 on have no external store: {versions} on {_some(new)}"
    if lacking := [name for name in names if "dockerd" in facts[name].programs and not facts[name].store_driver]:
        return "swarm", f"built without the driver for {title}: the engine of {_some(lacking)}"
    return None


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
