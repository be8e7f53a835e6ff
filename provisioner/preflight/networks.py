"""Checks of the inventory's networks: what hosts need for them, and what prevents recreating them."""

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
    """A container that is attached to a network loses it when it is recreated; a stopped one could not start again."""
    for name in sorted(site.recreate):
        network = site.inventory.networks[name]
        if state.differing_hosts(site, network) and (used := state.in_use(site, network)):
            what = f"the network {name} can't be recreated while containers are attached: {', '.join(map(str, used))}"
            left = any(held.by is state.Holder.ENDPOINT for held in used)
            variant = "probes" if state.held_by_probes(site) else "left" if left else ""
            yield Problem("network-in-use", "", what, {"network": name}, variant)


def endpoint_left(site: Site) -> Iterator[Problem]:
    """A host that died or was reinstalled leaves its containers' endpoints in the store. They block their names."""
    names = {address: name for name, address in site.advertise.items()}
    for address, left in state.left(site).items():
        host = names.get(address, "")
        listed = ", ".join(f"{name} on {network}" for network, name in left)
        if host:
            what = f"the store has endpoints of containers that do not run here: {listed}; no container with such a name can start"
            yield Problem("endpoint-left", host, what, {"commands": _freeing(site, host, left)})
        else:
            what = (
                f"the store has endpoints of containers on {address}, which no host of the inventory advertises:"
                f" {listed}"
            )
            yield Problem("endpoint-left", "", what, {"address": address}, variant="gone")


def _freeing(site: Site, host: str, left: list[tuple[str, str]]) -> str:
    """Return the commands, each for a host without a container of that name, which it would disconnect instead."""
    words = []
    for network, name in left:
        knowing = (
            other
            for other in (host, *site.live)
            if network in site.facts[other].networks and state.knows_containers(site, other)
        )
        others = (other for other in knowing if name not in attached.names(site.facts[other]))
        words.append(
            f"`{shlex.join(['docker', 'network', 'disconnect', '-f', network, name])}` (on {next(others, 'a host without a container of that name')})"
        )
    return ", ".join(words)


def _to_be_made(site: Site, host: str) -> Iterator[Network]:
    """Yield the inventory's networks for this host that its engine does not have yet."""
    for network in site.inventory.networks.values():
        if network.on(host) and network.name not in site.facts[host].networks:
            yield network


def parent_missing(site: Site) -> Iterator[Problem]:
    """A network's parent must exist, except for a VLAN of an existing interface, which the engine creates."""
    for name in site.live:
        facts = site.facts[name]
        for network in _to_be_made(site, name):
            parent = network.parent_on(name)
            if parent and not {parent, parent.rpartition(".")[0]} & set(facts.mtus):
                what = f"the network {network.name} needs the interface {parent}, which does not exist"
                yield Problem("parent-missing", name, what, {"interfaces": ", ".join(sorted(facts.mtus))})


def kernel_without(site: Site) -> Iterator[Problem]:
    """The engine creates networks that its kernel does not support; then no container starts, or no packet passes."""
    for name in site.live:
        for network in _to_be_made(site, name):
            for needed in sorted(networks.of_kernel(network) & site.facts[name].kernel_lacks):
                what = f"the network {network.name} needs {needed}, which this host's kernel lacks"
                variant = "vxlan" if needed == networks.VXLAN else "encrypted" if network.encrypted else ""
                yield Problem("kernel-without", name, what, variant=variant)
