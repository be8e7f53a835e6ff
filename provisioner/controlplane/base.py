"""The Protocol of a control plane, by which the engines of a cluster share their overlay networks.

A control plane says what to read, which ports to open, what to install and what the engine's files contain. It runs nothing.
All steps of steps/__init__.py run, in that order, except those that the control plane does not use.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from provisioner.stores.protocols import Cluster

if TYPE_CHECKING:
    from collections.abc import Mapping
    from ipaddress import IPv4Address

    from provisioner.inventory import Inventory
    from provisioner.model import Drift, Problem
    from provisioner.stores.protocols import ManagedStore, StoreReader
    from provisioner.stores.values import File
    from provisioner.system.facts import Facts
    from provisioner.system.firewall import Ports
    from provisioner.system.reading import Sought


@dataclass(frozen=True)
class EngineFiles:
    """What a control plane requires of the engine's files on one host.

    Attributes:
        settings: keys of daemon.json.
        files: path -> text of other files.
        units: units to enable at boot.
        secrets: files whose contents are never shown.
        gone: files of ours to remove.
        through: unit -> its files, for the proxy through which the engine reaches the store.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    units: tuple[str, ...] = ("docker.service",)
    secrets: tuple[File, ...] = ()
    gone: tuple[str, ...] = ()
    through: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


ELECTION = 10.0  # seconds within which a majority of servers elects another leader


@dataclass(frozen=True)
class Closed:
    """Why containers of a host can't join the shared networks. heals: seconds within which this may end by itself."""

    problem: Problem
    heals: float = field(default=0.0, compare=False)

    @property
    def what(self) -> str:
        return self.problem.evidence


class SiteView(Cluster, Protocol):
    """The part of a site that a control plane uses. `Site` documents the members."""

    @property
    def backend(self) -> StoreReader: ...
    @property
    def managed(self) -> ManagedStore | None: ...
    @property
    def quorum(self) -> int: ...


class ControlPlane(Protocol):
    """One control plane. It has no state.

    name: as in inventories. unused: names of the steps that it does not use.
    scope: the scope of its overlay networks, as in the engine's API.
    majority: two words for messages: what needs a majority, and its members.
    patience: seconds within which engines may find one another by themselves.
    """

    @property
    def name(self) -> str: ...
    @property
    def unused(self) -> frozenset[str]: ...
    @property
    def scope(self) -> str: ...
    @property
    def majority(self) -> tuple[str, str]: ...
    @property
    def patience(self) -> float: ...

    def sought(self, inventory: Inventory) -> Sought:
        """Return what to read on every host in addition to the common facts."""
        ...

    def ports(self, inventory: Inventory) -> Ports:
        """Return the ports that are open between the hosts."""
        ...

    def programs(self, site: SiteView, host: str) -> tuple[str, ...]:
        """Return the programs that a host needs in addition to the engine."""
        ...

    def servers(
        self, inventory: Inventory, facts: Mapping[str, Facts], advertise: Mapping[str, IPv4Address]
    ) -> tuple[str, ...]:
        """Return the hosts of which a majority must live; none if the store is external."""
        ...

    def leaderless(self, host: str, what: str) -> Problem:
        """Return the problem of a host that has no leader, for lack of a majority. what: the evidence. host: "" for all hosts."""
        ...

    def remembered(self, inventory: Inventory, facts: Mapping[str, Facts]) -> dict[str, IPv4Address]:
        """Return the hosts' addresses as the store or the swarm knows them."""
        ...

    def engine(self, site: SiteView, host: str) -> EngineFiles:
        """Return what the engine's files must contain. Raises StepFailed if they must not be written on this host."""
        ...

    def running(self, site: SiteView, host: str) -> list[Drift]:
        """Return what the running engine has not loaded yet. The actions are RELOAD, RESTART or WAIT. The engine must answer."""
        ...

    def joined(self, facts: Facts) -> bool:
        """Return whether this host's engine has joined the store or a swarm, so that it knows the shared networks."""
        ...

    def advertised(self, facts: Facts) -> str:
        """Return the address that the running engine advertises, or ""."""
        ...

    def standing(self, site: SiteView, host: str) -> tuple[str, str, str]:
        """Return texts for `status`: the engine's store or swarm, the host's role in it, and the address of the leader."""
        ...

    def creator(self, site: SiteView) -> str:
        """Return the live host that creates the shared networks, or "" if there is none yet."""
        ...

    def reunion(self, site: SiteView) -> str:
        """Return the cure for engines that do not know one another from gossip."""
        ...

    def closed(self, site: SiteView, host: str) -> Closed | None:
        """Return why no container on this host can join a shared network. None: it can, or there are no facts of the host."""
        ...

    def lists(self, facts: Facts) -> bool:
        """Return whether this host's engine lists all overlay networks, and not only those that its containers use."""
        ...
