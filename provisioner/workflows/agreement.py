"""Asks a person before anything is changed."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from provisioner.model import Action, Asking
from provisioner.runner.converge import outcome

if TYPE_CHECKING:
    from collections.abc import Iterable

    from provisioner.model import Drift, Report
    from provisioner.runner.run import Run
    from provisioner.steps.base import Step


class Ask(Protocol):
    """Shows a person what would change, and asks. again: what was shown before is outdated. Raises ProvisionerError unless the person agrees."""

    def __call__(self, planned: Report, *, again: bool) -> None: ...


@dataclass
class Agreement:
    """A phase: a person agrees to the changes. It reads nothing, and asks only for changes that were not agreed to yet."""

    ask: Ask
    steps: Iterable[Step]
    agreed: set[tuple[str, str, Drift]] = field(default_factory=set)

    def __call__(self, run: Run) -> bool:
        began = time.monotonic()
        found = tuple(outcome(step, run.site, name) for step in run.due(self.steps) for name in run.site.targets)
        changes = {(each.step, each.host, drift) for each in found for drift in each.drifts if _is_change(drift)}
        if changes <= self.agreed:
            return True
        run.session.emit(Asking())
        try:
            self.ask(replace(run.report("plan"), outcomes=found), again=bool(self.agreed))
        finally:
            run.session.emit(Asking(ended=True))
        self.agreed = changes
        run.began += time.monotonic() - began
        if run.store_lock:
            run.store_lock.take()  # it may have expired
        return True


def _is_change(drift: Drift) -> bool:
    """Whether `up` would change something because of this drift."""
    return not drift.held and drift.action is not Action.WAIT
