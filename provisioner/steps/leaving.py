"""What takes one host out of a cluster that goes on without it: steps as any other, in the order in which a removal runs them.

The first two and the fourth are of the host itself, where it lives; the third and the last are of those that stay. Each
sees from the hosts what is left to do, so an interrupted removal goes on where it stopped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from provisioner import render, stores
from provisioner.model import Action, Drift, Kind
from provisioner.steps import OWNED, remains, resolvers
from provisioner.steps.base import OfHosts, Work
from provisioner.steps.daemon import Daemon
from provisioner.stores import proxy
from provisioner.stores.base import WAITER
from provisioner.system import attached, firewall, owned, plugins
from provisioner.system.daemon_json import parse
from provisioner.system.owned import UNITS, Owned, together
from provisioner.system.reading import (
    DAEMON_JSON,
    ENGINE_AGAIN,
    ENGINE_LOADED,
    ENGINE_OPTIONS,
    ENGINE_STARTED,
    ENGINE_TLS,
)
from provisioner.system.strict import json_object

if TYPE_CHECKING:
    from collections.abc import Mapping
    from ipaddress import IPv4Address

    from provisioner.controlplane import Site
    from provisioner.stores.engine_keys import Endpoint
    from provisioner.system.facts import Facts
    from provisioner.system.owned import Data, Found
    from provisioner.transport import Connection

_OF_THE_BOOT = (ENGINE_LOADED, ENGINE_TLS, ENGINE_STARTED)
_ENGINE = together([Daemon.owns, proxy.OWNED, Owned(files=(WAITER,))])


@dataclass(frozen=True)
class Drain(OfHosts):
    """Containers are taken off the cluster's networks. They go on running, on the networks that they have besides.

    also: networks of one host that they are taken off too.
    """

    also: frozenset[str] = frozenset()

    name = "drain"
    title = "Containers off the cluster's networks"
    reads = ("http",)
    patience = 5.0
    cure = "take them off by hand: docker network disconnect -f NETWORK CONTAINER, and run again"

    def drift(self, site: Site, host: str) -> tuple[Drift, ...]:
        found = attached.on_shared(site.facts[host], also=self.also).items()
        return tuple(
            Drift(Kind.CONTAINER, name, f"on {', '.join(networks)}", "on none of them") for name, networks in found
        )

    def work(self, site: Site, host: str, drift: tuple[Drift, ...]) -> Work:
        pairs = [
            (network, name)
            for name, networks in attached.on_shared(site.facts[host], also=self.also).items()
            for network in networks
        ]
        return Work(
            render.script("drain.sh.j2", pairs=pairs), "taking containers off the networks", 60.0 + 5 * len(pairs)
        )


class LeaveEngine(OfHosts):
    """The engine without the store, and daemon.json as it was before.

    The engine is restarted, for it lets go of a store in no other way; its containers go on.
    """

    name = "leave-engine"
    title = "Engine without the store"
    reads = ("files", "units", "http", "owned")
    patience = 20.0
    cure = "look at its log (journalctl -u docker), and run again"

    def drift(self, site: Site, host: str) -> tuple[Drift, ...]:
        facts, there = site.facts[host], remains.found(site.facts[host])
        old, before = facts.files.get(DAEMON_JSON, ""), remains.before(host, facts, site.inventory.dns)
        drift = [Drift(Kind.FILE, DAEMON_JSON, old, before.text, is_file=True)] if old != before.text else []
        drift += [Drift(Kind.FILE, path, "there", "gone", Action.REMOVE) for path in (*before.copies, *_files(there))]
        drift += [
            d for unit in _units(there) if unit in there.of("enabled") for d in _stopping(there, unit, at_boot=True)
        ]
        what, found = _taken_up(site, host)
        if found:
            drift.append(Drift(Kind.ENGINE_LEAVES, what, found, "none", Action.RESTART))
        return tuple(drift)

    def work(self, site: Site, host: str, drift: tuple[Drift, ...]) -> Work:
        facts, there = site.facts[host], remains.found(site.facts[host])
        old, before = facts.files.get(DAEMON_JSON, ""), remains.before(host, facts, site.inventory.dns)
        script = render.script(
            "leave-engine.sh.j2",
            json_path=DAEMON_JSON,
            texts=[
                render.text("daemon.json.j2", settings=settings) for settings in _meanwhile(host, facts, before.text)
            ],
            last=before.text,
            backup=before.backup,
            copies=before.copies,
            write="yes" if old != before.text else "no",
            restart="yes" if _taken_up(site, host)[1] else "no",
            stays="yes" if _lets_containers_run(facts) else "no",
            files=[*_files(there), *_OF_THE_BOOT],
            again=ENGINE_AGAIN,
            units=_units(there),
            through=[unit for unit in _units(there) if unit in proxy.OWNED.units],
        )
        return Work(script, "taking the engine off the store", deadline=240.0)


def _files(there: Found) -> list[str]:
    """Those of the engine's that are there."""
    files = there.of("file") | {f"{UNITS}/{unit}" for unit in there.of("unit")}
    return sorted(path for path in files if path in {*_ENGINE.files, *_ENGINE.unit_files} - set(_OF_THE_BOOT))


def _units(there: Found) -> list[str]:
    return sorted(there.of("unit") & set(_ENGINE.units))


def _taken_up(site: Site, host: str) -> tuple[str, str]:
    """What of ours the running engine has taken up at its start: a store, or resolvers. For people."""
    facts = site.facts[host]
    if store := facts.engine.get("ClusterStore"):
        return "store", str(store)
    settings = parse(host, facts.files.get(DAEMON_JSON, ""))
    if not facts.engine and facts.unit("docker.service").up and "cluster-store" in settings:
        return "store", str(settings["cluster-store"])  # it does not answer, as engines do whose store has no leader
    asked, started = resolvers.settings(site.inventory.dns), json_object(facts.files.get(ENGINE_STARTED, ""))
    ours = [key for key, words in asked.items() if started.get(key) == words]
    return "DNS", ", ".join(ours) if facts.engine else ""


def _meanwhile(host: str, facts: Facts, last: str) -> tuple[dict[str, Any], ...]:
    """daemon.json while the engine is away, so that its containers run on; and then, so that it forgets that again."""
    left, found, info = parse(host, last), parse(host, facts.files.get(DAEMON_JSON, "")), facts.engine
    running = {"cluster-store": info.get("ClusterStore", ""), "cluster-advertise": info.get("ClusterAdvertise", "")}
    running |= {key: found[key] for key in ("cluster-store-opts",) if key in found}
    stay = {"live-restore": True}
    return (
        {**left, **{key: value for key, value in running.items() if value}, **stay},
        {**left, **stay},
        {**left, "live-restore": False},
    )


def _lets_containers_run(facts: Facts) -> bool:
    """Whether the engine leaves its containers alone when it ends anyway, or is told so in another place than daemon.json."""
    places = (facts.unit("docker.service").command, *(facts.files.get(path, "") for path in ENGINE_OPTIONS))
    return bool(facts.engine.get("LiveRestoreEnabled")) or any("--live-restore" in place for place in places)


@dataclass(frozen=True)
class Members(OfHosts):
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

    def act(self, site: Site, connections: Mapping[str, Connection]) -> None:
        own = connections.get(self.host) if self.lives else None
        if site.managed:
            site.managed.leave(own, connections[self._speaker(site)], site, self.host)

    def _speaker(self, site: Site) -> str:
        return next((name for name in site.servers if name in site.live), site.live[0] if site.live else "")


@dataclass(frozen=True)
class Leave(OfHosts):
    """What else is ours on the host goes: the store's server or agent, rules, files, users, folders.

    data: whether the store's data go too; without it they are kept beside their place.
    unrecorded: whether users and programs go that an earlier version, which kept no record, may have made.
    """

    data: bool = False
    unrecorded: bool = False
    name = "leave"
    title = "Host without what was ours"
    reads = ("system", "files", "units", "http", "firewall", "owned")
    patience = 5.0
    cure = "take away what is left by hand (docs/hosts.md), or run again"

    def drift(self, site: Site, host: str) -> tuple[Drift, ...]:
        facts, there = site.facts[host], remains.found(site.facts[host])
        drift = [d for unit in _other_units(there) if unit != firewall.UNIT for d in _stopping(there, unit)]
        kept = "gone" if self.data else "kept beside it, as .bak"
        drift += [Drift(Kind.DATA, data.folder, "the store's data", kept) for data in _data(there)]
        old = sorted(there.of("kept")) if self.data else []
        drift += [Drift(Kind.DATA, path, "the store's data, kept", "gone", Action.REMOVE) for path in old]
        drift += [Drift(Kind.FILE, path, "there", "gone", Action.REMOVE) for path in self._paths(site, host, there)]
        drift += _stopping(there, firewall.UNIT)
        drift += [Drift(Kind.RULES, name, "ours", "none", Action.REMOVE) for name in firewall.ours(facts, site.ports)]
        drift += [Drift(Kind.USER, user, "there", "gone", Action.REMOVE) for user in self._users(there)]
        drift += [Drift(Kind.FOLDER, path, "empty", "gone", Action.REMOVE) for path in _folders(there)]
        drift += [Drift(Kind.FILE, path, "kept", "back in its place") for path in sorted(there.of("old"))]
        if _undone(there):
            drift.append(Drift(Kind.RECORD, owned.RECORD, "there", "done with", Action.REMOVE))
        return tuple(drift)

    def work(self, site: Site, host: str, drift: tuple[Drift, ...]) -> Work:
        there = remains.found(site.facts[host])
        script = render.script(
            "leave.sh.j2",
            units=_other_units(there),
            data=[{"folder": data.folder, "again": _is_packages(there, data.folder)} for data in _data(there)],
            kept=sorted(there.of("kept")) if self.data else [],
            delete=self.data,
            removals=firewall.REMOVALS,
            files=self._paths(site, host, there),
            plugins=_plugins(there),
            users=self._users(there),
            folders=_folders(there, even_full=True),
            modes=_modes(there),
            states={unit: how.split() for unit, how in there.noted("unit").items()},
            old={path: path[: -len(".12345678.bak")] for path in sorted(there.of("old"))},
            record=owned.RECORD,
            done=[kind for kind in there.notes if kind not in LATER],
        )
        return Work(script, "taking away what was ours", deadline=120.0)

    def _paths(self, site: Site, host: str, there: Found) -> list[str]:
        """The files. The store's configuration is the last, since it tells that the data are ours."""
        files = set(there.of("file") - set(_ENGINE.files)) | {f"{UNITS}/{unit}" for unit in _other_units(there)}
        files |= there.of("program") & there.noted("program").keys()
        files |= _unrecorded(there, "program") if self.unrecorded else set()
        files |= set(_specs(site, host, there))
        configs = {data.config for data in OWNED.data}
        return sorted(files, key=lambda path: (path in configs, path))

    def _users(self, there: Found) -> list[str]:
        noted = there.of("user") & there.noted("user").keys() & set(OWNED.users)
        return sorted(noted | (_unrecorded(there, "user") if self.unrecorded else set()))


def _unrecorded(there: Found, kind: str) -> set[str]:
    """Users or programs that an earlier version may have made; a user that a package has made goes with that."""
    if not there.incomplete or kind in there.notes:
        return set()
    return {
        name for name in there.of(kind) if kind != "user" or stores.PACKAGE_OF.get(name) not in there.of("installed")
    }


def unrecorded_of(there: Found) -> list[str]:
    """For people: users and programs that no record tells of."""
    return [f"{kind} {name}" for kind in ("user", "program") for name in sorted(_unrecorded(there, kind))]


OF_PACKAGES = frozenset({"package", "package-user", "package-group", "package-folder"})  # kinds of notes
LATER = OF_PACKAGES | {"begun"}
_ALWAYS = "/etc/systemd/system/docker.service.d"  # made by every earlier version, which kept no record


def _undone(there: Found) -> bool:
    return bool(there.notes.keys() - LATER) or there.notes.keys() == {"begun"}


def _stopping(there: Found, unit: str, *, at_boot: bool = False) -> list[Drift]:
    """at_boot: only that it starts then."""
    active = unit in there.of("active") and not at_boot
    drift = [Drift(Kind.UNIT, unit, "active", "stopped", Action.STOP)] if active else []
    return drift + ([Drift(Kind.BOOT, unit, "on", "off", Action.DISABLE)] if unit in there.of("enabled") else [])


def _other_units(there: Found) -> list[str]:
    """All that are no engine's, that of the firewall last: the ports are closed to others as long as anything listens."""
    return sorted(there.of("unit") - set(_ENGINE.units), key=lambda unit: (unit == firewall.UNIT, unit))


def _data(there: Found) -> list[Data]:
    return [data for data in OWNED.data if data.folder in there.of("data")]


def _is_packages(there: Found, folder: str) -> bool:
    """Whether the folder that data lie in is a package's own, which it does not make again."""
    return folder in OWNED.folders and folder not in there.noted("folder")


def _specs(site: Site, host: str, there: Found) -> list[str]:
    """What tells the engine of plugins that run by themselves, as the inventory has it, and nobody had it before."""
    facts = site.facts[host]
    specs = [spec for name, plugin in site.inventory.plugins.items() for spec in plugins.spec(name, plugin).items()]
    return [
        path
        for path, text in specs
        if facts.files.get(path) == text and (path in there.noted("file") or there.incomplete)
    ]


def _plugins(there: Found) -> list[str]:
    """The names of those that the engine manages, and that we installed."""
    return [path.rpartition("/")[2] for path in sorted(there.of("file")) if path.startswith(f"{plugins.ORIGINS}/")]


def _folders(there: Found, *, even_full: bool = False) -> list[str]:
    """Those to be removed once they are empty, what lies in others first. even_full: they will be."""
    made = {path for path in OWNED.folders if "provisioner" in path or path in there.noted("folder")}
    made |= {_ALWAYS} if there.incomplete else set()
    return sorted(made if even_full else made & there.of("empty"), reverse=True)


def _modes(there: Found) -> dict[str, tuple[str, str]]:
    """Folder -> mode and owner, as they were."""
    places = {*OWNED.folders, *(data.folder for data in OWNED.data)}
    told = ((path, how.split()) for path, how in there.noted("mode").items() if path in places)
    return {path: (words[0], words[1]) for path, words in told if len(words) == 2}  # noqa: PLR2004 - as files.pl notes it


@dataclass(frozen=True)
class Endpoints(OfHosts):
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
