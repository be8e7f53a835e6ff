"""The steps that take one host out of a cluster, in the order in which `remove` runs them.

Drain, LeaveEngine and Leave run on the leaving host, if it is alive. Members and Endpoints run on the remaining hosts.
Each step reads from the hosts what is left to do, so an interrupted removal continues where it stopped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from provisioner import render
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

_CLUSTER = ("cluster-store", "cluster-advertise", "cluster-store-opts")
_OF_THE_BOOT = (ENGINE_LOADED, ENGINE_TLS, ENGINE_STARTED)
_ENGINE = together([Daemon.owns, proxy.OWNED, Owned(files=(WAITER,))])


@dataclass(frozen=True)
class Drain(OfHosts):
    """Disconnect containers from the cluster's networks. They keep running, on their other networks.

    also: names of more networks from which they are disconnected, too: local ones, or those that an engine may not list.
    """

    also: frozenset[str] = frozenset()

    name = "drain"
    title = "Containers disconnected from the cluster's networks"
    reads = ("http",)
    patience = 20.0
    cure = "disconnect them by hand: docker network disconnect -f NETWORK CONTAINER; then run again"

    def drift(self, site: Site, host: str) -> tuple[Drift, ...]:
        found = attached.on_shared(site.facts[host], also=self.also).items()
        drift = [Drift(Kind.CONTAINER, name, f"on {', '.join(networks)}", "disconnected") for name, networks in found]
        if attached.unknown(site.facts[host]):
            drift.append(Drift(Kind.ENGINE, "", "no answer", "the list of its containers", Action.WAIT))
        return tuple(drift)

    def work(self, site: Site, host: str, drift: tuple[Drift, ...]) -> Work:
        listed = site.facts[host].networks
        pairs = [
            (network, name, network in listed)
            for name, networks in attached.on_shared(site.facts[host], also=self.also).items()
            for network in networks
        ]
        return Work(render.script("drain.sh.j2", pairs=pairs), "disconnecting containers", 60.0 + 5 * len(pairs))


class LeaveEngine(OfHosts):
    """Remove the store from the engine, and restore the earlier daemon.json.

    An engine leaves its store only when it restarts. Its containers keep running.
    """

    name = "leave-engine"
    title = "Engine without the store"
    reads = ("files", "units", "http", "owned")
    patience = 20.0
    cure = "check its log (journalctl -u docker), then run again"

    def drift(self, site: Site, host: str) -> tuple[Drift, ...]:
        facts, there = site.facts[host], remains.found(site.facts[host])
        old, before = facts.files.get(DAEMON_JSON, ""), remains.before(host, facts, site.inventory.dns)
        drift = [Drift(Kind.FILE, DAEMON_JSON, old, before.text, is_file=True)] if old != before.text else []
        drift += [
            Drift(Kind.FILE, path, "present", "absent", Action.REMOVE) for path in (*before.copies, *_files(there))
        ]
        drift += [
            d for unit in _units(there) if unit in there.of("enabled") for d in _stopping(there, unit, at_boot=True)
        ]
        what, found = _loaded(site, host)
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
                render.text("daemon.json.j2", settings=settings) for settings in _transitional(host, facts, before.text)
            ],
            last=before.text,
            backup=before.backup,
            copies=before.copies,
            write="yes" if old != before.text else "no",
            restart="yes" if _loaded(site, host)[1] else "no",
            stays="yes" if _has_live_restore(facts) else "no",
            files=[*_files(there), *_OF_THE_BOOT],
            again=ENGINE_AGAIN,
            units=_units(there),
            through=[unit for unit in _units(there) if unit in proxy.OWNED.units],
        )
        return Work(script, "removing the store from the engine", deadline=240.0)


def _files(there: Found) -> list[str]:
    """Return the paths of our files for the engine that exist on the host."""
    files = there.of("file") | {f"{UNITS}/{unit}" for unit in there.of("unit")}
    return sorted(path for path in files if path in {*_ENGINE.files, *_ENGINE.unit_files} - set(_OF_THE_BOOT))


def _units(there: Found) -> list[str]:
    return sorted(there.of("unit") & set(_ENGINE.units))


def _loaded(site: Site, host: str) -> tuple[str, str]:
    """Return which of our settings the running engine has loaded, as texts: ("store", URL) or ("DNS", keys).

    The second text is empty if there is none.
    """
    facts = site.facts[host]
    if store := facts.engine.get("ClusterStore"):
        return "store", str(store)
    settings = parse(host, facts.files.get(DAEMON_JSON, ""))
    if not facts.engine and facts.unit("docker.service").up and "cluster-store" in settings:
        # An engine that does not answer may be waiting for a store without a leader.
        return "store", str(settings["cluster-store"])
    wanted, started = resolvers.settings(site.inventory.dns), json_object(facts.files.get(ENGINE_STARTED, ""))
    ours = [key for key, words in wanted.items() if started.get(key) == words]
    return "DNS", ", ".join(ours) if facts.engine else ""


def _transitional(host: str, facts: Facts, last: str) -> tuple[dict[str, Any], ...]:
    """Return the contents of daemon.json that the script writes one after the other, before the last one.

    The first turns live-restore on in a reload, with the store's settings that the engine runs with. The second is for the
    restart without the store. The third turns live-restore off again.
    """
    left, found, info = parse(host, last), parse(host, facts.files.get(DAEMON_JSON, "")), facts.engine
    running = {key: found[key] for key in _CLUSTER if key in found}
    if info:  # the engine's own answer counts; an engine whose store has no leader may give none
        running |= {
            "cluster-store": info.get("ClusterStore", ""),
            "cluster-advertise": info.get("ClusterAdvertise", ""),
        }
    stay = {"live-restore": True}
    return (
        {**left, **{key: value for key, value in running.items() if value}, **stay},
        {**left, **stay},
        {**left, "live-restore": False},
    )


def _has_live_restore(facts: Facts) -> bool:
    """Return whether live-restore is already on, or is set outside daemon.json."""
    places = (facts.unit("docker.service").command, *(facts.files.get(path, "") for path in ENGINE_OPTIONS))
    return bool(facts.engine.get("LiveRestoreEnabled")) or any("--live-restore" in place for place in places)


@dataclass(frozen=True)
class Members(OfHosts):
    """Remove the host from the store's members.

    host: its name in the store. lives: whether its own server or agent runs, and can leave by itself.
    """

    host: str
    address: IPv4Address
    lives: bool
    name = "members"
    title = "Store without the host"
    reads = ("http",)
    patience = 30.0
    cure = "check the store's log there (journalctl -u consul -u etcd), then run again"

    def drift(self, site: Site, host: str) -> tuple[Drift, ...]:
        """Return the member that is to leave. Only the host that acts for all others reports it."""
        store = site.managed
        known = store.knows(site.facts[host], self.host, self.address) if store and host == self._actor(site) else ""
        return (Drift(Kind.MEMBER, self.host, known, "removed", Action.LEAVE, site.backend.title),) if known else ()

    def work(self, site: Site, host: str, drift: tuple[Drift, ...]) -> Work | None:
        return None

    def act(self, site: Site, connections: Mapping[str, Connection]) -> None:
        own = connections.get(self.host) if self.lives else None
        if site.managed:
            site.managed.leave(own, connections[self._actor(site)], site, self.host)

    def _actor(self, site: Site) -> str:
        return next((name for name in site.servers if name in site.live), site.live[0] if site.live else "")


@dataclass(frozen=True)
class Leave(OfHosts):
    """Remove everything else that we put on the host: the store's server or agent, rules, files, users, folders.

    data: delete the store's data. Otherwise they are renamed and kept.
    """

    data: bool = False
    name = "leave"
    title = "Host cleaned up"
    reads = ("system", "files", "units", "http", "firewall", "owned")
    patience = 5.0
    cure = "run again, or remove what is left by hand (docs/hosts.md)"

    def drift(self, site: Site, host: str) -> tuple[Drift, ...]:
        facts, there = site.facts[host], remains.found(site.facts[host])
        drift = [d for unit in _other_units(there) if unit != firewall.UNIT for d in _stopping(there, unit)]
        kept = "deleted" if self.data else "renamed to .bak"
        drift += [Drift(Kind.DATA, data.folder, "the store's data", kept) for data in _data(there)]
        old = sorted(there.of("kept")) if self.data else []
        drift += [Drift(Kind.DATA, path, "kept data of the store", "deleted", Action.REMOVE) for path in old]
        drift += [Drift(Kind.FILE, path, "present", "absent", Action.REMOVE) for path in self._paths(site, host, there)]
        drift += _stopping(there, firewall.UNIT)
        drift += [Drift(Kind.RULES, name, "ours", "none", Action.REMOVE) for name in firewall.ours(facts, site.ports)]
        drift += [Drift(Kind.USER, user, "present", "absent", Action.REMOVE) for user in _users(there)]
        drift += [Drift(Kind.FOLDER, path, "empty", "absent", Action.REMOVE) for path in _folders(there)]
        drift += [Drift(Kind.FILE, path, "saved copy", "restored") for path in sorted(there.of("old"))]
        if _is_unfinished(there):
            drift.append(Drift(Kind.RECORD, owned.RECORD, "present", "absent", Action.REMOVE))
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
            users=_users(there),
            folders=_folders(there, even_full=True),
            modes=_modes(there),
            states={unit: how.split() for unit, how in there.noted("unit").items()},
            old={path: path[: -len(".12345678.bak")] for path in sorted(there.of("old"))},
            record=owned.RECORD,
            done=[kind for kind in there.notes if kind not in LATER],
        )
        return Work(script, "cleaning up the host", deadline=120.0)

    def _paths(self, site: Site, host: str, there: Found) -> list[str]:
        """Return the files to remove. The store's configuration is the last: it marks the store's data as ours."""
        files = set(there.of("file") - set(_ENGINE.files)) | {f"{UNITS}/{unit}" for unit in _other_units(there)}
        files |= there.of("program") & there.noted("program").keys()
        files |= set(_specs(site, host, there))
        configs = {data.config for data in OWNED.data}
        return sorted(files, key=lambda path: (path in configs, path))


def _users(there: Found) -> list[str]:
    return sorted(there.of("user") & there.noted("user").keys() & set(OWNED.users))


OF_PACKAGES = frozenset({"package", "package-user", "package-group", "package-folder"})  # kinds of notes
LATER = OF_PACKAGES | {"begun"}
_UNRECORDED_FOLDER = "/etc/systemd/system/docker.service.d"  # every earlier version created it, without a record


def _is_unfinished(there: Found) -> bool:
    """Return whether the record still has notes that this step resolves."""
    return bool(there.notes.keys() - LATER) or there.notes.keys() == {"begun"}


def _stopping(there: Found, unit: str, *, at_boot: bool = False) -> list[Drift]:
    """Return the drift of a unit that is to stop and to be disabled. at_boot: only to be disabled."""
    active = unit in there.of("active") and not at_boot
    drift = [Drift(Kind.UNIT, unit, "active", "stopped", Action.STOP)] if active else []
    return drift + ([Drift(Kind.BOOT, unit, "on", "off", Action.DISABLE)] if unit in there.of("enabled") else [])


def _other_units(there: Found) -> list[str]:
    """Return our units that do not belong to the engine. The firewall's is last: ports stay closed while programs listen."""
    return sorted(there.of("unit") - set(_ENGINE.units), key=lambda unit: (unit == firewall.UNIT, unit))


def _data(there: Found) -> list[Data]:
    return [data for data in OWNED.data if data.folder in there.of("data")]


def _is_packages(there: Found, folder: str) -> bool:
    """Return whether a package created this data folder. The package would not create it again."""
    return folder in OWNED.folders and folder not in there.noted("folder")


def _specs(site: Site, host: str, there: Found) -> list[str]:
    """Return the spec files of plugins that run on their own, if they equal the inventory's and a run created them."""
    facts = site.facts[host]
    specs = [spec for name, plugin in site.inventory.plugins.items() for spec in plugins.spec(name, plugin).items()]
    return [
        path
        for path, text in specs
        if facts.files.get(path) == text and (path in there.noted("file") or there.incomplete)
    ]


def _plugins(there: Found) -> list[str]:
    """Return the names of the managed plugins that we installed."""
    return [path.rpartition("/")[2] for path in sorted(there.of("file")) if path.startswith(f"{plugins.ORIGINS}/")]


def _folders(there: Found, *, even_full: bool = False) -> list[str]:
    """Return our folders that are empty, nested ones first. even_full: also those that are not empty yet."""
    made = {path for path in OWNED.folders if "provisioner" in path or path in there.noted("folder")}
    made |= {_UNRECORDED_FOLDER} if there.incomplete else set()
    return sorted(made if even_full else made & there.of("empty"), reverse=True)


def _modes(there: Found) -> dict[str, tuple[str, str]]:
    """Return the recorded mode and owner of each folder that we changed."""
    places = {*OWNED.folders, *(data.folder for data in OWNED.data)}
    noted = ((path, how.split()) for path, how in there.noted("mode").items() if path in places)
    # files.pl writes "MODE UID:GID"
    return {path: (words[0], words[1]) for path, words in noted if len(words) == 2}  # noqa: PLR2004


@dataclass(frozen=True)
class Endpoints(OfHosts):
    """Free the names and addresses that the host's containers still have on the networks.

    A live engine frees them with `docker network disconnect -f`, which also releases the address. Keys in the store are
    never deleted directly. The engine must have no container of that name: it would disconnect its own container instead.
    drained: names of the containers that an earlier step disconnects.
    """

    host: str
    address: IPv4Address
    drained: frozenset[str] = frozenset()
    name = "endpoints"
    title = "Names and addresses of its containers freed"
    reads = ("http",)
    patience = 10.0
    cure = "free them by hand, on a host without a container of that name: docker network disconnect -f NETWORK NAME"

    def drift(self, site: Site, host: str) -> tuple[Drift, ...]:
        networks = _ids(site.facts[host])
        return tuple(
            Drift(
                Kind.ENDPOINT, found.name, f"of {self.host}", "free", action=Action.REMOVE, of=networks[found.network]
            )
            for found in self._freed_by(site, host)
        )

    def work(self, site: Site, host: str, drift: tuple[Drift, ...]) -> Work:
        pairs = [(found.network, found.name) for found in self._freed_by(site, host)]
        text = f"freeing the endpoints of {self.host}"
        return Work(render.script("free.sh.j2", pairs=pairs), text, deadline=60.0 + 5 * len(pairs))

    def _freed_by(self, site: Site, host: str) -> list[Endpoint]:
        """Return the endpoints that this host frees.

        Only its own reading counts: after its work it is newer than the readings of the other hosts.
        """
        stale = (e for e in site.backend.attached(site.facts[host]) if e.host == self.address)
        return [e for e in stale if e.name not in self.drained and host == _freeing(site, e)]


def _ids(facts: Facts) -> dict[str, str]:
    return {str(network["Id"]): name for name, network in facts.networks.items()}


def _freeing(site: Site, endpoint: Endpoint) -> str:
    """Return the host that frees an endpoint, or "" if its network no longer exists.

    The host must have read the endpoint and know its network. One without a container of that name is preferred.
    """
    reading = [name for name in site.live if endpoint in site.backend.attached(site.facts[name])]
    knowing = [name for name in reading if endpoint.network in _ids(site.facts[name])]
    without = [name for name in knowing if endpoint.name not in attached.names(site.facts[name])]
    return next(iter([*without, *knowing]), "")
