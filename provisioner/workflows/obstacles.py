"""What prevents `down`: attached containers, swarm services, a swarm of another cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.controlplane.swarm import View, in_swarm, label
from provisioner.model import Problem
from provisioner.steps import ending, remains, unrecorded
from provisioner.system import attached
from provisioner.system import packages as of_packages
from provisioner.system import services as of_swarm

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provisioner.controlplane.site import Site


def findings(site: Site, *, force: bool, packages: bool) -> Iterator[Problem]:
    """The problems that stop `down`, or that a person should know before it. The arguments are options of `down`."""
    if not force:
        yield from _containers(site)
        yield from _swarm(site)
        yield from _running(site) if packages else ()
    yield from _unrecorded(site, packages=packages)


def services(site: Site) -> tuple[str, ...]:
    """The names of the swarm's services, from its managers' answers."""
    return tuple(service.name for service in of_swarm.of(site.facts[name] for name in site.live))


def leaderless(site: Site) -> bool:
    """Whether the store has no leader. Engines then answer late, and can't change shared networks.

    A server of etcd still names its last leader, so a late engine counts, too.
    """
    store, hosts = site.managed, [site.facts[name] for name in site.live]
    return store is not None and (not any(map(store.led, hosts)) or any(map(attached.unknown, hosts)))


def networks(site: Site) -> frozenset[str]:
    """The names of the networks that `down` removes: the shared ones, and the local ones that runs created."""
    shared = {name for name, network in site.inventory.networks.items() if network.is_global}
    return frozenset(shared.union(*(ending.removable(site, name) for name in site.live)))


def _containers(site: Site) -> Iterator[Problem]:
    shared = {name for name, network in site.inventory.networks.items() if network.is_global}
    for name in site.live:
        ours = {*shared, *ending.removable(site, name)}
        if on := attached.on_shared(site.facts[name], also=ours):
            listed = ", ".join(f"{container} ({', '.join(of)})" for container, of in on.items())
            what = f"containers of {name} are on networks that would be removed: {listed}"
            yield Problem("containers-attached", "", what, variant="down")
        elif site.facts[name].http("containers").late:
            what = f"the engine of {name} does not list its containers, which may be on networks that would be removed"
            yield Problem("containers-attached", "", what, variant="late")


def _swarm(site: Site) -> Iterator[Problem]:
    view = View(site)
    ours = view.hosts if view.acting and label(site.facts[view.acting]) == site.inventory.cluster else ()
    for name in site.live:
        if in_swarm(site.facts[name]) and name not in ours:
            why = "its label is missing or another cluster's, or it has no leader"
            what = f"{name} is in a swarm that may belong to another cluster: {why}"
            yield Problem("swarm-not-ours", "", what)
    if ours and (found := services(site)):
        yield Problem("swarm-services", "", f"the swarm has services: {', '.join(found)}")


def _running(site: Site) -> Iterator[Problem]:
    """The engine's package must not be removed while containers run."""
    for name in site.live:
        there = remains.found(site.facts[name])
        if site.facts[name].engine.get("ContainersRunning") and of_packages.ENGINE & there.noted("package").keys():
            yield Problem("containers-run", "", f"containers run on {name}, and its engine would be removed")


def _unrecorded(site: Site, *, packages: bool) -> Iterator[Problem]:
    for name in site.live:
        if found := unrecorded.candidates(site, name, packages=packages):
            listed = ", ".join(f"{kind} {of}" for kind, of in found)
            needed = ", and packages that only these need" if "package" in dict(found) else ""
            what = f"an earlier version kept no record here, and may have added {listed}{needed}"
            yield Problem("unrecorded", name, what)
