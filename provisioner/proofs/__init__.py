"""The proofs, in the order of the report. They check behaviour that no configuration can show. One file per proof.

overlay: every host reaches every other one over an overlay network, by name and by address, at full packet size.
dns: external names are forwarded to the resolvers of the inventory.
encrypted: packets between hosts can't be read.
internal: a container on an internal network reaches no other host.
isolation: a container reaches no container of another network, by name or by address, and no cluster port of another host.
local: containers on a host-local network reach each other, have outbound access, and their published ports are reachable.
builtin: a container on `none` has only loopback, one on `host` the host's addresses; `bridge` works like a local network.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from provisioner.proofs import builtin, choice, local, overlay, running
from provisioner.proofs.choice import Choice, Unit
from provisioner.proofs.dns import DnsProof
from provisioner.proofs.encrypted import EncryptedProof
from provisioner.proofs.internal import InternalProof
from provisioner.proofs.isolation import IsolationProof, LocalIsolationProof
from provisioner.proofs.limited import narrowed, on_targets
from provisioner.proofs.local import LocalProof
from provisioner.proofs.overlay import OverlayProof

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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


def units(inventory: Inventory) -> tuple[Unit, ...]:
    """Return every proof of every network, for the user to choose from."""
    return choice.units(PROOFS, inventory)


def prove(
    site: Callable[[], Site],
    connections: Connections,
    observer: Observer,
    *,
    again: Again,
    chosen: Choice,
    judge: Callable[[], Judge] | None = None,
) -> Iterator[ProofResult]:
    """Run the chosen proofs on the live hosts, one round after the other. Excluded proofs have a result that says so.

    site: the cluster as last read. again: reads it once more. judge: makes the judge of each round; see `base.Judge`. Raises
    UsageError if a pattern matches nothing.
    """
    every = units(site().inventory)
    # In this order; each handles its own kind of network.
    rounds = (partial(overlay.rounds, hold=chosen.hold or 0.0), on_targets(local.rounds), on_targets(builtin.rounds))
    for result in running.run(rounds, chosen.of(every), site, connections, observer, again=again, judge=judge):
        yield narrowed(result, site())
    yield from (running.left_out(unit) for unit in chosen.left_out(every))
