"""What takes one host out of a cluster that goes on without it: steps as any other, in the order in which a removal runs them.

The first two and the fourth are of the host itself, where it lives; the third and the last are of those that stay. Each
sees from the hosts what is left to do, so an interrupted removal goes on where it stopped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from provisioner import render
from provisioner.model import Action, Drift, Kind
from provisioner.steps.base import Work
from provisioner.system import attached, firewall, gossip
from provisioner.system.daemon_json import parse
from provisioner.system.reading import (
    DAEMON_JSON,
    ENGINE_DNS_DROPIN,
    ENGINE_DROPIN,
    ENGINE_LOADED,
    ENGINE_OPTIONS,
    ENGINE_STARTED,
    ENGINE_TLS,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from ipaddress import IPv4Address

    from provisioner.controlplane import Site
    from provisioner.stores.engine_keys import Endpoint
    from provisioner.system.facts import Facts
    from provisioner.transport import Connection

_OF_THE_BOOT = (ENGINE_LOADED, ENGINE_TLS, ENGINE_STARTED, "/run/provisioner-engine-again")
_OURS = ("cluster-store", "cluster-advertise", "cluster-store-opts")  # keys of daemon.json
_DOWN = frozenset({"", "inactive", "failed"})


class _Leaving:
    """What the steps of a removal have in common."""

    def barrier(self, site: Site, connections: Mapping[str, Connection]) -> None:
        pass


class Drain(_Leaving):
    """Containers are taken off the cluster's networks. They go on running, on the networks that they have besides."""

    name = "drain"
    title = "Containers off the cluster's networks"
    reads = ("http",)
    patience = 5.0
    cure = "take them off by hand: docker network disconnect -f NETWORK CONTAINER, and run again"

    def drift(self, site: Site, host: str) -> tuple[Drift, ...]:
        found = attached.on_shared(site.facts[host]).items()
        return tuple(
            Drift(Kind.CONTAINER, name, f"on {', '.join(networks)}", "on none of them") for name, networks in found
        )

    def work(self, site: Site, host: str, drift: tuple[Drift, ...]) -> Work:
        pairs = [
            (network, name) for name, networks in attached.on_shared(site.facts[host]).items() for network in networks
        ]
        return Work(
            render.script("drain.sh.j2", pairs=pairs), "taking containers off the networks", 60.0 + 5 * len(pairs)
        )


class LeaveEngine(_Leaving):
    """The engine without the store. It is restarted, for it lets go of a store in no other way; its containers go on."""

    name = "leave-engine"
    title = "Engine without the store"
    reads = ("files", "units", "http")
    patience = 20.0
    cure = "look at its log (journalctl -u docker), and run again"

    def drift(self, site: Site, host: str) -> tuple[Drift, ...]:
        facts = site.facts[host]
        old = facts.files.get(DAEMON_JSON, "")
        new = _without_ours(host, old)
        drift = [Drift(Kind.FILE, DAEMON_JSON, old, new, is_file=True)] if parse(host, old) != parse(host, new) else []
        drift += [Drift(Kind.FILE, path, "there", "gone", Action.REMOVE) for path in self._files(site, host)]
        units = (gossip.UNIT, *site.backend.sought.through)
        drift += [Drift(Kind.BOOT, unit, "on", "off", Action.DISABLE) for unit in units if facts.unit(unit).enabled]
        if store := facts.engine.get("ClusterStore"):
            drift.append(Drift(Kind.ENGINE_LEAVES, "store", store, "none", Action.RESTART))
        return tuple(drift)

    def work(self, site: Site, host: str, drift: tuple[Drift, ...]) -> Work:
        facts = site.facts[host]
        old = facts.files.get(DAEMON_JSON, "")
        found, info, through = parse(host, old), facts.engine, site.backend.sought.through
        left = parse(host, _without_ours(host, old))
        running = {"cluster-store": info.get("ClusterStore", ""), "cluster-advertise": info.get("ClusterAdvertise", "")}
        options = {key: found[key] for key in ("cluster-store-opts",) if key in found}
        stay = {"live-restore": True}
        texts = (  # how the engine lets its containers run while it is away, and forgets that again afterwards
            {**left, **running, **options, **stay},
            {**left, **stay},
            {**left, "live-restore": False},
        )
        script = render.script(
            "leave-engine.sh.j2",
            json_path=DAEMON_JSON,
            texts=[render.text("daemon.json.j2", settings=settings) for settings in texts],
            last=render.text("daemon.json.j2", settings=left) if left else "",
            write="yes" if found != left else "no",
            restart="yes" if running["cluster-store"] else "no",
            stays="yes" if _lets_containers_run(facts) else "no",
            files=[*self._files(site, host), *_OF_THE_BOOT],
            units=[unit for unit in (gossip.UNIT, *through) if facts.unit(unit).load == "loaded"],
            through=[unit for unit in through if facts.unit(unit).load == "loaded"],
        )
        return Work(script, "taking the engine off the store", deadline=240.0)

    def _files(self, site: Site, host: str) -> list[str]:
        ours = {ENGINE_DROPIN, ENGINE_DNS_DROPIN, *gossip.FILES, *site.backend.waiting(site, host).files}
        return sorted(ours & set(site.facts[host].files))


def _without_ours(host: str, text: str) -> str:
    """daemon.json without our keys; "" where nothing else is in it."""
    found = parse(host, text)
    left = {key: value for key, value in found.items() if key not in _OURS}
    if left == found:
        return text
    return render.text("daemon.json.j2", settings=left) if left else ""


def _lets_containers_run(facts: Facts) -> bool:
    """Whether the engine leaves its containers alone when it ends anyway, or is told so in another place than daemon.json."""
    places = (facts.unit("docker.service").command, *(facts.files.get(path, "") for path in ENGINE_OPTIONS))
    return bool(facts.engine.get("LiveRestoreEnabled")) or any("--live-restore" in place for place in places)


@dataclass(frozen=True)
class Members(_Leaving):
    """The store counts on the host no more. host: its name in the store; lives: whether it can say so itself."""

    host: str
    address: IPv4Address
    lives: bool
    name = "members"
    title = "Store that does without the host"
    reads = ("http",)
    patience = 30.0
    cure = "look at the log of its store (journalctl -u consul -u etcd), and run again"

    def drift(self, site: Site, host: str) -> tuple[Drift, ...]:
        """Of one host that speaks for all."""
        store = site.managed
        known = store.knows(site.facts[host], self.host, self.address) if store and host == self._speaker(site) else ""
        return (Drift(Kind.MEMBER, self.host, known, "left", Action.LEAVE, site.backend.title),) if known else ()

    def work(self, site: Site, host: str, drift: tuple[Drift, ...]) -> Work | None:
        return None

    def barrier(self, site: Site, connections: Mapping[str, Connection]) -> None:
        own = connections.get(self.host) if self.lives else None
        if site.managed:
            site.managed.leave(own, connections[self._speaker(site)], site, self.host)

    def _speaker(self, site: Site) -> str:
        return next((name for name in site.servers if name in site.live), site.live[0] if site.live else "")


class Leave(_Leaving):
    """What else is ours on the host goes: the store's server or agent, whose data are kept, and the firewall's rules."""

    name = "leave"
    title = "Host without what was ours"
    reads = ("system", "files", "units", "http", "firewall")
    patience = 5.0
    cure = "take away what is left by hand (docs/hosts.md), or run again"

    def drift(self, site: Site, host: str) -> tuple[Drift, ...]:
        facts, sought = site.facts[host], site.plane.sought(site.inventory)
        drift = []
        if self._store(site, host):
            active = [unit for unit in sought.units if facts.unit(unit).active not in _DOWN]
            drift += [Drift(Kind.UNIT, unit, facts.unit(unit).active, "stopped", Action.STOP) for unit in active]
            drift += [
                Drift(Kind.BOOT, unit, "on", "off", Action.DISABLE) for unit in sought.units if facts.unit(unit).enabled
            ]
            drift.append(Drift(Kind.DATA, sought.data, "the store's data", "kept beside it, as .bak"))
        drift += [Drift(Kind.FILE, path, "there", "gone", Action.REMOVE) for path in self._files(site, host)]
        unit = facts.unit(firewall.UNIT)
        if unit.enabled:
            drift.append(Drift(Kind.BOOT, firewall.UNIT, "on", "off", Action.DISABLE))
        drift += [Drift(Kind.RULES, name, "ours", "none", Action.REMOVE) for name in firewall.ours(facts, site.ports)]
        return tuple(drift)

    def work(self, site: Site, host: str, drift: tuple[Drift, ...]) -> Work:
        sought, store = site.plane.sought(site.inventory), self._store(site, host)
        script = render.script(
            "leave.sh.j2",
            units=sought.units if store else (),
            data=sought.data if store else "",
            removals=firewall.REMOVALS,
            firewall=firewall.UNIT if site.facts[host].unit(firewall.UNIT).load == "loaded" else "",
            files=self._files(site, host),
        )
        return Work(script, "taking away what was ours", deadline=120.0)

    def _store(self, site: Site, host: str) -> bool:
        """Whether a server or agent of ours is there."""
        config = site.plane.sought(site.inventory).config
        return bool(config) and config in site.facts[host].files

    def _files(self, site: Site, host: str) -> list[str]:
        """The store's configuration is the last, since it tells that the rest was ours."""
        sought, facts = site.plane.sought(site.inventory), site.facts[host]
        of_store = set(sought.files) if site.plane.name == "kv" else set()  # a swarm's files are the engine's
        ours = {*firewall.FILES, *of_store} & set(facts.files) | set(facts.secrets)
        ours |= {path for path in sought.sums if facts.sum(path)}
        return sorted(ours, key=lambda path: (path == sought.config, path))


@dataclass(frozen=True)
class Endpoints(_Leaving):
    """The names and addresses that containers of the host still have on the networks are free again.

    A live engine frees them (`docker network disconnect -f`), which also gives the address back; keys are never deleted.
    It must have no container of that name itself, for it would take that one off the network.
    drained: the containers that an earlier step takes off the networks.
    """

    host: str
    address: IPv4Address
    drained: frozenset[str] = frozenset()
    name = "endpoints"
    title = "Names and addresses of its containers free again"
    reads = ("http",)
    patience = 10.0
    cure = "free them by hand on a host without a container of that name: docker network disconnect -f NETWORK NAME"

    def drift(self, site: Site, host: str) -> tuple[Drift, ...]:
        networks = _ids(site.facts[host])
        return tuple(
            Drift(
                Kind.ENDPOINT, found.name, f"of {self.host}", "free", action=Action.REMOVE, of=networks[found.network]
            )
            for found in self._mine(site, host)
        )

    def work(self, site: Site, host: str, drift: tuple[Drift, ...]) -> Work:
        pairs = [(found.network, found.name) for found in self._mine(site, host)]
        text = f"freeing what containers of {self.host} had"
        return Work(render.script("free.sh.j2", pairs=pairs), text, deadline=60.0 + 5 * len(pairs))

    def _mine(self, site: Site, host: str) -> list[Endpoint]:
        """Those that this host frees, as it was told of them itself: each reading is newer than those of the others."""
        stale = (e for e in site.backend.attached(site.facts[host]) if e.host == self.address)
        return [e for e in stale if e.name not in self.drained and host == _freeing(site, e)]


def _ids(facts: Facts) -> dict[str, str]:
    return {str(network["Id"]): name for name, network in facts.networks.items()}


def _freeing(site: Site, endpoint: Endpoint) -> str:
    """The first host that was told of it, knows the network and has no container of that name; "" where the network is gone."""
    told = [name for name in site.live if endpoint in site.backend.attached(site.facts[name])]
    knowing = [name for name in told if endpoint.network in _ids(site.facts[name])]
    without = [name for name in knowing if endpoint.name not in attached.names(site.facts[name])]
    return next(iter([*without, *knowing]), "")
