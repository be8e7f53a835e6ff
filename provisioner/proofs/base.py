"""The interfaces of proofs and of rounds of probes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from provisioner.model import Missing, ProofResult, State
from provisioner.transport import Connection

if TYPE_CHECKING:
    from collections.abc import Iterable

    from provisioner.controlplane import Site
    from provisioner.inventory import Inventory, Network
    from provisioner.proofs.evidence import Evidence
    from provisioner.proofs.probe import Peer, Probe, Task

Say = Callable[[str, str], None]  # receives a host and the progress of its probe; called from several threads
Connections = Mapping[str, Connection]


@dataclass(frozen=True)
class Seen:
    """The probes of one network after they have ended.

    probes: at least one. peers: whom each probe had to reach, unless it is every other one. hosts: what each host reports
    about its own interfaces, for proofs that compare them. seconds: how long the probes took.
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
    """One check of the behaviour of networks. All proofs of a network share its probes.

    name: `proof` in reports. title: what the proof shows, in a few words.
    """

    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...

    def networks(self, inventory: Inventory) -> tuple[str, ...]:
        """Return the networks to which the proof applies."""
        ...

    def needs(self, site: Site, task: Task) -> Task:
        """Return the task with the probes' work for this proof added."""
        ...

    def result(self, seen: Seen) -> ProofResult | None:
        """Return the result, or None if nothing could be tried. Pure."""
        ...


Asked = Mapping[str, Sequence[Proof]]  # network -> the proofs to run on it


Judge = Callable[[frozenset[Missing], float], bool]
"""Called repeatedly with what is missing, and the seconds since the start: first the hosts whose probe has not started, then the pairs
of hosts that have not reached each other.

Returns whether waiting longer can't help.
"""


class Again(Protocol):
    """Reads the live hosts once more."""

    def __call__(self) -> Site: ...


class Probing(Protocol):
    """Runs the probes of one round. It uses `again` to find the cause of a failure. `judge` may end the wait early."""

    def __call__(
        self, site: Site, connections: Connections, *, observer: Say, again: Again, judge: Judge | None = None
    ) -> tuple[ProofResult, ...]: ...


@dataclass(frozen=True)
class Round:
    """Networks whose probes run at the same time."""

    networks: tuple[str, ...]
    probing: Probing


def prepared(proofs: Iterable[Proof], site: Site, task: Task) -> Task:
    """Return the task with the work for all these proofs added."""
    for proof in proofs:
        task = proof.needs(site, task)
    return task


def results(proofs: Iterable[Proof], seen: Seen) -> list[ProofResult]:
    return [result for proof in proofs if (result := proof.result(seen))]


def skipped(proofs: Iterable[Proof], network: str, reason: str) -> list[ProofResult]:
    return [ProofResult(proof.name, network, State.SKIPPED, reason=reason) for proof in proofs]


def asked_of(proofs: Sequence[Proof], inventory: Inventory) -> Asked:
    """Return the proofs that apply to each network of the inventory."""
    found = {proof: proof.networks(inventory) for proof in proofs}
    return {name: [proof for proof in proofs if name in found[proof]] for name in inventory.networks}


def joinable(inventory: Inventory) -> list[Network]:
    """Return the networks that span all hosts and that a probe can join."""
    return [network for network in inventory.networks.values() if network.is_global and network.attachable]
