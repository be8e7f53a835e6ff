"""Runs proofs, round by round, and reports their progress."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from provisioner.model import HostChanged, Outcome, PhaseBegan, PhaseEnded, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from provisioner.controlplane import Site
    from provisioner.model import Observer, ProofResult
    from provisioner.proofs.base import Again, Connections, Proof, Round


def run(
    proofs: Iterable[Proof], site: Callable[[], Site], connections: Connections, observer: Observer, *, again: Again
) -> tuple[ProofResult, ...]:
    """Run the proofs one after the other. `site` is asked before each round, because `again` may have changed it."""
    results: list[ProofResult] = []
    for proof in proofs:
        for each in proof.rounds(site()):
            results += _round(each, site, connections, observer, again)
    return tuple(results)


def _round(
    each: Round, site: Callable[[], Site], connections: Connections, observer: Observer, again: Again
) -> tuple[ProofResult, ...]:
    networks = ", ".join(each.networks)
    name, began = f"proof {networks}", time.monotonic()

    def progress(host: str, text: str) -> None:
        observer.event(HostChanged(host, name, text))

    observer.event(PhaseBegan(name, f"Proof of {networks}", site().live))
    results = each.probing(site(), connections, observer=progress, again=again)
    states = {result.state for result in results}
    state = next((bad for bad in (State.FAILED, State.SKIPPED) if bad in states), State.SETTLED)
    outcomes = tuple(Outcome(host, name, state) for host in site().live)
    observer.event(PhaseEnded(name, outcomes, time.monotonic() - began))
    return results
