"""What each command does: a list of phases, run in order until one of them ends the run."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from provisioner.runner.look import choose_again
from provisioner.runner.run import CLUSTER, Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from provisioner.steps.base import Step

Phase: TypeAlias = "Callable[[Run], bool]"  # False: the run can't continue


def go(run: Run, phases: Iterable[Phase]) -> bool:
    """Runs the phases in order. Returns False if one of them ended the run early."""
    return all(phase(run) for phase in phases)


def anyway(phase: Phase) -> Phase:
    """The same phase, but the run always continues after it: for commands that change nothing."""

    def look(run: Run) -> bool:
        phase(run)
        return True

    return look


def or_else(phase: Phase, last: Phase) -> Phase:
    """The same phase. If it ends the run, `last` runs after it."""

    def either(run: Run) -> bool:
        done = phase(run)
        if not done:
            last(run)
        return done

    return either


def compare(steps: Iterable[Step], scope: str = CLUSTER) -> Phase:
    """A phase that compares desired and actual state, step by step, on the live hosts of a scope."""

    def phase(run: Run) -> bool:
        for step in run.due(steps, scope):
            run.compare(step, scope)
        return True

    return phase


def lock(run: Run) -> bool:
    """Takes the lock of every host, then reads all hosts again."""
    return run.lock()


def lock_if_any_differs(steps: Iterable[Step]) -> Phase:
    """A phase that takes the locks only if some step has drift."""
    return lambda run: not run.differs(steps) or run.lock()


def converge(steps: Iterable[Step], scope: str = CLUSTER) -> Phase:
    """A phase that repairs drift, step by step, until the scope can't continue. It checks newly installed engines."""

    def phase(run: Run) -> bool:
        for step in run.due(steps, scope):
            bare = run.without_engine(scope)
            run.converge(step, scope)
            installed = bare & set(run.sites[scope].live) - run.without_engine(scope)
            if not run.may_go_on(scope) or (installed and not choose_again(run)):
                return False
        return True

    return phase
