"""Engines, stores and networks at a glance, from one reading of each host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.model import HostSummary, NetworkSummary
from provisioner.system.networks import pools

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from provisioner.controlplane import Site


def summaries(site: Site, lost: Mapping[str, str]) -> tuple[HostSummary, ...]:
    """One for each host of the inventory; `lost` says why some were not reached."""
    return tuple(
        _summary(site, name)
        if name in site.facts
        else HostSummary(name, site.inventory.hosts[name].address, reached=False, error=lost.get(name, ""))
        for name in site.inventory.hosts
    )


def _summary(site: Site, name: str) -> HostSummary:
    facts = site.facts[name]
    names = {str(address): host for host, address in site.advertise.items()}
    info = facts.engine
    share, role, leader = site.plane.standing(site, name)
    return HostSummary(
        host=name,
        address=site.inventory.hosts[name].address,
        reached=True,
        system=facts.system_name,
        engine=facts.engine_version + ("" if info or not facts.engine_version else " (stopped)"),
        advertise=site.plane.advertised(facts),
        store=share,
        store_role=role,
        leader=names.get(leader, leader),
        networks=tuple(sorted(n for n, network in facts.networks.items() if network["Driver"] == "overlay")),
        containers=int(info.get("ContainersRunning", 0)),
        all_networks=tuple(_network(site, name, facts.networks[n]) for n in sorted(facts.networks)),
    )


def _network(site: Site, host: str, found: Mapping[str, Any]) -> NetworkSummary:
    asked = site.inventory.networks.get(found["Name"])
    return NetworkSummary(
        name=found["Name"],
        driver=found["Driver"],
        scope=found.get("Scope", ""),
        subnets=tuple(pool["Subnet"] for pool in pools(found) if pool.get("Subnet")),
        wanted=asked is not None and asked.on(host),
    )
