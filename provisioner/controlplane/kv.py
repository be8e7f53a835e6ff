"""kv: the engines share an external store (cluster-store). Engines up to 20.10 support this.

An engine without a store loads one on SIGHUP, so no container stops. Another store or address requires a restart, although
`docker info` shows the new value after SIGHUP, too. Sources: moby v20.10 daemon/reload.go and libnetwork's controller.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from provisioner import render, stores
from provisioner.controlplane.base import ELECTION, Closed, EngineFiles
from provisioner.model import Action, Drift, Kind, Problem
from provisioner.stores.base import TLS, TLS_OPTIONS
from provisioner.stores.values import sums
from provisioner.system import gossip
from provisioner.system import swarm as swarm_on_host
from provisioner.system.daemon_json import parse
from provisioner.system.reading import DAEMON_JSON, ENGINE_DROPIN, ENGINE_LOADED, ENGINE_TLS
from provisioner.system.strict import json_object

if TYPE_CHECKING:
    from collections.abc import Mapping
    from ipaddress import IPv4Address

    from provisioner.controlplane.base import SiteView
    from provisioner.inventory import Inventory
    from provisioner.stores.protocols import ManagedStore
    from provisioner.system.facts import Facts
    from provisioner.system.firewall import Ports
    from provisioner.system.reading import Sought

_OF_THE_HOST = "//127.0.0.1:"  # in the engine's cluster-store: the store's agent on the same host
_JOINS = 150.0  # seconds after its start; an engine tries its store for two minutes, and then takes part in the gossip or never
_ADVERTISED_PORT = 2376  # a placeholder: only the address matters to the overlay (libnetwork)


class Kv:
    name = "kv"
    unused = frozenset({"founding", "swarm"})
    scope = "global"
    majority = ("store", "servers")
    patience = 30.0  # the step gossip connects engines that do not know one another

    def sought(self, inventory: Inventory) -> Sought:
        return stores.of(inventory.the_store).sought

    def ports(self, inventory: Inventory) -> Ports:
        ports = stores.of(inventory.the_store).ports
        return replace(ports, users=(*ports.users, *inventory.the_store.local_users)) if ports.users else ports

    def programs(self, site: SiteView, host: str) -> tuple[str, ...]:
        backend = site.managed
        return (backend.program,) if backend and backend.runs_on(site, host) else ()

    def servers(
        self, inventory: Inventory, facts: Mapping[str, Facts], advertise: Mapping[str, IPv4Address]
    ) -> tuple[str, ...]:
        """Return the store's servers: 1 for up to 2 hosts, 3 for 3 or 4, otherwise 5. All existing servers stay servers.

        Otherwise a host that is inserted above the others would move a server and the store's data. And if one of three hosts
        were removed from the inventory, one of the two remaining servers would go as well, and with it the quorum.
        """
        backend = stores.managed(inventory.the_store)
        if backend is None:
            return ()
        if inventory.the_store.servers:
            return inventory.the_store.servers
        names = list(inventory.hosts)
        peers = backend.peers(facts)
        already = [
            name
            for name in names
            if advertise.get(name) in peers or (name in facts and backend.was_server(facts[name]))
        ]
        if already and not backend.grows:
            return tuple(already)
        others = [name for name in names if name not in already]
        chosen = already + others[: max(0, len(inventory.servers) - len(already))]
        return tuple(name for name in names if name in chosen)

    def remembered(self, inventory: Inventory, facts: Mapping[str, Facts]) -> dict[str, IPv4Address]:
        backend = stores.managed(inventory.the_store)
        return backend.remembered(facts) if backend else {}

    def engine(self, site: SiteView, host: str) -> EngineFiles:
        """Return the files by which the engine starts and finds the other engines."""
        own = site.advertise[host]
        others = sorted(address for name, address in site.advertise.items() if name != host)
        waiting = site.backend.waiting(site, host)
        loaded = ENGINE_LOADED if _options(site, host) else ""
        secrets = site.backend.credentials(site, host)
        tls = {"tls": " ".join(file.path for file in secrets), "tls_loaded": ENGINE_TLS}
        files = {
            ENGINE_DROPIN: render.text("docker-dropin.conf.j2", waiting=waiting, loaded=loaded, **tls),
            **waiting.files,
            gossip.PROGRAM: render.text("gossip.pl"),
            gossip.UNIT_FILE: render.text("gossip.service.j2", program=gossip.PROGRAM, addresses=[own, *others]),
        }
        units = ("docker.service", gossip.UNIT, *waiting.through)
        return EngineFiles(
            _settings(site, host), files, units, secrets, gone=swarm_on_host.OURS, through=waiting.through
        )

    def running(self, site: SiteView, host: str) -> list[Drift]:
        """Return which of the store's settings the running engine has not loaded."""
        facts, wanted = site.facts[host], _settings(site, host)
        info = facts.engine
        found = {"cluster-store": info.get("ClusterStore", ""), "cluster-advertise": info.get("ClusterAdvertise", "")}
        if any(found[key] != wanted[key] for key in found):
            action = Action.RESTART if found["cluster-store"] else Action.RELOAD
            what, key = (
                ("store", "cluster-store")
                if found["cluster-store"] != wanted["cluster-store"]
                else ("advertised address", "cluster-advertise")
            )
            return [Drift(Kind.ENGINE_USES, what, found[key] or "none", wanted[key], action)]
        tls = sums(site.backend.credentials(site, host))
        if facts.files.get(ENGINE_TLS, "") != tls:
            was, is_ = ("other files", "these files") if tls else ("some", "none")
            return [Drift(Kind.ENGINE_USES, "TLS", was, is_, Action.RESTART)]
        options, loaded = wanted.get("cluster-store-opts"), facts.files.get(ENGINE_LOADED, "")
        if options and json_object(loaded).get("cluster-store-opts") != options:
            return [Drift(Kind.ENGINE_USES, "store options", "others", _text(options), Action.RELOAD)]
        if ("tcp", gossip.PORT) not in {(protocol, port) for protocol, port, _ in facts.ports}:
            # Observed with 20.10: an engine whose name another one had leaves the gossip, and does not come back.
            gave_up = facts.age("docker.service") > _JOINS and not self.closed(site, host)
            action = Action.RESTART if gave_up else Action.WAIT
            return [Drift(Kind.PORT, str(gossip.PORT), "not listening", "listening", action, "gossip")]
        return []

    def leaderless(self, host: str, what: str) -> Problem:
        return _leaderless(host, what)

    def joined(self, facts: Facts) -> bool:
        return bool(facts.engine.get("ClusterStore"))

    def advertised(self, facts: Facts) -> str:
        return str(facts.engine.get("ClusterAdvertise", "")).rpartition(":")[0]

    def standing(self, site: SiteView, host: str) -> tuple[str, str, str]:
        facts, backend = site.facts[host], site.backend
        runs = any(facts.unit(unit).active == "active" for unit in backend.sought.units)
        role = ("server" if host in site.servers else "client") if runs else ""
        return str(facts.engine.get("ClusterStore", "")), role, backend.leader(facts)

    def creator(self, site: SiteView) -> str:
        return next(iter(site.live), "")

    def reunion(self, site: SiteView) -> str:
        blocked = "7946/tcp or 7946/udp is blocked between these hosts"
        return f"run `provisioner up INVENTORY`, which connects the engines again; if that does not help, {blocked}"

    def closed(self, site: SiteView, host: str) -> Closed | None:
        """An engine that can't use its store finds no network. Without a leader, it tries for two minutes."""
        if host not in site.facts:
            return None
        own, through = _store_of(site.facts[host]), site.backend.sought.through
        if own and (lacking := [unit for unit in through if not site.facts[host].unit(unit).up]):
            what = f"its engine can't use the store: {lacking[0]} does not run on this host"
            return Closed(Problem("store-down", host, what))
        return _closed(site, site.managed, host, own) if own and site.managed else None

    def lists(self, facts: Facts) -> bool:
        return True


def _store_of(facts: Facts) -> str:
    """Return the URL of the engine's store, from its file if it does not answer. It never answers while it tries its store."""
    file = json_object(facts.files.get(DAEMON_JSON, ""))
    return str(facts.engine.get("ClusterStore", "") if facts.engine else file.get("cluster-store", ""))


def _closed(site: SiteView, backend: ManagedStore, host: str, own: str) -> Closed | None:
    """Return the result of `Kv.closed` for a managed store. own: URL of the engine's store."""
    without = down(site, backend)
    if host in without and _OF_THE_HOST in own and not backend.sought.through:
        what = f"its engine can't use the store: {backend.title} does not run on this host"
        return Closed(Problem("store-down", host, what))
    if why := backend.shut_out(site, host):
        return Closed(Problem("agent-shut-out", host, f"its engine can't use the store: {why}"))
    voters = [site.facts[name] for name in site.servers if name in site.live]
    lost = len(set(site.servers) - set(without)) < site.quorum  # the others notice it only after some seconds
    if lost or (voters and not any(map(backend.led, voters))):
        where = f"; it does not run on {', '.join(without)}" if without else ""
        what = f"{backend.title} has no leader, so engines can't use it{where}"
        return Closed(_leaderless(host, what), heals=0.0 if lost else ELECTION)
    return None


def _leaderless(host: str, what: str) -> Problem:
    return Problem("store-no-leader", host, what, variant="managed")


def down(site: SiteView, backend: ManagedStore) -> list[str]:
    """Return the live hosts on which the store should run and does not."""
    here = [name for name in site.live if backend.runs_on(site, name)]
    return [name for name in here if not any(site.facts[name].unit(unit).up for unit in backend.sought.units)]


def _settings(site: SiteView, host: str) -> dict[str, Any]:
    """Return our keys of daemon.json (source: dockerd's reference, 20.10). Store options that we do not set are kept."""
    ours = {
        "cluster-store": site.backend.url(site),
        "cluster-advertise": f"{site.advertise[host]}:{_ADVERTISED_PORT}",
    }
    found, wanted = options_in_file(site, host), merged_options(site, host)
    return ours | ({"cluster-store-opts": wanted} if _options(site, host) or wanted != (found or {}) else {})


def options_in_file(site: SiteView, host: str) -> Any:
    """Return cluster-store-opts from the engine's file. Raises StepFailed if the file can't be parsed."""
    return parse(host, site.facts[host].files.get(DAEMON_JSON, "")).get("cluster-store-opts")


def merged_options(site: SiteView, host: str) -> dict[str, Any]:
    """Return cluster-store-opts for the engine: the options of others in its file, and ours.

    Raises StepFailed if the file can't be parsed.
    """
    found = options_in_file(site, host)
    return (_without_our_tls(found) if isinstance(found, dict) else {}) | _options(site, host)


def _without_our_tls(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options without our TLS files: the store may no longer use TLS."""
    return {
        name: value for name, value in options.items() if not (name in TLS_OPTIONS and str(value).startswith(f"{TLS}/"))
    }


def _options(site: SiteView, host: str) -> dict[str, str]:
    """Return our options in cluster-store-opts. The engine chooses those that the inventory leaves out."""
    discovery = site.inventory.the_store.discovery
    found = {"kv.path": discovery.path, "discovery.heartbeat": discovery.heartbeat, "discovery.ttl": discovery.ttl}
    tls = zip(TLS_OPTIONS, (file.path for file in site.backend.credentials(site, host)), strict=False)
    return dict(tls) | {name: str(value) for name, value in found.items() if value}


def _text(options: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in options.items())
