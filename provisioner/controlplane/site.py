"""The cluster as one value: what is wanted of it, and what its hosts were last found to be."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from provisioner import stores
from provisioner.controlplane.choice import undecided
from provisioner.controlplane.planes import PLANES
from provisioner.stores.vault import Vault
from provisioner.system import firewall

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from ipaddress import IPv4Address

    from provisioner.controlplane.base import ControlPlane
    from provisioner.inventory import Inventory
    from provisioner.stores.protocols import ManagedStore, Stage, StoreReader
    from provisioner.system.facts import Facts
    from provisioner.system.firewall import Ports


@dataclass(frozen=True)
class Site:
    """The cluster: what is wanted of it, and what its hosts were last found to be.

    advertise: host -> its address on the underlay; also of hosts that did not answer, where the inventory tells it.
    servers: the hosts whose majority the control plane needs: the store's servers, or the swarm's managers.
    live: the hosts that answered and have not dropped out. control: the name of the control plane, and why it is this one.
    recreate: the networks that are made anew where they are not as wanted.
    leaving: the address of the host that is being taken out of the cluster, where one is.
    misplaced: the hosts that have no address on the shared network; their `advertise` is what the others know them by.
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
    stage: Stage = None
    why: str = ""
    misplaced: frozenset[str] = frozenset()

    @property
    def plane(self) -> ControlPlane:
        return PLANES[self.control]

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

    def only(self, names: Collection[str]) -> Site:
        """The site as if these hosts alone had answered."""
        facts = {name: facts for name, facts in self.facts.items() if name in names}
        return replace(self, facts=facts, live=tuple(name for name in self.live if name in names))

    def strangers(self, host: str) -> tuple[str, ...]:
        """The live hosts whose engines take part and this one's does not know from gossip; none where that can't be told."""
        known = self.facts[host].gossip if host in self.facts else None
        if known is None:
            return ()
        there = (name for name in self.live if name != host and self.plane.joined(self.facts[name]))
        return tuple(name for name in there if self.advertise.get(name) not in known)

    @property
    def backend(self) -> StoreReader:
        """The store. Only in kv: a swarm has none."""
        return stores.of(self.inventory.the_store)

    @property
    def managed(self) -> ManagedStore | None:
        """The store, where it is set up on these hosts; None in a swarm, and of an external store."""
        return stores.managed(self.inventory.the_store) if self.control == "kv" else None

    @property
    def undecided(self) -> bool:
        """Whether engines that are still to be installed may lead to another control plane."""
        return undecided(self.inventory, {name: self.facts[name] for name in self.live})

    def needs(self, host: str) -> tuple[str, ...]:
        """The programs that a host must have."""
        command = ("docker",) if self.facts[host].says("no-docker") else ()
        return ("dockerd", *command, *self.plane.programs(self, host), firewall.OF_ENGINE)

    @property
    def quorum(self) -> int:
        """How many servers must live for there to be a leader; none where others look after it."""
        return len(self.servers) // 2 + 1 if self.servers else 0

    @property
    def has_quorum(self) -> bool:
        return sum(name in self.live for name in self.servers) >= self.quorum
