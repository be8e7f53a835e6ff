"""The table of control planes, and what is read on every host for them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from provisioner.controlplane.kv import Kv
from provisioner.controlplane.swarm import SOUGHT, Swarm

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provisioner.controlplane.base import ControlPlane
    from provisioner.inventory import Inventory
    from provisioner.system.reading import Sought

PLANES: Mapping[str, ControlPlane] = {"kv": Kv(), "swarm": Swarm()}


def sought(inventory: Inventory) -> Sought:
    """Return what to read on every host for the control plane. If the engines decide it, this includes both."""
    if inventory.control_plane != "auto" or not inventory.store:
        return PLANES["kv" if inventory.control_plane == "kv" else "swarm"].sought(inventory)
    found = PLANES["kv"].sought(inventory)
    return replace(
        found, files=(*found.files, *SOUGHT.files), engine=SOUGHT.engine, ports={**SOUGHT.ports, **found.ports}
    )
