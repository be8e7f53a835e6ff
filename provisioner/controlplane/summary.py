"""Engines, stores and networks at a glance, from one reading of each host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.model import HostSummary

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    )
