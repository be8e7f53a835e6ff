"""What the cluster as a whole is to be: decided once from the inventory and the hosts' facts, before any change."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

from provisioner import stores
from provisioner.controlplane.choice import choose, undecided
from provisioner.controlplane.kv import Kv
from provisioner.controlplane.swarm import SOUGHT, Swarm
from provisioner.model import Finding
from provisioner.stores.base import literal
from provisioner.stores.secrets import Vault

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provisioner.controlplane.base import ControlPlane
    from provisioner.inventory import Inventory
    from provisioner.stores.base import Backend
    from provisioner.stores.consul_security import Levels
    from provisioner.system.facts import Facts
    from provisioner.system.firewall import Ports
    from provisioner.system.reading import Sought

# Interfaces that the engine or libvirt makes for itself: never part of the underlay. A br-lan or br-ex may be.
_ENGINE_INTERFACE = re.compile(r"(docker|veth|virbr).*|br-[0-9a-f]{12}|lo")
_PLANES: Mapping[str, ControlPlane] = {"kv": Kv(), "swarm": Swarm()}


@dataclass(frozen=True)
class Site:
    """The cluster: what is wanted of it, and what its hosts were last found to be.

    advertise: host -> its address on the underlay; also of hosts that did not answer, where the inventory tells it.
    servers: the hosts whose majority the control plane needs: the store's servers, or the swarm's managers.
    live: the hosts that answered and have not dropped out. control: the name of the control plane, and why it is this one.
    recreate: the networks that are made anew where they are not as wanted.
    leaving: the address of the host that is being taken out of the cluster, where one is.
    vault: the secrets that this run makes. stage: how far the store's security is to be brought now; None: all the way.
    """

    inventory: Inventory
    facts: Mapping[str, Facts]
    advertise: Mapping[str, IPv4Address]
    servers: tuple[str, ...]
    live: tuple[str, ...]
    control: str = "kv"
    recreate: frozenset[str] = frozenset()
    leaving: IPv4Address | None = None
    vault: Vault = field(default_factory=Vault, repr=False)
    stage: Levels | None = None
    why: str = ""

    @property
    def plane(self) -> ControlPlane:
        return _PLANES[self.control]

    @property
    def ports(self) -> Ports:
        """What passes between the hosts."""
        return self.plane.ports(self.inventory)

    def peers(self, host: str) -> tuple[IPv4Address, ...]:
        """The underlay addresses of all other hosts, sorted.

        Of a host with several on the shared network all count: it sends from the primary one, whichever it advertises.
        """
        found = {address for name, address in self.advertise.items() if name != host}
        for name, facts in self.facts.items():
            if name != host and name in self.advertise:
                found |= {a.ip for _, a in facts.addresses if self.advertise[name] in a.network}
        return tuple(sorted(found))

    def known(self, host: str, facts: Facts) -> Site:
        return replace(self, facts={**self.facts, host: facts})

    def without(self, hosts: frozenset[str]) -> Site:
        return replace(self, live=tuple(name for name in self.live if name not in hosts))

    def strangers(self, host: str) -> tuple[str, ...]:
        """The live hosts whose engines take part and this one's does not know from gossip; none where that can't be told."""
        known = self.facts[host].gossip if host in self.facts else None
        if known is None:
            return ()
        there = (name for name in self.live if name != host and self.plane.joined(self.facts[name]))
        return tuple(name for name in there if self.advertise.get(name) not in known)

    @property
    def backend(self) -> Backend:
        """The store's. Only in kv: a swarm has none."""
        return stores.of(self.inventory.the_store)

    @property
    def undecided(self) -> bool:
        """Whether engines that are still to be installed may lead to another control plane."""
        return undecided(self.inventory, {name: self.facts[name] for name in self.live})

    def needs(self, host: str) -> dict[str, str]:
        """Program -> its package (Debian's and Ubuntu's names), of all that a host is to have."""
        own = self.plane.packages(self, host)
        # Since Debian 13 the engine's package comes without its command.
        command = {"docker": "docker-cli"} if self.facts[host].says("no-docker") else {}
        return {"dockerd": "docker.io", **command, **own, "iptables": "iptables", "perl": "perl-base"}

    @property
    def quorum(self) -> int:
        """How many servers must live for there to be a leader; none where others look after it."""
        return len(self.servers) // 2 + 1 if self.servers else 0

    @property
    def has_quorum(self) -> bool:
        return sum(name in self.live for name in self.servers) >= self.quorum


def sought(inventory: Inventory) -> Sought:
    """What is read on every host for the control plane; for both where the hosts' engines are to decide."""
    if inventory.control_plane != "auto" or not inventory.store:
        return _PLANES["kv" if inventory.control_plane == "kv" else "swarm"].sought(inventory)
    found = _PLANES["kv"].sought(inventory)
    return replace(
        found, files=(*found.files, *SOUGHT.files), engine=SOUGHT.engine, ports={**SOUGHT.ports, **found.ports}
    )


def resolve(inventory: Inventory, facts: Mapping[str, Facts]) -> tuple[Site, list[Finding]]:
    """The site, and what stands in its way: hosts without an advertised address have a finding and no address."""
    name, why = choose(inventory, facts)
    plane = _PLANES[name]
    advertise, findings = advertised(inventory, facts, plane)
    servers = plane.servers(inventory, facts, advertise)
    live = tuple(name for name in inventory.hosts if name in facts)
    return Site(inventory, facts, advertise, servers, live, name, why=why), findings


def advertised(
    inventory: Inventory, facts: Mapping[str, Facts], plane: ControlPlane
) -> tuple[dict[str, IPv4Address], list[Finding]]:
    """Each host's address on the network that the hosts share, always a literal."""
    shared, remembered = _shared_network(facts), plane.remembered(inventory, facts)
    found: dict[str, IPv4Address] = {}
    findings = []
    for name in inventory.hosts:
        asked = inventory.advertise_for(name)
        address, why = _advertised(asked, literal(inventory.hosts[name].address), facts.get(name), shared)
        if name not in facts and not literal(asked or ""):  # down for a while: it must not be shut out
            address = remembered.get(name, address)
        if address is not None:
            found[name] = address
        elif name in facts:
            cure = "set `advertise` of this host to an interface or an address that it has"
            findings.append(Finding("advertise", name, why, cure))
    return {name: found[name] for name in inventory.hosts if name in found}, findings


def _advertised(
    asked: str | None, address: IPv4Address | None, facts: Facts | None, shared: IPv4Network | None
) -> tuple[IPv4Address | None, str]:
    if asked and (told := literal(asked)):
        return told, ""
    if facts is None:  # it did not answer: the inventory's address is the best that is known
        return (None if asked or (address and address.is_loopback) else address), ""
    if asked:
        on_it = [str(a.ip) for interface, a in facts.addresses if interface == asked]
        return (IPv4Address(on_it[0]), "") if on_it else (None, f"there is no interface {asked} with an IPv4 address")
    if address and any(address == a.ip for _, a in facts.addresses):
        return facts.primary(address), ""  # SSH may come in by a virtual address
    if shared:
        return next(a.ip for _, a in facts.addresses if a.ip in shared), ""
    return None, "it has no address on a network that all hosts share"


def _shared_network(facts: Mapping[str, Facts]) -> IPv4Network | None:
    """The one network on which every host has an address of its own; equal addresses (a VM's NAT) don't count."""
    by_network: dict[IPv4Network, dict[str, IPv4Address]] = {}
    for name, of_host in facts.items():
        for interface, address in of_host.addresses:
            if not _ENGINE_INTERFACE.fullmatch(interface) and address.network.prefixlen < 32:  # noqa: PLR2004
                by_network.setdefault(address.network, {})[name] = address.ip
    full = [n for n, on_it in by_network.items() if len(on_it) == len(facts) == len(set(on_it.values()))]
    return full[0] if len(full) == 1 else None
