"""The steps that end a whole cluster: remove networks, leave the swarm, remove packages.

`down` also runs the steps of leaving.py, which take out a single host. `remove` uses EndNetworks for local networks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from provisioner import render
from provisioner.model import Action, Drift, Kind
from provisioner.steps import leaving_swarm, remains
from provisioner.steps.base import OfHosts, Work
from provisioner.steps.leaving import OF_PACKAGES
from provisioner.system.owned import RECORD

if TYPE_CHECKING:
    from provisioner.controlplane.site import Site
    from provisioner.inventory import Network
    from provisioner.system.owned import Found

_IN_USE = 15  # seconds during which a network may still count containers that were just disconnected


@dataclass(frozen=True)
class EndNetworks(OfHosts):
    """Remove the inventory's networks, except those that existed before the first run.

    free: before that, free the endpoints that containers of other hosts left behind.
    shared: also remove the shared networks. The engine can't remove those of a swarm with services or of a store without a
    leader: they end with the swarm or the store.
    unrecorded: also remove those that an earlier version may have created without a record.
    """

    free: bool = False
    shared: bool = True
    unrecorded: bool = False
    name = "networks"
    title = "Networks removed"
    reads = ("http", "owned")
    patience = 20.0
    cure = "check the engine's log (journalctl -u docker), then run again"

    def drift(self, site: Site, host: str) -> tuple[Drift, ...]:
        names = self._names(site, host)
        return tuple(Drift(Kind.NETWORK, name, "present", "absent", Action.REMOVE) for name in names)

    def work(self, site: Site, host: str, drift: tuple[Drift, ...]) -> Work | None:
        names = self._names(site, host)
        if not names:
            return None
        script = render.script(
            "networks-end.sh.j2", networks=names, free="yes" if self.free else "no", patience=_IN_USE
        )
        return Work(script, f"removing {', '.join(names)}", deadline=60.0 + 60.0 * len(names))

    def _names(self, site: Site, host: str) -> list[str]:
        return removable(site, host, shared=self.shared, unrecorded=self.unrecorded)


def removable(site: Site, host: str, *, shared: bool = False, unrecorded: bool = False) -> list[str]:
    """Return the names of the networks that this host removes: its local ones that runs created.

    shared: a single host also removes the shared ones. unrecorded: as EndNetworks has it.
    """
    wanted = [network for network in site.inventory.networks.values() if network.on(host)]
    there = [n for n in wanted if n.name in site.facts[host].networks and (not n.is_global or shared)]
    ours = [n for n in there if _is_ours(site, n, host, unrecorded=unrecorded)]
    return [n.name for n in ours if not n.is_global or host == _remover(site, n.name)]


def _is_ours(site: Site, network: Network, host: str, *, unrecorded: bool) -> bool:
    """Return whether a run created this network. If the store or the swarm ends as well, every shared network counts."""
    if network.is_global and not (site.control == "kv" and site.inventory.the_store.endpoints):
        return True
    names = site.live if network.is_global else (host,)
    hosts = [remains.found(site.facts[name]) for name in names]
    return any(network.name in found.noted("network") or (unrecorded and found.incomplete) for found in hosts)


def _remover(site: Site, network: str) -> str:
    have = [name for name in site.live if network in site.facts[name].networks and site.plane.lists(site.facts[name])]
    creator = site.plane.creator(site)
    return creator if creator in have else next(iter(have), "")


class EndSwarm(OfHosts):
    """Every engine leaves the swarm, workers first. The swarm's services end; other containers keep running."""

    name = "leave-swarm"
    title = "Engines outside the swarm"
    reads = ("http", "files")
    patience = 20.0
    cure = "on this host, run: docker swarm leave --force; then run again"

    def drift(self, site: Site, host: str) -> tuple[Drift, ...]:
        return leaving_swarm.to_leave(site.facts[host])

    def work(self, site: Site, host: str, drift: tuple[Drift, ...]) -> Work:
        return leaving_swarm.leave(force=True, alone=site.plane.lists(site.facts[host]))


class EndPackages(OfHosts):
    """Remove the packages that runs installed, and the users that these packages created."""

    name = "packages"
    title = "Packages removed"
    reads = ("system", "files", "units", "http", "firewall", "owned")
    patience = 0.0
    cure = "check these packages with the host's package manager, then run again"

    def drift(self, site: Site, host: str) -> tuple[Drift, ...]:
        there = remains.found(site.facts[host])
        drift = [Drift(Kind.PACKAGE, name, "installed", "absent", Action.REMOVE) for name in _packages(there)]
        for kind in (Kind.USER, Kind.GROUP):
            names = made_by_packages(there, kind)
            drift += [Drift(kind, name, "present", "absent", Action.REMOVE) for name in names]
        if OF_PACKAGES & there.notes.keys():
            drift.append(Drift(Kind.RECORD, RECORD, "lists packages", "lists no packages", Action.REMOVE))
        return tuple(drift)

    def work(self, site: Site, host: str, drift: tuple[Drift, ...]) -> Work:
        there = remains.found(site.facts[host])
        names, manager = _packages(there), site.facts[host].package_manager
        removal = manager.removal(names, dependencies=there.incomplete) if names and manager else ""
        script = removal + render.script(
            "packages-end.sh.j2",
            users=made_by_packages(there, "user"),
            groups=made_by_packages(there, "group"),
            folders=sorted(there.noted("package-folder"), reverse=True),
            kept=sorted(there.of("kept")),
            record=RECORD,
            kinds=sorted(OF_PACKAGES),
        )
        return Work(script, "removing packages", deadline=600.0)


def _packages(there: Found) -> list[str]:
    return sorted(there.of("installed") & there.noted("package").keys())


def made_by_packages(there: Found, kind: str) -> list[str]:
    """Return the users or groups that were created by packages that we installed. kind: "user" or "group"."""
    return sorted(there.of(kind) & there.noted(f"package-{kind}").keys())
