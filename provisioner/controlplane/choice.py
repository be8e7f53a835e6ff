"""Choose the control plane: the inventory's, or with `auto` the one that all hosts' engines support."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner import stores
from provisioner.controlplane.swarm import in_swarm
from provisioner.inventory.engine_versions import has_no_store

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provisioner.inventory import Inventory
    from provisioner.system.facts import Facts

_NAMED = 3  # number of hosts that a message names before "and N more"


def choose(inventory: Inventory, facts: Mapping[str, Facts]) -> tuple[str, str]:
    """Return the control plane's name, and the reason; "" if the inventory sets it.

    An existing control plane stays: engines that use an external store decide for the others, then engines in a swarm.
    """
    if decided := _decided(inventory, facts):
        return decided
    if to_come := _without_engine(inventory, facts):
        return "kv", f"all installed engines support it; no engine is installed yet on {_some(to_come)}"
    return "kv", f"no engine is later than 20.10, and all have the driver for {stores.of(inventory.the_store).title}"


def undecided(inventory: Inventory, facts: Mapping[str, Facts]) -> bool:
    """Return whether engines that are not installed yet may change the choice."""
    return bool(_without_engine(inventory, facts)) and not _decided(inventory, facts)


def _without_engine(inventory: Inventory, facts: Mapping[str, Facts]) -> list[str]:
    return [name for name in inventory.hosts if name in facts and "dockerd" not in facts[name].programs]


def _decided(inventory: Inventory, facts: Mapping[str, Facts]) -> tuple[str, str] | None:
    """Return the control plane that the inventory or an installed engine determines, and the reason.

    None: nothing rules out an external store.
    """
    if inventory.control_plane != "auto":
        return inventory.control_plane, ""
    if not inventory.store:
        return "swarm", "the inventory names no store"
    names = [name for name in inventory.hosts if name in facts]
    title = stores.of(inventory.store).title
    if there := [name for name in names if facts[name].engine.get("ClusterStore")]:
        return "kv", f"engines already use an external store: {_some(there)}"
    if there := [name for name in names if in_swarm(facts[name])]:
        return "swarm", f"engines are already in a swarm: {_some(there)}"
    if new := [name for name in names if has_no_store(facts[name].engine_version)]:
        versions = ", ".join(sorted({facts[name].engine_version for name in new}))
        return "swarm", f"engines 23.0 and later have no external store: {versions} on {_some(new)}"
    if lacking := [name for name in names if "dockerd" in facts[name].programs and not facts[name].store_driver]:
        return "swarm", f"engines are built without the driver for {title}: {_some(lacking)}"
    return None


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
