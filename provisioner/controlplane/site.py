"""The cluster as one value: its desired state, and the last known state of its hosts."""

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
    """The cluster: its desired state, and the last known state of its hosts.

    Attributes:
        inventory: the desired state.
        facts: host -> its actual state, as last read.
        advertise: host -> its address on the underlay. Hosts that did not answer have one if it is known.
        servers: the hosts of which the control plane needs a majority: the store's servers, or the swarm's managers.
        live: the hosts that answered and have not dropped out.
        control: the name of the control plane.
        recreate: names of the networks to recreate if they differ.
        leaving: the address of the host that is being removed from the cluster, or None.
        vault: the secrets that this run creates.
        stage: the level to which the store's security is raised now; None: the final one.
        why: the reason for the control plane, "" if the inventory sets it.
        misplaced: the hosts without an address on the shared network. Their `advertise` is the address that others know.
        limit: the hosts that `--limit` names. Only they are changed, and only their part is proven and reported. Empty: all.
        passing: IDs of endpoints in the store that are left for a moment, while a container starts or ends.
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
    passing: frozenset[str] = frozenset()
    limit: frozenset[str] = frozenset()

    @property
    def plane(self) -> ControlPlane:
        return PLANES[self.control]

    @property
    def ports(self) -> Ports:
        """The ports that are open between the hosts."""
        return self.plane.ports(self.inventory)

    def peers(self, host: str) -> tuple[IPv4Address, ...]:
        """Return the underlay addresses of all other hosts, sorted.

        They include all addresses of a host on the shared network: it sends from its primary one, whichever it advertises.
        """
        found = {address for name, address in self.advertise.items() if name != host}
        for name, facts in self.facts.items():
            if name != host and name in self.advertise:
                found |= {a.ip for _, a in facts.addresses if self.advertise[name] in a.network}
        return tuple(sorted(found))

    @property
    def targets(self) -> tuple[str, ...]:
        """The live hosts that may be changed."""
        return tuple(name for name in self.live if self.concerns(name))

    def concerns(self, *hosts: str) -> bool:
        """Return whether something on one of these hosts, or between them, is within the limit. "" stands for the whole cluster."""
        named = set(hosts) - {""}
        return not self.limit or not named or bool(named & self.limit)

    def known(self, host: str, facts: Facts) -> Site:
        return replace(self, facts={**self.facts, host: facts})

    def without(self, hosts: frozenset[str]) -> Site:
        return replace(self, live=tuple(name for name in self.live if name not in hosts))

    def only(self, names: Collection[str]) -> Site:
        """Return the site as if only these hosts had answered."""
        facts = {name: facts for name, facts in self.facts.items() if name in names}
        return replace(self, facts=facts, live=tuple(name for name in self.live if name in names))

    def strangers(self, host: str) -> tuple[str, ...]:
        """Return the live hosts whose engines have joined, but are unknown to this host's engine. Empty if it did not answer."""
        known = self.facts[host].gossip if host in self.facts else None
        if known is None:
            return ()
        joined = (name for name in self.live if name != host and self.plane.joined(self.facts[name]))
        return tuple(name for name in joined if self.advertise.get(name) not in known)

    @property
    def backend(self) -> StoreReader:
        """The store. Use it with kv only: a swarm has none."""
        return stores.of(self.inventory.the_store)

    @property
    def managed(self) -> ManagedStore | None:
        """The store if we set it up on these hosts; None for an external store and in a swarm."""
        return stores.managed(self.inventory.the_store) if self.control == "kv" else None

    @property
    def undecided(self) -> bool:
        """Whether engines that are not installed yet may change the control plane."""
        return undecided(self.inventory, {name: self.facts[name] for name in self.live})

    def needs(self, host: str) -> tuple[str, ...]:
        """Return the programs that a host must have."""
        command = ("docker",) if self.facts[host].says("no-docker") else ()
        return ("dockerd", *command, *self.plane.programs(self, host), firewall.OF_ENGINE)

    @property
    def quorum(self) -> int:
        """The number of servers that a leader needs; 0 with an external store."""
        return len(self.servers) // 2 + 1 if self.servers else 0

    @property
    def has_quorum(self) -> bool:
        return sum(name in self.live for name in self.servers) >= self.quorum
