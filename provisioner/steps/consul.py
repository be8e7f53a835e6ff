"""A Consul agent on every host, servers on some; the cluster has a leader before the engines use it.

The agent listens to HTTP on loopback only. Which configuration the running agent was started with is observed: its unit
copies both files to /run at every start. So an interrupted run is seen, and a change that needs no restart makes none.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from provisioner import render
from provisioner.errors import StepFailed
from provisioner.model import Drift
from provisioner.steps.base import Work, differing
from provisioner.stores.consul import program_path, wait_for_leader
from provisioner.system.facts import CONSUL_JSON, CONSUL_LOADED, CONSUL_UNIT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provisioner.controlplane import Site
    from provisioner.system.facts import Facts
    from provisioner.transport import Connection

# Consul reads these only to find its cluster; an agent that is in it needs no restart for them.
_TO_FIND_THE_CLUSTER = {"retry_join", "bootstrap_expect"}
_ALIVE = 1  # serf's status of a member


class Consul:
    name = "consul"
    title = "Consul agent on every host, with a leader"
    reads = ("files", "units", "http")
    patience = 60.0  # an agent that others held for dead, on a busy machine, is tried again after half a minute (serf)
    cure = "look at its log (journalctl -u consul), and run again"

    def drift(self, site: Site, host: str) -> tuple[Drift, ...]:
        facts = site.facts[host]
        wanted = {CONSUL_JSON: _json(site, host), CONSUL_UNIT: _unit(site, facts)}
        drift = differing(facts, wanted)
        unit = facts.unit("consul.service")
        if unit.active not in {"active", "activating"}:
            drift.append(Drift("consul.service", unit.active, "active", note="start"))
        elif _needs_restart(facts, wanted, formed=_formed(site)):
            drift.append(Drift("the running agent", "an earlier configuration", "this one", note="restart of Consul"))
        elif not drift:
            drift += _membership(site, host)
        if not unit.enabled:
            drift.append(Drift("consul.service at boot", "off", "on"))
        return tuple(drift)

    def work(self, site: Site, host: str, drift: tuple[Drift, ...]) -> Work | None:
        notes = {d.note for d in drift}
        if notes == {"waits"}:
            return None
        action = "restart" if "restart of Consul" in notes else "start" if "start" in notes else "write"
        script = render.script(
            "consul.sh.j2",
            json=_json(site, host),
            unit=_unit(site, site.facts[host]),
            json_path=CONSUL_JSON,
            unit_path=CONSUL_UNIT,
            action=action,
        )
        text = {"restart": "restarting Consul", "start": "starting Consul", "write": "writing Consul's files"}[action]
        return Work(script, text, deadline=60.0, alone=action == "restart" and _formed(site))

    def barrier(self, site: Site, connections: Mapping[str, Connection]) -> None:
        alive = sum(name in site.live for name in site.servers)
        for name in site.servers:
            if name in site.live:
                wait_for_leader(connections[name], servers=alive)
                return
        raise StepFailed("no Consul server is left", cure="bring a host of store.servers back", fatal=True)


def _json(site: Site, host: str) -> str:
    servers = [str(site.advertise[name]) for name in site.servers if name in site.advertise]
    return render.text(
        "consul.json.j2",
        name=host,
        server=host in site.servers,
        expect=_expect(site, host),
        address=str(site.advertise[host]),
        join=servers,
    )


def _expect(site: Site, host: str) -> int:
    """How many servers to wait for before the first election. It means nothing afterwards, so what is there stays.

    While there never was a leader it is the number of servers that live: one that is down must not hold up the rest.
    """
    if not _formed(site):
        return sum(name in site.live for name in site.servers)
    found = _parsed(site.facts[host].files.get(CONSUL_JSON, "")).get("bootstrap_expect")
    return found if isinstance(found, int) else len(site.servers)


def _formed(site: Site) -> bool:
    """Whether the servers have ever formed a cluster: raft's list of peers is empty before, and kept without a leader."""
    return any(site.facts[n].http(what).body for n in site.servers if n in site.facts for what in ("peers", "leader"))


def _unit(site: Site, facts: Facts) -> str:
    return render.text(
        "consul.service.j2",
        binary=program_path(site.inventory.store, facts.programs),
        unit_path=CONSUL_UNIT,
        json_path=CONSUL_JSON,
        loaded_path=CONSUL_LOADED,
    )


def _parsed(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _needs_restart(facts: Facts, wanted: Mapping[str, str], *, formed: bool) -> bool:
    """Whether the agent runs with something else than is wanted, and can't take it up while it runs."""
    unit, brace, config = facts.files.get(CONSUL_LOADED, "").partition("\n{\n")
    if not brace or unit + "\n" != wanted[CONSUL_UNIT]:
        return True
    loaded, new = _parsed("{" + config), _parsed(wanted[CONSUL_JSON])
    counts = {*loaded, *new} - (_TO_FIND_THE_CLUSTER if formed else {"retry_join"})
    return any(loaded.get(key) != new.get(key) for key in counts)


def _membership(site: Site, host: str) -> list[Drift]:
    """What the agent itself says: it answers, knows a leader, and sees every live host alive."""
    facts = site.facts[host]
    members = facts.http("members")
    if members.code != 200:  # noqa: PLR2004
        return [Drift("Consul's HTTP interface", members.error, "an answer", note="waits")]
    drift = []
    if not facts.http("leader").body:
        drift.append(Drift("Consul's leader", "none", "one", note="waits"))
    alive = {member["Name"] for member in members.body if member.get("Status") == _ALIVE}
    if missing := [name for name in site.live if name not in alive]:
        drift.append(Drift("Consul's members", "without " + ", ".join(missing), "all hosts", note="waits"))
    return drift
