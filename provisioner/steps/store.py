"""The store runs on its hosts, and has a leader before the engines use it. Its backend decides how it is set up.

The step does nothing for an external store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner import render, stores
from provisioner.errors import ProvisionerError, StepFailed, StoreError
from provisioner.model import Action, Drift, Kind, State
from provisioner.parallel import each
from provisioner.steps.base import Work, differing, differing_secrets
from provisioner.system import owned

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from provisioner.controlplane import Site
    from provisioner.model import Outcome
    from provisioner.stores.protocols import ManagedStore
    from provisioner.stores.values import Service
    from provisioner.system.facts import Facts
    from provisioner.transport import Connection, Reader

_LOOK = 20.0  # seconds to read whether a server runs
_TEXTS: Mapping[Action, str] = {  # the most urgent first
    Action.START: "starting",
    Action.RESTART: "restarting",
    Action.RELOAD: "reloading",
    Action.WRITE: "writing the files of",
}


class Store:
    name = "store"
    owns = stores.OWNED
    title = "Store with a leader"
    reads = ("system", "files", "units", "http")
    patience = (
        60.0  # serf tries again after 30 s to reach an agent that it considers dead, for example on a busy machine
    )
    cure = "check the log of its store (journalctl -u consul -u etcd -u zookeeper), then run again"

    def drift(self, site: Site, host: str) -> tuple[Drift, ...]:
        backend = site.managed
        if not backend or not backend.runs_on(site, host):
            return ()
        facts, service = site.facts[host], backend.service(site, host)
        drift = differing(facts, {file.path: file.text for file in service.files})
        drift += differing_secrets(facts, service.secrets, backend.title)
        drift += [
            Drift(Kind.FOLDER, folder, "writable by other users", "writable by root only")
            for folder in _writable_by_others(facts, service)
        ]
        drift += [Drift(Kind.FILE, path, "present", "absent", Action.REMOVE) for path in service.gone]
        unit = facts.unit(service.unit)
        if not unit.up:
            drift.append(Drift(Kind.UNIT, service.unit, unit.active, "active", Action.START))
        elif backend.outdated(site, host, service):
            was = "an earlier configuration"
            drift.append(Drift(Kind.SERVER, service.unit, was, "the current one", Action.RESTART, backend.title))
        elif not drift:
            drift += backend.membership(site, host)
        if not unit.enabled:
            drift.append(Drift(Kind.BOOT, service.unit, "off", "on", Action.ENABLE))
        return tuple(drift)

    def work(self, site: Site, host: str, drift: tuple[Drift, ...]) -> Work | None:
        backend, actions = site.managed, {d.action for d in drift}
        if not backend or actions == {Action.WAIT}:
            return None
        action = next(urgent for urgent in _TEXTS if urgent in {*actions, Action.WRITE})
        service = backend.service(site, host)
        marking = {
            "parents": sorted({file.path.rpartition("/")[0] for file in service.files} - {owned.UNITS}),
            "mark": owned.MARK,
        }
        script = render.script("store.sh.j2", service=service, title=backend.title, action=action.value, **marking)
        alone = action in {Action.RESTART, Action.RELOAD} and backend.formed(site)
        rank = 2 if str(site.advertise[host]) == backend.leader(site.facts[host]) else int(host in site.servers)
        return Work(script, f"{_TEXTS[action]} {backend.title}", deadline=90.0, alone=alone, rank=rank)

    def engines_return(self, site: Site, outcomes: Iterable[Outcome]) -> float:
        """Return the seconds that engines need to find the store again after it was away; 0 if none had joined it.

        An engine that has lost its store asks again after its heartbeat. Until then it learns of no new container, and
        proofs fail although all traffic passes (source: moby v20.10, daemon/discovery and pkg/discovery/kv; also seen).
        """
        worked = [
            o
            for o in outcomes
            if o.state is State.CONVERGED and any(d.action in {Action.RESTART, Action.START} for d in o.drifts)
        ]
        on_it = any(site.facts[o.host].engine.get("ClusterStore") for o in worked if o.host in site.facts)
        discovery = site.inventory.the_store.discovery
        return (discovery.heartbeat or (discovery.ttl or 60) // 3) + 5.0 if on_it else 0.0

    def wait(self, site: Site, connections: Mapping[str, Reader]) -> None:
        backend = site.managed
        if not backend or not site.servers:
            return
        alive = _alive(site)
        if not alive:
            raise StepFailed(
                "all servers of the store have dropped out",
                cause="no-server-left",
                cure="fix their errors, then run again",
                fatal=True,
            )
        try:
            backend.wait_for_leader(connections[alive[0]], servers=len(alive))
        except StoreError as error:
            raise _naming(error, backend, {name: connections[name] for name in alive}) from error

    def act(self, site: Site, connections: Mapping[str, Connection]) -> None:
        backend, alive = site.managed, _alive(site)
        if backend and alive:
            backend.equip(site, connections[alive[0]])


def _alive(site: Site) -> list[str]:
    """Return the store's servers that have not dropped out."""
    return [name for name in site.servers if name in site.live]


def _writable_by_others(facts: Facts, service: Service) -> list[str]:
    """Return the folders with files of root that users other than root can replace.

    The folder itself, or one above it, is writable by others.
    """
    owned = {
        file.path for file in service.secrets if facts.modes.get(file.path, "").partition(" ")[2].startswith("root:")
    }
    return [
        folder for folder in service.guarded if folder in {path.rpartition("/")[0] for path in owned - facts.guarded}
    ]


def _naming(error: StoreError, backend: ManagedStore, servers: Mapping[str, Reader]) -> StoreError:
    """Return the error, with the names of the servers that do not run or do not answer, if there are any."""
    unit = backend.sought.units[0]
    script = f"# reading whether {unit} runs\nsystemctl is-active {unit} || :"
    answers = each(servers, lambda name: servers[name].read(script, deadline=_LOOK))
    states = {
        n: a.what if isinstance(a, ProvisionerError) else f"{unit} is {a.stdout.strip()}" for n, a in answers.items()
    }
    down = {name: text for name, text in states.items() if text != f"{unit} is active"}
    if not down:
        return error
    lines = [f"{name}: {text}" for name, text in down.items()]
    return StoreError(
        error.what,
        cause=error.cause,
        host=", ".join(down),
        tried=error.tried,
        answer="\n".join([error.answer, *lines]),
        cure=error.cure,
    )
