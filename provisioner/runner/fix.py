"""Runs cures that a person agreed to: each once more looked for, one after the other, through the one writer."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from provisioner import explain
from provisioner.causes.base import ENGINE
from provisioner.errors import ProvisionerError
from provisioner.explain import fixes
from provisioner.model import Action, HostChanged, Kind, Outcome, PhaseBegan, PhaseEnded, State
from provisioner.runner.converge import outcome
from provisioner.runner.diagnose import observe, seen
from provisioner.runner.look import await_end, read_all
from provisioner.steps import STEPS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from provisioner.model import Fix, ProofResult
    from provisioner.runner.run import Run

_DEADLINE = 150.0  # seconds; systemd waits 90 until it kills an engine that does not stop
_SETTLES = 40.0  # seconds until an engine that was started or repaired has joined its cluster again
NOT_RUN = "the run stopped before its turn"


def fix(run: Run, proofs: Iterable[ProofResult]) -> bool:
    """Runs the pending fixes of `run.fixes` whose cause still holds. The run always continues.

    proofs: the earlier results, since some causes show in a failed proof only.
    """
    proofs, before, changed = tuple(proofs), _drifting(run, lasting=True), True
    for number, wanted in enumerate(run.fixes):
        if wanted.state is not State.PENDING:
            continue
        if changed:
            observe(run)
        run.fixes[number] = _one(run, wanted, proofs)
        changed = wanted.touches == ENGINE and run.fixes[number].state is not State.SKIPPED
        if changed:
            _settle(run, before)
    if any(done.state is State.CONVERGED for done in run.fixes):
        _settle(run, before)
    return True


def judge_fixes(run: Run) -> bool:
    """Says which fixes helped, after the causes were sought again, and which causes are left to `up`."""
    run.fixes = [fixes.judged(done, run.causes) for done in run.fixes]
    run.fixes += fixes.left_to_up(run.causes)
    return True


def _one(run: Run, wanted: Fix, proofs: tuple[ProofResult, ...]) -> Fix:
    if wanted.host not in run.site.live:
        why = "the host dropped out"
    else:
        why = fixes.obstacle(wanted, explain.problems(replace(seen(run), proofs=proofs)), run.fixes)
    if why:
        return replace(wanted, state=State.SKIPPED, reason=why)
    began = time.monotonic()
    run.session.emit(PhaseBegan("fix", f"Fix {wanted.cause}", (wanted.host,)))
    run.session.emit(HostChanged(wanted.host, "fix", wanted.cause))
    done = _write(run, wanted)
    ended = Outcome(wanted.host, "fix", done.state, error=done.error)
    run.session.emit(PhaseEnded("fix", (ended,), time.monotonic() - began))
    return done


def _write(run: Run, wanted: Fix) -> Fix:
    script = "\n".join((f"# fixing {wanted.cause}", "set -e", *wanted.commands))
    try:
        run.session.connections[wanted.host].write(script, deadline=_DEADLINE)
    except ProvisionerError as error:
        return replace(wanted, state=State.FAILED, error=str(error))
    return replace(wanted, state=State.CONVERGED)


def _drifting(run: Run, *, lasting: bool = False) -> set[tuple[str, str]]:
    """The steps and hosts that differ from the inventory. lasting: without what ends by itself once a cause is gone."""
    found = set()
    for step in run.due(STEPS):
        for name in run.site.live:
            now = outcome(step, run.site, name)
            passes = now.state is State.PENDING or any(
                drift.action is Action.WAIT or drift.kind is Kind.ENGINE for drift in now.drifts
            )
            if now.state is not State.SETTLED and not (lasting and passes):
                found.add((step.name, name))
    return found


def _settle(run: Run, before: set[tuple[str, str]]) -> None:
    """Reads all hosts again until nothing differs that did not differ before the first fix, or the time is over."""
    read_all(run)
    await_end(lambda: _drifting(run) - before, lambda: read_all(run), _SETTLES)
