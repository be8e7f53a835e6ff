"""What a proof is, and what a round of probes is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from provisioner.model import ProofResult, State
from provisioner.transport import Connection

if TYPE_CHECKING:
    from collections.abc import Iterable

    from provisioner.controlplane import Site
    from provisioner.inventory import Inventory, Network
    from provisioner.proofs.evidence import Evidence
    from provisioner.proofs.probe import Peer, Probe, Task

Say = Callable[[str, str], None]  # is told a host and what its probe does, from several threads
Connections = Mapping[str, Connection]


@dataclass(frozen=True)
class Seen:
    """The probes of one network, after they have ended.

    probes: at least one. peers: whom each was to reach, where that is not every other probe. hosts: what each host itself
    says of its interfaces, where a proof compares them. seconds: how long the probes took.
    """

    site: Site
    network: str
    probes: Sequence[Probe]
    peers: Mapping[Probe, Sequence[Peer]] = field(default_factory=dict)
    hosts: Mapping[str, Evidence] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def task(self) -> Task:
        return self.probes[0].task


class Proof(Protocol):
    """One question about networks. All proofs of one network share its probes.

    name: as `proof` in reports. title: what it shows, in a few words.
    """

    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...

    def networks(self, inventory: Inventory) -> tuple[str, ...]:
        """The networks of which the question is asked."""
        ...

    def needs(self, site: Site, task: Task) -> Task:
        """The task, with what the probes have to do for this proof."""
        ...

    def result(self, seen: Seen) -> ProofResult | None:
        """The answer. None: nothing could be tried. Pure."""
        ...


Asked = Mapping[str, Sequence[Proof]]  # network -> what is asked of it


Judge = Callable[[frozenset[tuple[str, str]], float], bool]
"""Is told, again and again, the pairs of hosts that have not reached each other and for how many seconds; answers whether waiting
longer can't help."""


class Again(Protocol):
    """Reads the live hosts once more."""

    def __call__(self) -> Site: ...


class Probing(Protocol):
    """Runs the probes of one round. `again` is for naming the cause of a failure; `judge` may end the waiting early."""

    def __call__(
        self, site: Site, connections: Connections, *, observer: Say, again: Again, judge: Judge | None = None
    ) -> tuple[ProofResult, ...]: ...


@dataclass(frozen=True)
class Round:
    """Networks whose probes run at the same time."""

    networks: tuple[str, ...]
    probing: Probing


def prepared(proofs: Iterable[Proof], site: Site, task: Task) -> Task:
    """The task, with what all these proofs need."""
    for proof in proofs:
        task = proof.needs(site, task)
    return task


def results(proofs: Iterable[Proof], seen: Seen) -> list[ProofResult]:
    return [result for proof in proofs if (result := proof.result(seen))]


def skipped(proofs: Iterable[Proof], network: str, reason: str) -> list[ProofResult]:
    return [ProofResult(proof.name, network, State.SKIPPED, reason=reason) for proof in proofs]


def asked_of(proofs: Sequence[Proof], inventory: Inventory) -> Asked:
    """All that these proofs ask of the inventory's networks."""
    found = {proof: proof.networks(inventory) for proof in proofs}
    return {name: [proof for proof in proofs if name in found[proof]] for name in inventory.networks}


def joinable(inventory: Inventory) -> list[Network]:
    """The networks of all hosts that a probe can join."""
    return [network for network in inventory.networks.values() if network.is_global and network.attachable]
