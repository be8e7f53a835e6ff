"""What a control plane is: the way in which the engines of a cluster come to share their overlay networks.

It says what is read, opened, installed and put into the engine's files; it runs nothing. Which steps there are, and their
order, is told in steps/__init__.py: all of them run, but for those that a control plane has no use for.
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
    """What a control plane wants of the engine on one host.

    settings: keys of daemon.json. files: path -> text of what is beside it. units: those to be enabled at boot.
    secrets: files whose contents are never shown. gone: files of ours that are not to be there.
    through: unit -> its files, of what runs beside the engine for it to reach the others through.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    units: tuple[str, ...] = ("docker.service",)
    secrets: tuple[File, ...] = ()
    gone: tuple[str, ...] = ()
    through: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


ELECTION = 10.0  # seconds in which a majority of servers elects another leader


@dataclass(frozen=True)
class Closed:
    """What keeps containers of a host off the shared networks. heals: seconds within which it may pass by itself."""

    problem: Problem
    heals: float = field(default=0.0, compare=False)

    @property
    def what(self) -> str:
        return self.problem.evidence


class SiteView(Cluster, Protocol):
    """What a control plane sees of a site. `Site` documents the members."""

    @property
    def backend(self) -> StoreReader: ...
    @property
    def managed(self) -> ManagedStore | None: ...
    @property
    def quorum(self) -> int: ...


class ControlPlane(Protocol):
    """One control plane; without a state of its own.

    name: as in inventories. unused: the names of the steps that it has no use for.
    scope: that of its overlay networks, as the engine's API names it.
    majority: what needs one, of what, and the inventory's key for these.
    patience: seconds within which the gossip of a few engines comes together by itself.
    """

    @property
    def name(self) -> str: ...
    @property
    def unused(self) -> frozenset[str]: ...
    @property
    def scope(self) -> str: ...
    @property
    def majority(self) -> tuple[str, str, str]: ...
    @property
    def patience(self) -> float: ...

    def sought(self, inventory: Inventory) -> Sought:
        """What is read for it on every host, beside all that is read anyway."""
        ...

    def ports(self, inventory: Inventory) -> Ports:
        """What passes between the hosts."""
        ...

    def programs(self, site: SiteView, host: str) -> tuple[str, ...]:
        """The programs that it needs beside the engine."""
        ...

    def servers(
        self, inventory: Inventory, facts: Mapping[str, Facts], advertise: Mapping[str, IPv4Address]
    ) -> tuple[str, ...]:
        """The hosts whose majority it needs; none where others look after them."""
        ...

    def remembered(self, inventory: Inventory, facts: Mapping[str, Facts]) -> dict[str, IPv4Address]:
        """Host -> its address as the other hosts remember it."""
        ...

    def engine(self, site: SiteView, host: str) -> EngineFiles:
        """What is wanted of the engine's files. Raises StepFailed where this engine must not get them."""
        ...

    def running(self, site: SiteView, host: str) -> list[Drift]:
        """What the running engine, one that answers, is still to take up of that: by RELOAD or RESTART, or it is to WAIT."""
        ...

    def joined(self, facts: Facts) -> bool:
        """Whether this host's engine takes part, so that it knows which networks there are."""
        ...

    def advertised(self, facts: Facts) -> str:
        """The address that the running engine advertises, or ""."""
        ...

    def standing(self, site: SiteView, host: str) -> tuple[str, str, str]:
        """For people: what the running engine shares with the others, the host's role in it, and the address of its leader."""
        ...

    def creator(self, site: SiteView) -> str:
        """The live host on which networks are made; "" where there is none yet."""
        ...

    def reunion(self, site: SiteView) -> str:
        """For people: what brings engines together that do not know one another from gossip."""
        ...

    def closed(self, site: SiteView, host: str) -> Closed | None:
        """Why no container on this host can join a shared network; None: it can, or nothing is known of the host."""
        ...

    def lists(self, facts: Facts) -> bool:
        """Whether this host's engine lists every overlay network, used on it or not."""
        ...
