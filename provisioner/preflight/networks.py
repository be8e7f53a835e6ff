"""Checks of the networks of the inventory: what hosts must have for them, and what keeps them from being made anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.controlplane import networks as state
from provisioner.model import Finding
from provisioner.system import networks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provisioner.controlplane import Site
    from provisioner.inventory import Network


def network_in_use(site: Site) -> Iterator[Finding]:
    """A container that is on a network when it is made anew would lose it; a stopped one could not be started again."""
    for name in sorted(site.recreate):
        network = site.inventory.networks[name]
        if state.otherwise(site, network) and (used := state.in_use(site, network)):
            what = f"the network {name} can't be made anew, containers are on it: {', '.join(used)}"
            cure = "remove these containers (docker rm), or run without --recreate, which leaves the network as it is"
            yield Finding("network-in-use", "", what, cure)


def _to_be_made(site: Site, host: str) -> Iterator[Network]:
    """The networks that this host is to have and does not list."""
    for network in site.inventory.networks.values():
        if network.on(host) and network.name not in site.facts[host].networks:
            yield network


def parent_missing(site: Site) -> Iterator[Finding]:
    """The engine makes a VLAN of an interface that is there, and nothing else."""
    for name in site.live:
        facts = site.facts[name]
        for network in _to_be_made(site, name):
            parent = network.parent_on(name)
            if parent and not {parent, parent.rpartition(".")[0]} & set(facts.mtus):
                what = f"the network {network.name} is to be on {parent}, and there is no such interface"
                cure = f"set `parent` of the network to one of this host's: {', '.join(sorted(facts.mtus))}"
                yield Finding("parent-missing", name, what, cure)


def kernel_without(site: Site) -> Iterator[Finding]:
    """The engine makes such networks also where its kernel can't: then no container starts, or no packet passes."""
    for name in site.live:
        for network in _to_be_made(site, name):
            for needed in sorted(networks.of_kernel(network) & site.facts[name].kernel_lacks):
                what = f"the network {network.name} needs {needed}, which this host's kernel does not have"
                other = "or take `encrypted` out of it" if network.encrypted else "another driver, or leave the host out with `hosts`"
                yield Finding("kernel-without", name, what, f"take another kernel, {other}")
