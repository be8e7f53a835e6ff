"""The networks of the inventory on the hosts: where they are otherwise than wanted, and whether containers are on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.system import attached, networks

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv4Network

    from provisioner.controlplane.site import Site
    from provisioner.inventory import Network


NO_HOST = ", which no host of the inventory has"  # ends what in_use() tells of an endpoint without a container


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
        name
        for each in site.recreate
        for name in in_use(site, site.inventory.networks[each])
        if otherwise(site, site.inventory.networks[each])
    ]
    return bool(used) and all(name.startswith(attached.PROBE) for name in used)


def in_use(site: Site, network: Network) -> tuple[str, ...]:
    """The containers that keep it from being removed, with their hosts; also why that can't be known."""
    hosts = tuple(site.inventory.hosts) if network.is_global else otherwise(site, network)
    own = {host: attached.containers(site.facts[host], network.name) for host in hosts if host in site.live}
    told = [f"{name} on {host}" for host, names in own.items() for name in names.values()]
    known = {name for names in own.values() for name in names}
    for host in own:
        listed = attached.endpoints(site.facts[host], network.name)
        told += [f"{name}{NO_HOST}" for name in listed if name not in known]
        known |= set(listed)
    told += [f"those of {host}, which did not answer" for host in hosts if host not in site.live]
    return tuple(told)
