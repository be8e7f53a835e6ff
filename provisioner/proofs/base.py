"""What a proof is, and what one round of probes is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from provisioner.transport import Connection

if TYPE_CHECKING:
    from provisioner.controlplane import Site
    from provisioner.model import ProofResult

Say = Callable[[str, str], None]  # is told a host and what its probe does, from several threads
Connections = Mapping[str, Connection]


class Again(Protocol):
    """Reads the live hosts once more."""

    def __call__(self) -> Site: ...


class Probing(Protocol):
    """Runs the probes of one round. `again` is for naming the cause of a failure."""

    def __call__(
        self, site: Site, connections: Connections, *, observer: Say, again: Again
    ) -> tuple[ProofResult, ...]: ...


@dataclass(frozen=True)
class Round:
    """Networks whose probes run at the same time."""

    networks: tuple[str, ...]
    probing: Probing


class Proof(Protocol):
    """Shows that networks of one kind do what their name says."""

    @property
    def name(self) -> str: ...

    def rounds(self, site: Site) -> list[Round]:
        """Its networks, in the order in which they are proven."""
        ...
