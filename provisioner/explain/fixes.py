"""Keeps cures apart that contradict each other, selects those that `doctor --fix` can run, and checks whether each still applies. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from provisioner import causes
from provisioner.causes.base import RESTART, START
from provisioner.model import Fix, State

if TYPE_CHECKING:
    from collections.abc import Iterable

    from provisioner.model import Diagnosis, Problem

BY_UP = "`provisioner up` repairs it"


def apart(found: Iterable[Diagnosis]) -> tuple[Diagnosis, ...]:
    """Return the causes without cures that contradict the cure of an earlier cause. Such a cause says to cure that one first.

    Two cures contradict each other if they change the same thing on the same host, and neither contains all that the other does.
    """
    kept: dict[tuple[str, str], list[Problem]] = {}

    def one(problem: Problem) -> Problem:
        others = kept.setdefault((causes.place(problem), causes.touches(problem)), [])
        against = next((other for other in others if causes.touches(problem) and _contradict(problem, other)), None)
        if against:
            return replace(problem, after=_first(against))
        others.append(problem)
        return problem

    return tuple(replace(each, problems=tuple(map(one, each.problems))) for each in found)


def _contradict(one: Problem, other: Problem) -> bool:
    here, there = _does(one), _does(other)
    return not here <= there and not there <= here


def _does(problem: Problem) -> set[str]:
    """Return the commands of a cure, or else its text. A restart of the engine starts it too."""
    commands = {*(causes.shell_commands(problem) or (causes.cure(problem),))}
    return commands | {START} if RESTART in commands else commands


def _first(other: Problem) -> str:
    place = causes.place(other)
    where = f" on {place}" if place else ""
    return f"run the cure of {other.id}{where} first, then look again: both cures change {causes.touches(other)}"


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
        if causes.by_up(problem) and not causes.fix(problem)
    ]
    return tuple(dict.fromkeys(left))


def obstacle(fix: Fix, problems: Iterable[Problem], done: Iterable[Fix]) -> str:
    """Return why a planned fix must not run, or "". problems: found on the hosts just now. done: fixes that ran before."""
    if fix.restarts and any(other.restarts and other.state is State.FAILED for other in done):
        return "the restart of another engine has failed"
    now = [problem for problem in problems if (problem.id, causes.place(problem)) == (fix.cause, fix.host)]
    if fix in filter(None, map(causes.fix, now)):
        return ""
    return "it has changed since it was found; run doctor again" if now else "it is gone"


def judged(fix: Fix, found: Iterable[Diagnosis]) -> Fix:
    """Return the result of a fix that ran. found: the causes in a new observation of the hosts."""
    again = [causes.fix(replace(problem, after="")) for each in found for problem in each.problems]
    remains = fix.key in {each.key for each in again if each}
    if fix.state is State.CONVERGED and remains:
        return replace(fix, state=State.FAILED, error="the commands succeeded, but the cause is still there")
    return fix
