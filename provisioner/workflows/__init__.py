"""What each command does: a list of phases, run in order until one of them says that the run can't go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from provisioner.runner.look import choose_again
from provisioner.runner.run import CLUSTER, Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from provisioner.steps.base import Step

Phase: TypeAlias = "Callable[[Run], bool]"  # False: there is no going on


def go(run: Run, phases: Iterable[Phase]) -> bool:
    """Runs the phases. False: one of them ended the run early."""
    return all(phase(run) for phase in phases)


def anyway(phase: Phase) -> Phase:
    """A phase after which the run goes on, whatever it found: for commands that only look."""

    def look(run: Run) -> bool:
        phase(run)
        return True

    return look


def compare(steps: Iterable[Step], scope: str = CLUSTER) -> Phase:
    """What differs, step by step, on the live hosts of a scope."""

    def phase(run: Run) -> bool:
        for step in run.due(steps, scope):
            run.compare(step, scope)
        return True

    return phase


def lock(run: Run) -> bool:
    """Takes every host's lock, and reads again."""
    return run.lock()


def lock_if_any_differs(steps: Iterable[Step]) -> Phase:
    """Where nothing differs nothing is locked, or written."""
    return lambda run: not run.differs(steps) or run.lock()


def converge(steps: Iterable[Step], scope: str = CLUSTER) -> Phase:
    """Repairs what differs, step by step, as long as the scope can go on. Engines that a step installed are checked."""

    def phase(run: Run) -> bool:
        for step in run.due(steps, scope):
            bare = run.without_engine(scope)
            run.converge(step, scope)
            installed = bare & set(run.sites[scope].live) - run.without_engine(scope)
            if not run.may_go_on(scope) or (installed and not choose_again(run)):
                return False
        return True

    return phase
