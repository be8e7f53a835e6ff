"""How the hosts are reached: the inventory's SSH settings, completed by OpenSSH's configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.transport import complete

if TYPE_CHECKING:
    from provisioner.inventory import Inventory


def reached(inventory: Inventory) -> tuple[Inventory, tuple[str, ...]]:
    """Return the inventory with the targets of all hosts, and lines about what the configuration changes. Raises Refused."""
    done = complete([inventory.written_target(name) for name in inventory.hosts if name not in inventory.reach])
    return inventory.reached(done.targets), done.notes
