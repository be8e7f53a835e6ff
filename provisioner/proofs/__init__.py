"""What is proven, in this order: behaviour that a host's configuration can't show. One file per proof.

overlay: every host reaches every other one over an overlay network, by name and by address, at full packet size.
dns: names outside are forwarded to the resolvers of the inventory.
encrypted: packets between hosts can't be read.
internal: from a container on a network that is to have no way out no other host is reached.
isolation: a container on one network finds none of another, neither by name nor by address, nor the cluster's ports.
local: containers on a network that each host has by itself reach one another, come out, and are reached where they publish.
builtin: a container on `none` has only loopback, one on `host` the host's addresses; `bridge` works like a local network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.proofs import builtin, choice, local, overlay, running
from provisioner.proofs.choice import Choice, Unit
from provisioner.proofs.dns import DnsProof
from provisioner.proofs.encrypted import EncryptedProof
from provisioner.proofs.internal import InternalProof
from provisioner.proofs.isolation import IsolationProof, LocalIsolationProof
from provisioner.proofs.local import LocalProof
from provisioner.proofs.overlay import OverlayProof

if TYPE_CHECKING:
    from collections.abc import Callable

    from provisioner.controlplane import Site
    from provisioner.inventory import Inventory
    from provisioner.model import Observer, ProofResult
    from provisioner.proofs.base import Again, Connections, Judge, Proof

__all__ = ["PROOFS", "Choice", "Unit", "prove", "units"]

PROOFS: tuple[Proof, ...] = (
    OverlayProof(),
    DnsProof(),
    EncryptedProof(),
    InternalProof(),
    IsolationProof(),
    LocalProof(),
    LocalIsolationProof(),
    *builtin.PROOFS,
)
_ROUNDS = (overlay.rounds, local.rounds, builtin.rounds)  # in this order; each takes the networks that are its own


def units(inventory: Inventory) -> tuple[Unit, ...]:
    """Every proof of every network: what there is to choose from."""
    return choice.units(PROOFS, inventory)


def prove(
    site: Callable[[], Site],
    connections: Connections,
    observer: Observer,
    *,
    again: Again,
    chosen: Choice,
    judge: Judge | None = None,
) -> tuple[ProofResult, ...]:
    """Run the chosen proofs on the live hosts. Those that the choice leaves out are results too, which say so.

    site: the cluster as last read. again: reads it once more. judge: see `base.Judge`. Raises UsageError if the choice is none.
    """
    every = units(site().inventory)
    return (
        *running.run(_ROUNDS, chosen.of(every), site, connections, observer, again=again, judge=judge),
        *(running.left_out(unit) for unit in chosen.left_out(every)),
    )
