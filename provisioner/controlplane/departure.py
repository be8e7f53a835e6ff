"""A host that is to leave its cluster, and the cluster that goes on without it."""

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
    """Both as they were last read.

    host: the name of the host that leaves. whole: the inventory with it. staying: the cluster without it.
    leaver: all of the cluster; its live hosts are the host alone, if it answers.
    """

    host: str
    whole: Inventory
    staying: Site
    leaver: Site

    def only(self, names: Collection[str]) -> Departure:
        """The same as if these hosts alone had answered."""
        return replace(self, staying=self.staying.only(names), leaver=self.leaver.only(names))

    @property
    def lives(self) -> bool:
        return bool(self.leaver.live)

    @property
    def address(self) -> IPv4Address:
        """That which the host advertises. Raises AssertionError where nobody knows one: no check lets such a host pass."""
        if self.staying.leaving is None:
            raise AssertionError(f"{self.host} was let pass, and nobody knows its address")
        return self.staying.leaving

    @property
    def everyone(self) -> Site:
        """All that live: those that stay, and the host."""
        facts = {**self.leaver.facts, **self.staying.facts}
        return replace(self.leaver, facts=facts, live=(*self.staying.live, *self.leaver.live))

    @property
    def joint(self) -> Site:
        """The cluster while its new servers join: the leaving server still counts.

        It is not worked on, unless it is the only one: then nobody else can take the new ones in.
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
        """The hosts whose engines know that of the host alive."""
        if self.is_swarm:
            view, address = View(self.staying), str(self.staying.leaving)
            mine = [node for node in view.nodes.values() if address_of(node) == address]
            return [view.acting] if any(not is_down(node) for node in mine) else []
        facts = self.staying.facts
        return [name for name in self.staying.live if self.staying.leaving in (facts[name].gossip or ())]

    @property
    def servers(self) -> frozenset[IPv4Address]:
        """Those that the store counts on, or the swarm's managers, as any living host tells them."""
        if self.is_swarm:
            told = (address_of(node) for node in View(self.everyone).nodes.values() if node.get("ManagerStatus"))
            return frozenset(found for text in told if (found := literal(text)))
        facts = {name: self.staying.facts[name] for name in self.staying.live}
        store = self.staying.managed
        return store.peers(facts | {n: self.leaver.facts[n] for n in self.leaver.live}) if store else frozenset()

    @property
    def grows(self) -> bool:
        """Whether another host can become a manager, or server."""
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
        """The hosts that become servers before this one leaves, while it still counts and is let in."""
        return self.new_servers if self.lives and self.staying.leaving in self.servers else []
