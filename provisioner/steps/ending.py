"""What ends a whole cluster, beside what takes out one host (leaving.py): its networks go, its swarm, and packages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from provisioner import render
from provisioner.controlplane.swarm import state, told
from provisioner.model import Action, Drift, Kind
from provisioner.steps import OWNED, remains
from provisioner.steps.base import OfHosts, Work
from provisioner.steps.leaving import OF_PACKAGES
from provisioner.system import swarm as on_host
from provisioner.system.owned import RECORD

if TYPE_CHECKING:
    from provisioner.controlplane.site import Site
    from provisioner.inventory import Network
    from provisioner.system.owned import Found

_IN_USE = 15  # seconds in which a network may still count containers that were just taken off it


@dataclass(frozen=True)
class EndNetworks(OfHosts):
    """The networks of the inventory are removed, but for those that were there before the first run.

    free: whether endpoints that containers of other hosts have left are freed first. shared: whether shared networks are removed
    at all: those of a swarm with services, or of a store without a leader, can only end with it.
    """

    free: bool = False
    shared: bool = True
    name = "networks"
    title = "Networks removed"
    reads = ("http", "owned")
    patience = 20.0
    cure = "look at the engine's log (journalctl -u docker), and run again"

    def drift(self, site: Site, host: str) -> tuple[Drift, ...]:
        return tuple(Drift(Kind.NETWORK, name, "there", "gone", Action.REMOVE) for name in self._mine(site, host))

    def work(self, site: Site, host: str, drift: tuple[Drift, ...]) -> Work | None:
        names = self._mine(site, host)
        if not names:
            return None
        script = render.script(
            "networks-end.sh.j2", networks=names, free="yes" if self.free else "no", patience=_IN_USE
        )
        return Work(script, f"removing {', '.join(names)}", deadline=60.0 + 60.0 * len(names))

    def _mine(self, site: Site, host: str) -> list[str]:
        """Those that this host removes: its own, and on one host the shared ones."""
        wanted = [network for network in site.inventory.networks.values() if network.on(host)]
        there = [n for n in wanted if n.name in site.facts[host].networks and is_ours(site, n, host)]
        return [n.name for n in there if not n.is_global or (self.shared and host == _remover(site, n.name))]


def is_ours(site: Site, network: Network, host: str) -> bool:
    """Whether runs made it. In a store or a swarm that ends, every network of the inventory is ours.

    Where an earlier version kept no record, a network that the inventory names counts as ours.
    """
    if network.is_global and not (site.control == "kv" and site.inventory.the_store.endpoints):
        return True
    asked = site.live if network.is_global else (host,)
    there = [remains.found(site.facts[name]) for name in asked]
    noted = any(network.name in found.noted("network") for found in there)
    return noted or any(found.incomplete for found in there)


def local(site: Site, host: str) -> list[str]:
    """The networks of one host that runs have made there."""
    wanted = (n for n in site.inventory.networks.values() if n.on(host) and not n.is_global)
    return [n.name for n in wanted if n.name in site.facts[host].networks and is_ours(site, n, host)]


def _remover(site: Site, network: str) -> str:
    have = [name for name in site.live if network in site.facts[name].networks and site.plane.lists(site.facts[name])]
    creator = site.plane.creator(site)
    return creator if creator in have else next(iter(have), "")


class EndSwarm(OfHosts):
    """Every engine leaves the swarm, the workers first. Its services end with it; other containers go on."""

    name = "leave-swarm"
    title = "Engines out of the swarm"
    reads = ("http", "files")
    patience = 20.0
    cure = "on this host: docker swarm leave --force; and run again"

    def drift(self, site: Site, host: str) -> tuple[Drift, ...]:
        found = state(site.facts[host])
        return () if found in {"", "inactive"} else (Drift(Kind.SWARM, "", found, "left", Action.LEAVE),)

    def work(self, site: Site, host: str, drift: tuple[Drift, ...]) -> Work:
        unit, manager = on_host.UNIT, bool(told(site.facts[host]).get("ControlAvailable"))
        script = render.script("swarm-leave.sh.j2", unit=unit, files=on_host.OURS, force="yes")
        return Work(script, "leaving the swarm", deadline=120.0, alone=manager)


@dataclass(frozen=True)
class EndPackages(OfHosts):
    """The packages that runs installed, and the users that these made, are removed.

    unrecorded: whether packages are removed too that no record tells of, on hosts that an earlier version set up.
    """

    unrecorded: bool = False
    name = "packages"
    title = "Packages removed"
    reads = ("system", "files", "units", "http", "firewall", "owned")
    patience = 0.0
    cure = "look at what the host's package manager says of these packages, and run again"

    def drift(self, site: Site, host: str) -> tuple[Drift, ...]:
        there = remains.found(site.facts[host])
        drift = [Drift(Kind.PACKAGE, name, "installed", "gone", Action.REMOVE) for name in self._packages(there)]
        drift += [Drift(Kind.USER, name, "there", "gone", Action.REMOVE) for name in made_by_packages(there, "user")]
        drift += [Drift(Kind.GROUP, name, "there", "gone", Action.REMOVE) for name in made_by_packages(there, "group")]
        if OF_PACKAGES & there.notes.keys():
            drift.append(Drift(Kind.RECORD, RECORD, "packages", "done with", Action.REMOVE))
        return tuple(drift)

    def work(self, site: Site, host: str, drift: tuple[Drift, ...]) -> Work:
        there = remains.found(site.facts[host])
        names, manager = self._packages(there), site.facts[host].package_manager
        removal = manager.removal(names) if names and manager else ""
        script = removal + render.script(
            "packages-end.sh.j2",
            users=made_by_packages(there, "user"),
            groups=made_by_packages(there, "group"),
            folders=sorted(there.noted("package-folder"), reverse=True),
            record=RECORD,
            kinds=sorted(OF_PACKAGES),
        )
        return Work(script, "removing packages", deadline=600.0)

    def _packages(self, there: Found) -> list[str]:
        wanted = set(there.noted("package")) | (candidates(there) if self.unrecorded else set())
        return sorted(there.of("installed") & wanted)


def made_by_packages(there: Found, kind: str) -> list[str]:
    """Users or groups that packages made which we installed."""
    return sorted(there.of(kind) & there.noted(f"package-{kind}").keys())


def candidates(there: Found) -> set[str]:
    """Packages that an earlier version may have installed: it kept no record."""
    return set(there.of("installed") & set(OWNED.packages)) if there.incomplete else set()
