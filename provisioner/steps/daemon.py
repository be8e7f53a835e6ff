"""daemon.json names the store and the advertised address, and the running engine has taken them up.

Sources: moby v20.10 daemon/reload.go and libnetwork's controller: an engine without a store takes one up on SIGHUP, so no
container stops; a changed store or address needs a restart, although `docker info` shows the new value after SIGHUP too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from provisioner import render
from provisioner.errors import StepFailed
from provisioner.model import Drift
from provisioner.steps.base import Work, differing
from provisioner.stores.base import json_object
from provisioner.system import gossip
from provisioner.system.daemon_json import parse
from provisioner.system.reading import DAEMON_JSON, ENGINE_DROPIN, ENGINE_LOADED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provisioner.controlplane import Site
    from provisioner.system.facts import Facts
    from provisioner.transport import Connection

_UNITS = ("docker.service", gossip.UNIT)
_ADVERTISED_PORT = 2376  # a placeholder: only the address matters to the overlay (libnetwork)


class Daemon:
    name = "daemon"
    title = "Engine on the store"
    reads = ("files", "units", "http")
    patience = 30.0
    cure = "look at its log (journalctl -u docker), and run again"

    def drift(self, site: Site, host: str) -> tuple[Drift, ...]:
        facts = site.facts[host]
        _refuse_unfit(site, host)
        old, new = facts.files.get(DAEMON_JSON, ""), wanted_daemon_json(site, host)
        drift = [Drift(DAEMON_JSON, old, new, is_file=True)] if parse(host, old) != parse(host, new) else []
        drift += differing(facts, _files(site, host))
        drift += _running(facts, settings(site, host))
        drift += [Drift(f"{unit} at boot", "off", "on") for unit in _UNITS if not facts.unit(unit).enabled]
        return tuple(drift)

    def work(self, site: Site, host: str, drift: tuple[Drift, ...]) -> Work | None:
        notes = {d.note for d in drift}
        if notes == {"waits"}:
            return None
        action = next((urgent for urgent in ("restart", "start", "reload") if urgent in notes), "enable")
        script = render.script(
            "engine.sh.j2",
            json=wanted_daemon_json(site, host),
            json_path=DAEMON_JSON,
            files=_files(site, host),
            action=action,
            units=[unit for unit in _UNITS if not site.facts[host].unit(unit).enabled],
            write="yes" if any(d.what == DAEMON_JSON for d in drift) else "no",
        )
        texts = {"restart": "restarting the engine", "start": "starting the engine", "reload": "reloading the engine"}
        return Work(script, texts.get(action, "writing the engine's files"), deadline=480.0, alone=action == "restart")

    def barrier(self, site: Site, connections: Mapping[str, Connection]) -> None:
        pass


def _refuse_unfit(site: Site, host: str) -> None:
    """An engine that was installed by this very run was not there for the checks before it."""
    facts = site.facts[host]
    if "dockerd" not in facts.programs or facts.store_driver:
        return
    raise StepFailed(
        f"its engine {facts.engine_version} can't use {site.backend.title}: with the store in daemon.json it would not start again",
        host=host,
        tried="looking into the engine's program for the store's driver; daemon.json was not touched",
        cure="use Debian 11's docker.io 20.10.5 or Docker's own 20.10",
    )


def settings(site: Site, host: str) -> dict[str, Any]:
    """The keys of daemon.json that are ours (dockerd's reference, 20.10). Of the store's options only those we name are."""
    ours = {
        "cluster-store": site.backend.url(site),
        "cluster-advertise": f"{site.advertise[host]}:{_ADVERTISED_PORT}",
    }
    options = options_of(site)
    if not options:
        return ours
    found = parse(host, site.facts[host].files.get(DAEMON_JSON, "")).get("cluster-store-opts")
    return ours | {"cluster-store-opts": {**(found if isinstance(found, dict) else {}), **options}}


def options_of(site: Site) -> dict[str, str]:
    """cluster-store-opts: texts by name. Those that the inventory leaves out are the engine's own to choose."""
    asked = site.inventory.store.discovery
    found = {"kv.path": asked.path, "discovery.heartbeat": asked.heartbeat, "discovery.ttl": asked.ttl}
    return {name: str(value) for name, value in found.items() if value}


def wanted_daemon_json(site: Site, host: str) -> str:
    """What is there, with our keys in it. The other keys keep their values and their order."""
    found = parse(host, site.facts[host].files.get(DAEMON_JSON, ""))
    return render.text("daemon.json.j2", settings={**found, **settings(site, host)})


def _files(site: Site, host: str) -> dict[str, str]:
    """Path -> text of what is beside daemon.json: how the engine starts, and how it meets the others then."""
    own = site.advertise[host]
    others = sorted(address for name, address in site.advertise.items() if name != host)
    waiting = site.backend.waiting(site, host)
    return {
        ENGINE_DROPIN: render.text("docker-dropin.conf.j2", waiting=waiting, loaded=ENGINE_LOADED if options_of(site) else ""),
        **waiting.files,
        gossip.PROGRAM: render.text("gossip.pl"),
        gossip.UNIT_FILE: render.text("gossip.service.j2", program=gossip.PROGRAM, addresses=[own, *others]),
    }


def _running(facts: Facts, wanted: Mapping[str, Any]) -> list[Drift]:
    """What the running engine is to do about its store."""
    unit, info = facts.unit("docker.service"), facts.engine
    if unit.active != "active":
        return [Drift("docker.service", unit.active, "active", note="start")]
    if not info:
        return [Drift("the engine", facts.http("info").error, "an answer", note="waits")]
    found = {"cluster-store": info.get("ClusterStore", ""), "cluster-advertise": info.get("ClusterAdvertise", "")}
    if any(found[key] != wanted[key] for key in found):
        note = "restart" if found["cluster-store"] else "reload"
        return [Drift("the running engine's store", found["cluster-store"] or "none", wanted["cluster-store"], note=note)]
    options, loaded = wanted.get("cluster-store-opts"), facts.files.get(ENGINE_LOADED, "")
    if options and json_object(loaded).get("cluster-store-opts") != options:
        return [Drift("the running engine's store options", "not these", _told(options), note="reload")]
    if ("tcp", gossip.PORT) not in {(protocol, port) for protocol, port, _ in facts.ports}:
        return [Drift("gossip on 7946", "not listening", "listening", note="waits")]
    return []


def _told(options: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in options.items())
