"""What the cluster as a whole is to be: decided once from the inventory and the hosts' facts, before any change."""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

from provisioner.model import Finding
from provisioner.system.facts import CONSUL_JSON

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provisioner.inventory import Inventory
    from provisioner.system.facts import Facts

# Interfaces that the engine makes for itself: never part of the underlay.
_ENGINE_INTERFACES = ("docker", "br-", "veth", "virbr", "lo")


@dataclass(frozen=True)
class Site:
    """The cluster: what is wanted of it, and what its hosts were last found to be.

    advertise: host -> its address on the underlay; also of hosts that did not answer, where the inventory tells it.
    servers: the hosts that run the store's servers. live: the hosts that answered and have not dropped out.
    """

    inventory: Inventory
    facts: Mapping[str, Facts]
    advertise: Mapping[str, IPv4Address]
    servers: tuple[str, ...]
    live: tuple[str, ...]

    def peers(self, host: str) -> tuple[IPv4Address, ...]:
        """The underlay addresses of all other hosts, sorted."""
        return tuple(sorted(address for name, address in self.advertise.items() if name != host))

    def known(self, host: str, facts: Facts) -> Site:
        return replace(self, facts={**self.facts, host: facts})

    def without(self, hosts: frozenset[str]) -> Site:
        return replace(self, live=tuple(name for name in self.live if name not in hosts))

    @property
    def quorum(self) -> int:
        """How many servers must live for the store to have a leader."""
        return len(self.servers) // 2 + 1

    @property
    def has_quorum(self) -> bool:
        return sum(name in self.live for name in self.servers) >= self.quorum


def resolve(inventory: Inventory, facts: Mapping[str, Facts]) -> tuple[Site, list[Finding]]:
    """The site, and what stands in its way: hosts without an advertised address have a finding and no address."""
    advertise, findings = advertised(inventory, facts)
    servers = inventory.store.servers or _servers(inventory, facts)
    live = tuple(name for name in inventory.hosts if name in facts)
    return Site(inventory, facts, advertise, tuple(servers), live), findings


def _servers(inventory: Inventory, facts: Mapping[str, Facts]) -> tuple[str, ...]:
    """1 server for up to 2 hosts, 3 for 3 or 4, else 5; hosts that are servers already stay so.

    Without the second rule a host written above the others would move a server, and with it the store's data.
    """
    names = list(inventory.hosts)
    count = len(inventory.servers)
    already = [n for n in names if n in facts and '"server": true' in facts[n].files.get(CONSUL_JSON, "")]
    chosen = (already + [name for name in names if name not in already])[: max(count, _odd(len(already)))]
    return tuple(name for name in names if name in chosen)


def _odd(count: int) -> int:
    return count if count % 2 else count - 1


def advertised(
    inventory: Inventory, facts: Mapping[str, Facts]
) -> tuple[dict[str, IPv4Address], list[Finding]]:
    """Each host's address on the network that the hosts share, always a literal."""
    shared = _shared_network(facts)
    found: dict[str, IPv4Address] = {}
    findings = []
    for name in inventory.hosts:
        asked = inventory.advertise_for(name)
        address, why = _advertised(asked, _literal(inventory.hosts[name].address), facts.get(name), shared)
        if address is not None:
            found[name] = address
        elif name in facts:
            cure = "set `advertise` of this host to an interface or an address that it has"
            findings.append(Finding("advertise", name, why, cure))
    return {name: found[name] for name in inventory.hosts if name in found}, findings


def _advertised(
    asked: str | None, address: IPv4Address | None, facts: Facts | None, shared: IPv4Network | None
) -> tuple[IPv4Address | None, str]:
    literal = _literal(asked) if asked else None
    if literal:
        return literal, ""
    if facts is None:  # it did not answer: the inventory's address is the best that is known
        return (None if asked else address), ""
    if asked:
        on_it = [str(a.ip) for interface, a in facts.addresses if interface == asked]
        return (IPv4Address(on_it[0]), "") if on_it else (None, f"there is no interface {asked} with an IPv4 address")
    if address and any(address == a.ip for _, a in facts.addresses):
        return address, ""
    if shared:
        return next(a.ip for _, a in facts.addresses if a.ip in shared), ""
    return None, "it has no address on a network that all hosts share"


def _literal(text: str) -> IPv4Address | None:
    try:
        return IPv4Address(text)
    except ValueError:
        return None


def _shared_network(facts: Mapping[str, Facts]) -> IPv4Network | None:
    """The one network on which every host has an address of its own; equal addresses (a VM's NAT) don't count."""
    by_network: dict[IPv4Network, dict[str, IPv4Address]] = {}
    for name, of_host in facts.items():
        for interface, address in of_host.addresses:
            if not interface.startswith(_ENGINE_INTERFACES) and address.network.prefixlen < 32:  # noqa: PLR2004
                by_network.setdefault(address.network, {})[name] = address.ip
    full = [n for n, on_it in by_network.items() if len(on_it) == len(facts) == len(set(on_it.values()))]
    return full[0] if len(full) == 1 else None
