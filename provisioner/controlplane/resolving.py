"""Resolve the inventory and the hosts' facts to the site, once, before any change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.controlplane.addresses import advertised
from provisioner.controlplane.choice import choose
from provisioner.controlplane.planes import PLANES
from provisioner.controlplane.site import Site

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provisioner.inventory import Inventory
    from provisioner.model import Problem
    from provisioner.system.facts import Facts


def resolve(inventory: Inventory, facts: Mapping[str, Facts]) -> tuple[Site, list[Problem]]:
    """Return the site and the problems: one for each host without an address on the shared network."""
    name, why = choose(inventory, facts)
    plane = PLANES[name]
    advertise, findings = advertised(inventory, facts, plane)
    servers = plane.servers(inventory, facts, advertise)
    live = tuple(name for name in inventory.hosts if name in facts)
    misplaced = frozenset(finding.host for finding in findings)
    return Site(inventory, facts, advertise, servers, live, name, why=why, misplaced=misplaced), findings
