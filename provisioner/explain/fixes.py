"""Selects and orders the cures that `doctor --fix` can run, and checks whether each still applies. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from provisioner import causes
from provisioner.model import Fix, State

if TYPE_CHECKING:
    from collections.abc import Iterable

    from provisioner.model import Diagnosis, Problem

BY_UP = "`provisioner up` repairs it"


def plan(found: Iterable[Diagnosis]) -> tuple[Fix, ...]:
    """Return the cures that can run, in the order of the causes, without duplicates. Consequences have none: they end with their cause."""
    fixes = [causes.fix(problem) for diagnosis in found for problem in diagnosis.problems]
    return tuple({(fix.host, fix.commands): fix for fix in reversed([*filter(None, fixes)])}.values())[::-1]


def left_to_up(found: Iterable[Diagnosis]) -> tuple[Fix, ...]:
    """Return the causes that only `provisioner up` repairs."""
    left = [
        Fix(problem.id, problem.host, state=State.SKIPPED, reason=BY_UP)
        for diagnosis in found
        for problem in diagnosis.problems
        if causes.of(problem).fixable and not causes.fix(problem)
    ]
    return tuple(dict.fromkeys(left))


def obstacle(fix: Fix, problems: Iterable[Problem], done: Iterable[Fix]) -> str:
    """Return why a planned fix must not run, or "". problems: found on the hosts just now. done: fixes that ran before."""
    earlier = [other for other in done if other.state in {State.CONVERGED, State.FAILED}]
    against = next((other for other in earlier if fix.touches and _contradict(fix, other)), None)
    if against:
        return f"the fix of {against.cause} has changed {fix.touches} already; run doctor again"
    if fix.restarts and any(other.restarts and other.state is State.FAILED for other in earlier):
        return "the restart of another engine has failed"
    now = [problem for problem in problems if (problem.id, causes.place(problem)) == (fix.cause, fix.host)]
    if fix in filter(None, map(causes.fix, now)):
        return ""
    return "it has changed since it was found; run doctor again" if now else "it is gone"


def _contradict(one: Fix, other: Fix) -> bool:
    return (one.host, one.touches) == (other.host, other.touches) and one.commands != other.commands


def judged(fix: Fix, found: Iterable[Diagnosis]) -> Fix:
    """Return the result of a fix that ran. found: the causes in a new observation of the hosts."""
    remains = fix.key in {again.key for again in plan(found)}
    if fix.state is State.CONVERGED and remains:
        return replace(fix, state=State.FAILED, error="the commands succeeded, but the cause is still there")
    return fix
