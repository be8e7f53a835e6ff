"""A host that is to leave its cluster, and the cluster without it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from provisioner.controlplane.swarm import View, address_of, is_down
from provisioner.system.strict import literal

if TYPE_CHECKING:
    from collections.abc import Collection
    from ipaddress import IPv4Address

    from provisioner.controlplane.site import Site
    from provisioner.inventory import Inventory


@dataclass(frozen=True)
class Departure:
    """The leaving host and the remaining cluster, as they were last read.

    Attributes:
        host: the name of the host that leaves.
        whole: the inventory with the host.
        staying: the cluster without the host.
        leaver: the whole cluster. Its only live host is the leaving one, if that answers.
    """

    host: str
    whole: Inventory
    staying: Site
    leaver: Site

    def only(self, names: Collection[str]) -> Departure:
        """Return the departure as if only these hosts had answered."""
        return replace(self, staying=self.staying.only(names), leaver=self.leaver.only(names))

    @property
    def lives(self) -> bool:
        return bool(self.leaver.live)

    @property
    def address(self) -> IPv4Address:
        """The address that the host advertises. Raises AssertionError if it is unknown: checks refuse such a host earlier."""
        if self.staying.leaving is None:
            raise AssertionError(f"{self.host} passed the checks, but its address is unknown")
        return self.staying.leaving

    @property
    def everyone(self) -> Site:
        """The cluster with all live hosts: the remaining ones and the leaving one."""
        facts = {**self.leaver.facts, **self.staying.facts}
        return replace(self.leaver, facts=facts, live=(*self.staying.live, *self.leaver.live))

    @property
    def joint(self) -> Site:
        """The cluster while new servers join: the leaving server still counts.

        The leaving host is changed only if it is the only server: then no other can admit the new ones.
        """
        servers = tuple(name for name in self.whole.hosts if name in {*self.staying.servers, self.host})
        alone = self.servers == {self.staying.leaving}
        return replace(self.everyone, servers=servers, live=self.everyone.live if alone else self.staying.live)

    @property
    def is_swarm(self) -> bool:
        return self.staying.control == "swarm"

    @property
    def title(self) -> str:
        return "the swarm" if self.is_swarm else self.staying.backend.title

    @property
    def role(self) -> str:
        return "manager" if self.is_swarm else "server"

    @property
    def hearing(self) -> list[str]:
        """The remaining hosts whose engines receive gossip from the leaving host's engine."""
        if self.is_swarm:
            view, address = View(self.staying), str(self.staying.leaving)
            mine = [node for node in view.nodes.values() if address_of(node) == address]
            return [view.acting] if any(not is_down(node) for node in mine) else []
        facts = self.staying.facts
        return [name for name in self.staying.live if self.staying.leaving in (facts[name].gossip or ())]

    @property
    def servers(self) -> frozenset[IPv4Address]:
        """The addresses of the store's servers or the swarm's managers, as any live host reports them."""
        if self.is_swarm:
            texts = (address_of(node) for node in View(self.everyone).nodes.values() if node.get("ManagerStatus"))
            return frozenset(found for text in texts if (found := literal(text)))
        facts = {name: self.staying.facts[name] for name in self.staying.live}
        store = self.staying.managed
        return store.peers(facts | {n: self.leaver.facts[n] for n in self.leaver.live}) if store else frozenset()

    @property
    def grows(self) -> bool:
        """Whether another host can become a server or manager."""
        return self.is_swarm or (self.staying.managed is not None and self.staying.managed.grows)

    @property
    def new_servers(self) -> list[str]:
        """The hosts that are to become servers."""
        servers, site = self.servers, self.staying
        known = [name for name in site.servers if name in site.live and name in site.advertise]
        new = [name for name in known if site.advertise[name] not in servers]
        return new if servers and self.grows else []

    @property
    def replaced(self) -> list[str]:
        """The hosts that become servers before this one leaves, while it is still a server that the others admit."""
        return self.new_servers if self.lives and self.staying.leaving in self.servers else []
