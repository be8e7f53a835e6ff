"""Runs proofs round by round, and reports their progress."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from provisioner.model import HostChanged, Outcome, PhaseBegan, PhaseEnded, ProofResult, State
from provisioner.proofs.choice import asked
from provisioner.proofs.isolation import accompanied

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from provisioner.controlplane import Site
    from provisioner.model import Observer
    from provisioner.proofs.base import Again, Asked, Connections, Judge, Round
    from provisioner.proofs.choice import Unit

    Rounds = Callable[[Site, Asked], list[Round]]


def run(
    kinds: Iterable[Rounds],
    units: Sequence[Unit],
    site: Callable[[], Site],
    connections: Connections,
    observer: Observer,
    *,
    again: Again,
    judge: Callable[[], Judge] | None = None,
) -> Iterator[ProofResult]:
    """Run the rounds one after the other. `site` is called before each round, because `again` may have changed its value.

    judge: makes the judge of each round; None: every wait lasts until its deadline. kinds: functions that plan the rounds for one kind of
    network. Each unit has a result, even if it could not be tried.
    """
    tried: set[str] = set()
    wanted = accompanied(site().inventory, asked(units))
    for rounds in kinds:
        for each in rounds(site(), wanted):
            results = _round(each, site, connections, observer, again=again, judge=judge() if judge else None)
            tried |= {result.name for result in results}
            yield from results
    yield from (_untried(unit) for unit in units if unit.name not in tried)


def _untried(unit: Unit) -> ProofResult:
    reason = "it can't be tried on the remaining hosts"
    return ProofResult(unit.proof.name, unit.network, State.SKIPPED, reason=reason)


def left_out(unit: Unit) -> ProofResult:
    """Return the result of a proof that the user excluded."""
    return ProofResult(unit.proof.name, unit.network, State.SKIPPED, reason="not chosen", chosen=False)


def _round(
    each: Round,
    site: Callable[[], Site],
    connections: Connections,
    observer: Observer,
    *,
    again: Again,
    judge: Judge | None,
) -> tuple[ProofResult, ...]:
    networks = ", ".join(each.networks)
    name, began = f"proof {networks}", time.monotonic()

    def progress(host: str, text: str) -> None:
        observer.event(HostChanged(host, name, text))

    observer.event(PhaseBegan(name, f"Proof of {networks}", site().live))
    results = each.probing(site(), connections, observer=progress, again=again, judge=judge)
    states = {result.state for result in results}
    state = next((bad for bad in (State.FAILED, State.SKIPPED) if bad in states), State.SETTLED)
    outcomes = tuple(Outcome(host, name, state) for host in site().live)
    observer.event(PhaseEnded(name, outcomes, time.monotonic() - began))
    return results
