"""Observes the paths between the hosts, and finds the causes from everything that a run has seen."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from provisioner.model import Outcome, PhaseBegan, PhaseEnded, State

if TYPE_CHECKING:
    from provisioner.model import Problem
    from provisioner.runner.run import Run


_SUSPECT, _SUSPECT_PER_HOST = 3.0, 0.5  # seconds until pairs that do not reach each other are investigated


def observe(run: Run) -> bool:
    """Observes the live hosts, and the paths between all hosts. Silent hosts drop out. The run always continues."""
    from provisioner import observe as observing

    began, hosts = time.monotonic(), run.site.live
    run.session.emit(PhaseBegan("observe", "Observe", hosts))
    run.observed = observing.observe(run.site, run.session.connections, partial(run.session.progress, "observe"))
    for host, error in run.observed.silent.items():
        run.session.lose(host, error)
    run.drop_lost()
    unread = {host: why for (_, host), why in run.observed.unread.items()}
    outcomes = tuple(
        Outcome(host, "observe", State.SKIPPED if host in unread else State.SETTLED, reason=unread.get(host, ""))
        for host in hosts
    )
    run.session.emit(PhaseEnded("observe", outcomes, time.monotonic() - began))
    return True


def explain_failure(run: Run) -> bool:
    """Finds the causes if the run has failed. The run always continues."""
    return explain(run) if run.exit_code() else True


def explain(run: Run) -> bool:
    """Finds the causes. The run always continues."""
    from provisioner import explain as explaining

    seen = explaining.Seen(
        run.site,
        run.observed or explaining.NOTHING,
        tuple(run.proofs),
        tuple(run.outcomes),
        tuple(run.findings),
        dict(run.session.lost),
    )
    run.causes = explaining.explain(seen)
    run.looked_at = explaining.well(seen, frozenset(found.id for found in run.causes))
    return True


class Hopeless:
    """Decides whether waiting probes can stop: waiting can't help if observations explain the missing pairs.

    Earlier observations are enough if they explain all pairs. Otherwise, the hosts are observed once more after some
    seconds. Only then do the probes run, and the namespaces of the overlays exist.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.looked = False

    def __call__(self, missing: frozenset[tuple[str, str]], waited: float) -> bool:
        """Whether waiting longer can't help. missing: pairs that are not proven yet. waited: seconds so far."""
        from provisioner import explain as explaining

        run = self.run
        if run.observed and explaining.explained(self._problems(), missing):
            return True
        if self.looked or waited < _SUSPECT + _SUSPECT_PER_HOST * len(run.site.live):
            return False
        self.looked = True
        observe(run)
        return explaining.explained(self._problems(), missing)

    def _problems(self) -> list[Problem]:
        from provisioner import explain as explaining

        seen = explaining.Seen(self.run.site, self.run.observed or explaining.NOTHING, lost=dict(self.run.session.lost))
        return explaining.problems(seen)
