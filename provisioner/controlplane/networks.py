"""The inventory's networks on the hosts: where they differ, and which containers use them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from provisioner.system import attached, networks

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv4Network

    from provisioner.controlplane.site import Site
    from provisioner.inventory import Network


_READ = frozenset({200, 404})  # the codes of answers about keys that were read


class Holder(Enum):
    """What prevents the removal of a network, as texts for messages."""

    CONTAINER = "{name}{state} on {host}"
    ENDPOINT = "{name}, which is on no host of the inventory"  # the endpoint of a container that no longer exists
    SILENT = "those of {host}, which did not answer"


@dataclass(frozen=True)
class Held:
    """A container on a network, or a host whose containers are unknown. state: the container's state unless it runs."""

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
    """Return the network's scope, as in the engine's API."""
    return site.plane.scope if network.is_global else "local"


def differences(site: Site, host: str, network: Network) -> tuple[tuple[str, str, str], ...]:
    """Return (what, found, wanted) of each difference of a network on this host; nothing if the network is absent."""
    found = site.facts[host].networks.get(network.name)
    return tuple(networks.differences(network, host, found, scope(site, network))) if found else ()


def subnet(site: Site, host: str, network: Network) -> IPv4Network | None:
    """Return the network's IPv4 range on this host, or the inventory's if the network is not known to exist there."""
    return found_subnet(site, host, network.name) or network.subnet


def found_subnet(site: Site, host: str, name: str) -> IPv4Network | None:
    """Return the IPv4 range of the existing network of this name on this host, or None if it is unknown."""
    found = site.facts[host].networks.get(name) if host in site.facts else None
    return next(filter(None, map(networks.subnet4, networks.pools(found))), None) if found else None


def differing_hosts(site: Site, network: Network) -> tuple[str, ...]:
    """Return the live hosts on which the network differs from the inventory."""
    return tuple(host for host in site.live if network.on(host) and differences(site, host, network))


def asker(site: Site) -> str:
    """Return the live host that queries the store for all endpoints; "" if none can, or if no engine uses the store yet."""
    if not site.backend.asks_attached or not any(site.plane.joined(site.facts[name]) for name in site.live):
        return ""
    return next((name for name in site.servers if name in site.live), next(iter(site.live), ""))


def endpoints(site: Site) -> dict[IPv4Address, list[tuple[str, str]]]:
    """Return the endpoints in the store, as live hosts have read them: engine's address -> (network, container) of each."""
    names = {str(found["Id"]): name for host in site.live for name, found in site.facts[host].networks.items()}
    read = {found for host in site.live for found in site.backend.attached(site.facts[host])}
    read = {found for found in read if found.id not in site.passing}
    placed: dict[IPv4Address, list[tuple[str, str]]] = {}
    for found in sorted(read):
        if found.network in names:
            placed.setdefault(found.host, []).append((names[found.network], found.name))
    return placed


def endpoints_known(site: Site) -> bool:
    """Return whether a live host has read the endpoints in the store. A store without any may answer that there is no such key."""
    asked = [request.name for request in site.backend.asks_attached]
    return any(site.facts[host].http(name).code in _READ for host in site.live for name in asked)


def left(site: Site) -> dict[IPv4Address, list[tuple[str, str]]]:
    """Return the endpoints in the store whose container does not run, like `endpoints`. Hosts whose containers are unknown are omitted.

    An address belongs to the host that the inventory gives it, or to those whose engines advertise it instead of theirs.
    """
    names = {address: [name] for name, address in site.advertise.items()}
    engines: dict[str, list[str]] = {}
    for name in site.live:
        engines.setdefault(site.plane.advertised(site.facts[name]), []).append(name)
    found = {}
    for address, placed in endpoints(site).items():
        hosts = names.get(address) or engines.get(str(address), [])
        if address == site.leaving or not all(knows_containers(site, host) for host in hosts):
            continue
        on = [attached.on_shared(site.facts[host], started=True) for host in hosts]
        found[address] = [
            (network, name) for network, name in placed if all(network not in of.get(name, ()) for of in on)
        ]
    return {address: gone for address, gone in found.items() if gone}


def left_ids(site: Site) -> frozenset[str]:
    """Return the IDs of the endpoints whose container does not run."""
    gone = left(site) if site.control == "kv" else {}
    networks = {str(found["Id"]): name for host in site.live for name, found in site.facts[host].networks.items()}
    read = (found for host in site.live if gone for found in site.backend.attached(site.facts[host]))
    return frozenset(each.id for each in read if (networks.get(each.network), each.name) in gone.get(each.host, ()))


def knows_containers(site: Site, host: str) -> bool:
    """Return whether the host's containers and their networks are known. A host without an engine has none."""
    if host not in site.live:
        return False
    facts = site.facts[host]
    answers = all(facts.http(name).body is not None for name in ("containers", "networks"))
    return answers or not facts.engine_version


def held_by_probes(site: Site) -> bool:
    """Return whether only probes prevent that networks are recreated. Probes of a killed run end by themselves in seconds."""
    used = [
        held
        for each in site.recreate
        for held in in_use(site, site.inventory.networks[each])
        if differing_hosts(site, site.inventory.networks[each])
    ]
    return bool(used) and all(held.is_probe for held in used)


def in_use(site: Site, network: Network) -> tuple[Held, ...]:
    """Return the containers that prevent the network's removal, and the hosts whose containers are unknown."""
    hosts = tuple(site.inventory.hosts) if network.is_global else differing_hosts(site, network)
    own = {host: attached.containers(site.facts[host], network.name) for host in hosts if host in site.live}
    held = [Held(Holder.CONTAINER, name, host, state) for host, of in own.items() for name, state in of.items()]
    known = {name for names in own.values() for name in names}
    for host in own:
        listed = attached.endpoints(site.facts[host], network.name)
        held += [Held(Holder.ENDPOINT, name) for name in listed if name not in known]
        known |= set(listed)
    held += [Held(Holder.SILENT, host=host) for host in hosts if host not in site.live]
    return tuple(held)
