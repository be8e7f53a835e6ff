"""The networks of the inventory on the hosts: where they are otherwise than wanted, and whether containers are on them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from provisioner.system import attached, networks

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv4Network

    from provisioner.controlplane.site import Site
    from provisioner.inventory import Network


class Holder(Enum):
    """What keeps a network from being removed, as a message says it."""

    CONTAINER = "{name}{state} on {host}"
    ENDPOINT = "{name}, which no host of the inventory has"  # of a container that is gone
    SILENT = "those of {host}, which did not answer"


@dataclass(frozen=True)
class Held:
    """One container on a network, or a host whose containers are not known. state: how it stands, where it does not run."""

    by: Holder
    name: str = ""
    host: str = ""
    state: str = ""

    @property
    def is_probe(self) -> bool:
        return self.name.startswith(attached.PROBE)

    def __str__(self) -> str:
        state = f" ({self.state})" if self.state else ""
        return self.by.value.format(name=self.name, host=self.host, state=state)


def scope(site: Site, network: Network) -> str:
    """As the engine's API names it."""
    return site.plane.scope if network.is_global else "local"


def differences(site: Site, host: str, network: Network) -> tuple[tuple[str, str, str], ...]:
    """(what, found, wanted) of a network that is there on this host; nothing where it is not."""
    found = site.facts[host].networks.get(network.name)
    return tuple(networks.differences(network, host, found, scope(site, network))) if found else ()


def subnet(site: Site, host: str, network: Network) -> IPv4Network | None:
    """Its IPv4 range as it is on this host, or as it is wanted where it is not known to be there."""
    return found_subnet(site, host, network.name) or network.subnet


def found_subnet(site: Site, host: str, name: str) -> IPv4Network | None:
    """The IPv4 range of the network of that name as it is on this host; None where it has none that is known."""
    found = site.facts[host].networks.get(name) if host in site.facts else None
    return next(filter(None, map(networks.subnet4, networks.pools(found))), None) if found else None


def otherwise(site: Site, network: Network) -> tuple[str, ...]:
    """The live hosts that have it otherwise than wanted."""
    return tuple(host for host in site.live if network.on(host) and differences(site, host, network))


def asker(site: Site) -> str:
    """The live host that is to ask the store for all endpoints; "" where none can, or no engine uses it yet."""
    if not site.backend.asks_attached or not any(site.plane.joined(site.facts[name]) for name in site.live):
        return ""
    return next((name for name in site.servers if name in site.live), next(iter(site.live), ""))


def endpoints(site: Site) -> dict[IPv4Address, list[tuple[str, str]]]:
    """Address that an engine advertises -> (network, container) of its endpoints in the store, as live hosts were told."""
    names = {str(found["Id"]): name for host in site.live for name, found in site.facts[host].networks.items()}
    told = {found for host in site.live for found in site.backend.attached(site.facts[host])}
    placed: dict[IPv4Address, list[tuple[str, str]]] = {}
    for found in sorted(told):
        if found.network in names:
            placed.setdefault(found.host, []).append((names[found.network], found.name))
    return placed


def held_by_probes(site: Site) -> bool:
    """Whether nothing but probes keeps a network from being made anew. Those of a run that was killed go by themselves, in seconds."""
    used = [
        held
        for each in site.recreate
        for held in in_use(site, site.inventory.networks[each])
        if otherwise(site, site.inventory.networks[each])
    ]
    return bool(used) and all(held.is_probe for held in used)


def in_use(site: Site, network: Network) -> tuple[Held, ...]:
    """The containers that keep it from being removed, with their hosts; also why that can't be known."""
    hosts = tuple(site.inventory.hosts) if network.is_global else otherwise(site, network)
    own = {host: attached.containers(site.facts[host], network.name) for host in hosts if host in site.live}
    held = [Held(Holder.CONTAINER, name, host, state) for host, of in own.items() for name, state in of.items()]
    known = {name for names in own.values() for name in names}
    for host in own:
        listed = attached.endpoints(site.facts[host], network.name)
        held += [Held(Holder.ENDPOINT, name) for name in listed if name not in known]
        known |= set(listed)
    held += [Held(Holder.SILENT, host=host) for host in hosts if host not in site.live]
    return tuple(held)
