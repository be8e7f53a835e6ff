"""Checks of the networks of the inventory: what hosts must have for them, and what keeps them from being made anew."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from provisioner.controlplane import networks as state
from provisioner.model import Problem
from provisioner.system import attached, networks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provisioner.controlplane import Site
    from provisioner.inventory import Network


def network_in_use(site: Site) -> Iterator[Problem]:
    """A container that is on a network when it is made anew would lose it; a stopped one could not be started again."""
    for name in sorted(site.recreate):
        network = site.inventory.networks[name]
        if state.otherwise(site, network) and (used := state.in_use(site, network)):
            what = f"the network {name} can't be made anew, containers are on it: {', '.join(map(str, used))}"
            left = any(held.by is state.Holder.ENDPOINT for held in used)
            variant = "probes" if state.held_by_probes(site) else "left" if left else ""
            yield Problem("network-in-use", "", what, {"network": name}, variant)


def endpoint_left(site: Site) -> Iterator[Problem]:
    """A host that was set up anew, or died, leaves its containers' endpoints in the store: no other can have their names."""
    names = {address: name for name, address in site.advertise.items()}
    for address, placed in state.endpoints(site).items():
        host = names.get(address, "")
        if address == site.leaving or (host and not _told_containers(site, host)):
            continue
        on = attached.on_shared(site.facts[host], started=True) if host else {}
        left = [(network, name) for network, name in placed if network not in on.get(name, ())]
        told = ", ".join(f"{name} on {network}" for network, name in left)
        if left and host:
            what = f"the store has endpoints of containers that do not run here: {told}; no container can be started under such a name"
            yield Problem("endpoint-left", host, what, {"commands": _freeing(site, host, left)})
        elif left:
            what = (
                f"the store has endpoints of containers on {address}, which no host of the inventory advertises: {told}"
            )
            yield Problem("endpoint-left", "", what, {"address": address}, variant="gone")


def _told_containers(site: Site, host: str) -> bool:
    """Whether it is known which containers the host has; without an engine it has none."""
    return host in site.live and (
        site.facts[host].http("containers").body is not None or not site.facts[host].engine_version
    )


def _freeing(site: Site, host: str, left: list[tuple[str, str]]) -> str:
    """The commands, each on a host without a container of that name: a container itself would be taken off the network."""
    words = []
    for network, name in left:
        knowing = (
            other
            for other in (host, *site.live)
            if network in site.facts[other].networks and _told_containers(site, other)
        )
        others = (other for other in knowing if name not in attached.names(site.facts[other]))
        words.append(
            f"`{shlex.join(['docker', 'network', 'disconnect', '-f', network, name])}` (on {next(others, 'a host without a container of that name')})"
        )
    return ", ".join(words)


def _to_be_made(site: Site, host: str) -> Iterator[Network]:
    """The networks that this host is to have and does not list."""
    for network in site.inventory.networks.values():
        if network.on(host) and network.name not in site.facts[host].networks:
            yield network


def parent_missing(site: Site) -> Iterator[Problem]:
    """The engine makes a VLAN of an interface that is there, and nothing else."""
    for name in site.live:
        facts = site.facts[name]
        for network in _to_be_made(site, name):
            parent = network.parent_on(name)
            if parent and not {parent, parent.rpartition(".")[0]} & set(facts.mtus):
                what = f"the network {network.name} is to be on {parent}, and there is no such interface"
                yield Problem("parent-missing", name, what, {"interfaces": ", ".join(sorted(facts.mtus))})


def kernel_without(site: Site) -> Iterator[Problem]:
    """The engine makes such networks also where its kernel can't: then no container starts, or no packet passes."""
    for name in site.live:
        for network in _to_be_made(site, name):
            for needed in sorted(networks.of_kernel(network) & site.facts[name].kernel_lacks):
                what = f"the network {network.name} needs {needed}, which this host's kernel does not have"
                yield Problem("kernel-without", name, what, variant="encrypted" if network.encrypted else "")
