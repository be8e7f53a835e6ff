"""The engine runs, now and after a boot, with the files and the keys of daemon.json that the control plane needs.

The control plane also decides whether a running engine has loaded them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from provisioner import render
from provisioner.model import Action, Drift, Kind
from provisioner.steps import resolvers
from provisioner.steps.base import OfHosts, Work, differing, differing_secrets
from provisioner.system import gossip, swarm
from provisioner.system.daemon_json import parse
from provisioner.system.owned import together
from provisioner.system.reading import DAEMON_JSON, ENGINE_TLS, OWNED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provisioner.controlplane import Site
    from provisioner.controlplane.base import EngineFiles

_TEXTS: Mapping[Action, str] = {  # the most urgent first
    Action.RESTART: "restarting the engine",
    Action.START: "starting the engine",
    Action.RELOAD: "reloading the engine",
}
_RESTARTS_HELPER = frozenset({Kind.FILE, Kind.CONFIDENTIAL, Kind.UNIT})


class Daemon(OfHosts):
    name = "daemon"
    owns = together([OWNED, gossip.OWNED, swarm.OWNED])
    title = "Engine"
    reads = ("files", "units", "http")
    patience = 30.0
    cure = "check its log (journalctl -u docker), then run again"

    def drift(self, site: Site, host: str) -> tuple[Drift, ...]:
        facts = site.facts[host]
        wanted = _wanted(site, host)
        old = facts.files.get(DAEMON_JSON, "")
        new = _wanted_json(host, old, wanted.settings)
        drift = [Drift(Kind.FILE, DAEMON_JSON, old, new, is_file=True)] if parse(host, old) != parse(host, new) else []
        drift += differing(facts, wanted.files)
        drift += differing_secrets(facts, wanted.secrets)
        drift += [
            Drift(Kind.FILE, path, facts.files[path], action=Action.REMOVE, is_file=True)
            for path in wanted.gone
            if path in facts.files
        ]
        drift += [
            Drift(Kind.UNIT, unit, facts.unit(unit).active, "active", Action.ENABLE)
            for unit in wanted.through
            if not facts.unit(unit).up
        ]
        drift += _running(site, host)
        drift += [
            Drift(Kind.BOOT, unit, "off", "on", Action.ENABLE) for unit in wanted.units if not facts.unit(unit).enabled
        ]
        return tuple(drift)

    def work(self, site: Site, host: str, drift: tuple[Drift, ...]) -> Work | None:
        actions = {d.action for d in drift}
        if actions == {Action.WAIT}:
            return None
        action = next((urgent for urgent in _TEXTS if urgent in actions), Action.ENABLE)
        wanted, differs = _wanted(site, host), {d.target for d in drift if d.kind in _RESTARTS_HELPER}
        script = render.script(
            "engine.sh.j2",
            json=_wanted_json(host, site.facts[host].files.get(DAEMON_JSON, ""), wanted.settings),
            json_path=DAEMON_JSON,
            files=wanted.files,
            folders=[path for path in self.owns.folders if not path.startswith("/run/")],
            secrets=wanted.secrets,
            tls_loaded=ENGINE_TLS,
            gone=[path for path in wanted.gone if path in site.facts[host].files],
            action=action.value,
            units=[unit for unit in wanted.units if not site.facts[host].unit(unit).enabled],
            through=[unit for unit, files in wanted.through.items() if differs & {unit, *files}],
            write="yes" if DAEMON_JSON in differs else "no",
        )
        return Work(
            script,
            _TEXTS.get(action, "writing the engine's files"),
            deadline=480.0,
            alone=action is Action.RESTART and _in_use(site, host),
        )


def _wanted(site: Site, host: str) -> EngineFiles:
    """Return the files and keys of the control plane, and those of the resolvers."""
    plane, dns = site.plane.engine(site, host), site.inventory.dns
    return replace(
        plane, settings={**plane.settings, **resolvers.settings(dns)}, files={**plane.files, **resolvers.files(dns)}
    )


def _in_use(site: Site, host: str) -> bool:
    """Return whether a restart of the engine affects containers or shared networks."""
    facts = site.facts[host]
    return bool(facts.engine.get("ContainersRunning")) or site.plane.joined(facts) or not facts.engine


def _wanted_json(host: str, old: str, settings: Mapping[str, Any]) -> str:
    """Return the existing daemon.json with our keys. All other keys keep their values and order."""
    return render.text("daemon.json.j2", settings={**parse(host, old), **settings})


def _running(site: Site, host: str) -> list[Drift]:
    """Return what the running engine has not loaded yet, or why it does not answer."""
    facts = site.facts[host]
    unit = facts.unit("docker.service")
    if unit.active != "active":
        return [Drift(Kind.UNIT, "docker.service", unit.active, "active", Action.START)]
    if not facts.engine:
        return [Drift(Kind.ENGINE, "", facts.http("info").error, "an answer", Action.WAIT)]
    return [*resolvers.running(site.inventory.dns, facts), *site.plane.running(site, host)]
