"""The summary of engines, stores and networks for `status`, from one reading of each host."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from provisioner.model import HostSummary, NetworkSummary
from provisioner.system.networks import pools

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from provisioner.controlplane.site import Site
    from provisioner.model import Failure
    from provisioner.system.facts import Facts

# ActiveState of an engine that does not answer -> its state. In all other states it is stopped.
_UNANSWERED = {"active": "no answer", "reloading": "no answer", "activating": "starting", "deactivating": "stopping"}
_OF_THE_ENGINE = ("advertise", "store", "networks", "containers", "all_networks")  # fields that only the engine knows
_OF_THE_SWARM = ("store_role", "leader")
_FIELDS = ("system", "engine", "store_role", "leader", *_OF_THE_ENGINE)


def summaries(site: Site, lost: Mapping[str, Failure]) -> tuple[HostSummary, ...]:
    """Return one summary per host of the inventory. lost: host -> why it was not reached."""
    return tuple(
        _summary(site, name) if name in site.facts else _unreached(site, name, lost.get(name))
        for name in site.inventory.hosts
    )


def _unreached(site: Site, name: str, why: Failure | None) -> HostSummary:
    found = HostSummary(name, site.inventory.hosts[name].address, reached=False, unknown=_FIELDS)
    return replace(found, error=why.text, check=why.check) if why else found


def _summary(site: Site, name: str) -> HostSummary:
    facts = site.facts[name]
    names = {str(address): host for host, address in site.advertise.items()}
    info = facts.engine
    share, role, leader = site.plane.standing(site, name)
    state = _engine_state(facts)
    found = HostSummary(
        host=name,
        address=site.inventory.hosts[name].address,
        reached=True,
        system=facts.system_name,
        engine=(facts.engine_version + (f" ({state})" if state not in {"running", "absent"} else "")).strip(),
        advertise=site.plane.advertised(facts),
        store=share,
        store_role=role,
        leader=names.get(leader, leader),
        networks=tuple(sorted(n for n, network in facts.networks.items() if network["Driver"] == "overlay")),
        containers=int(info.get("ContainersRunning", 0)),
        all_networks=tuple(_network(site, name, facts.networks[n]) for n in sorted(facts.networks)),
        engine_state=state,
    )
    return _qualified(site, facts, found)


def _qualified(site: Site, facts: Facts, found: HostSummary) -> HostSummary:
    """Return the summary with the reason for each empty field."""
    store = _silent_store(site, facts, found)
    unknown = _unknown(site, facts, found) | ({"leader"} if store else set())
    absent = {field for field in _FIELDS if field not in {"leader", "containers"} and not getattr(found, field)}
    absent |= {"leader"} if _leaderless(site, facts, found) else set()
    return replace(
        found,
        unknown=tuple(field for field in _FIELDS if field in unknown),
        absent=tuple(field for field in _FIELDS if field in absent - unknown),
        silent=(*(["engine"] if found.engine_state == "no answer" else []), *filter(None, [store])),
    )


def _engine_state(facts: Facts) -> str:
    if facts.engine:
        return "running"
    if not facts.engine_version and "dockerd" not in facts.programs:
        return "absent"
    return _UNANSWERED.get(facts.unit("docker.service").active, "stopped")


def _unknown(site: Site, facts: Facts, found: HostSummary) -> set[str]:
    """Return the empty fields that an engine without an answer would have filled."""
    if found.engine_state == "absent":
        return set()
    if found.engine_state != "running":
        fields = (*_OF_THE_ENGINE, *(_OF_THE_SWARM if site.control == "swarm" else ()))
        return {field for field in fields if not getattr(found, field)}
    return set() if isinstance(facts.http("networks").body, list) else {"networks", "all_networks"}


def _silent_store(site: Site, facts: Facts, found: HostSummary) -> str:
    """Return the name of a store that runs on this host but answers no request, or ""."""
    if site.control != "kv" or not found.store_role:
        return ""
    requests = [request.name for request in site.backend.sought.requests]
    return "" if any(facts.http(name).code or facts.said(name) for name in requests) else site.backend.title


def _leaderless(site: Site, facts: Facts, found: HostSummary) -> bool:
    """Return whether this host certainly has no leader. A member of ZooKeeper may have one and not report which."""
    if found.leader:
        return False
    if not found.store_role:
        return not found.store
    return site.managed is not None and not site.managed.led(facts)


def _network(site: Site, host: str, found: Mapping[str, Any]) -> NetworkSummary:
    listed = site.inventory.networks.get(found["Name"])
    return NetworkSummary(
        name=found["Name"],
        driver=found["Driver"],
        scope=found.get("Scope", ""),
        subnets=tuple(pool["Subnet"] for pool in pools(found) if pool.get("Subnet")),
        wanted=listed is not None and listed.on(host),
    )
