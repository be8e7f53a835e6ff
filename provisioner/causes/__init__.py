"""The catalogue of causes: one table for each family. Detectors yield a `Problem`; the catalogue explains it.

`FAMILIES` sets the order of `provisioner causes` and docs/causes.md, which are generated from the catalogue.
"""

from __future__ import annotations

import shlex
from types import MappingProxyType
from typing import TYPE_CHECKING

from provisioner.causes import (
    addresses,
    commands,
    connections,
    engine,
    failures,
    firewall,
    kernel,
    networks,
    paths,
    proofs,
    store,
    swarm,
    system,
)
from provisioner.causes.base import ENGINE, RESTART, WITHOUT_STORE, Cause, Family, Kind
from provisioner.errors import with_inventory
from provisioner.model import Fix, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from provisioner.model import Diagnosis, Problem

__all__ = [
    "CAUSES",
    "FAMILIES",
    "Cause",
    "Family",
    "Kind",
    "cure",
    "fix",
    "of",
    "place",
    "severity",
    "shell_commands",
    "template",
    "to_run",
    "touches",
    "unexplained",
]

FAMILIES: tuple[Family, ...] = (
    system.FAMILY,
    addresses.FAMILY,
    firewall.FAMILY,
    paths.FAMILY,
    kernel.FAMILY,
    engine.FAMILY,
    store.FAMILY,
    swarm.FAMILY,
    networks.FAMILY,
    proofs.FAMILY,
    connections.FAMILY,
    failures.FAMILY,
    commands.FAMILY,
)
CAUSES: Mapping[str, Cause] = MappingProxyType({cause.id: cause for family in FAMILIES for cause in family.causes})


_RESTARTS = "; its containers stop meanwhile unless it has live-restore"
_RESTARTING = frozenset({RESTART, WITHOUT_STORE})


class _Values(dict[str, object]):
    """The values of a problem. A missing value is shown as its name in capitals."""

    def __missing__(self, key: str) -> str:
        return key.upper()


def of(problem: Problem) -> Cause:
    """Return the entry of the catalogue for a problem."""
    return CAUSES[problem.id]


def severity(problem: Problem) -> Severity:
    """Return what a problem does to a run."""
    return Severity.WARNING if problem.warns else of(problem).severity


def warns(found: Diagnosis) -> bool:
    """Return whether a cause is only a warning wherever it was found."""
    return all(severity(problem) is Severity.WARNING for problem in found.problems)


def by_up(problem: Problem) -> bool:
    """Return whether a step of `provisioner up` removes the problem."""
    return not problem.after and (of(problem).fixable or problem.variant in of(problem).by_up)


def cure(problem: Problem) -> str:
    """Return what to do next about a problem. Its commands name the inventory if the problem has it in the value `inventory`."""
    if problem.after:
        return problem.after
    cause = of(problem)
    text = template(cause.variants[problem.variant] if problem.variant else cause.cure, problem.values)
    return with_inventory(text, str(problem.values.get("inventory", "")))


def unexplained(problems: Iterable[Problem]) -> list[Problem]:
    """Return the problems without those that only follow from another one of them."""
    found = list(problems)
    consequences = {name for problem in found for name in of(problem).explains}
    return [problem for problem in found if problem.id not in consequences]


def place(problem: Problem) -> str:
    """Return the host on which the commands of a cure run: the value `host` of the problem, or else the problem's host."""
    return str(problem.values.get("host", problem.host))


def shell_commands(problem: Problem) -> tuple[str, ...]:
    """Return the cure of a problem as shell commands; () if there are none. Values are quoted; a tuple becomes several words."""
    texts = () if problem.after else of(problem).commands.get(problem.variant, ())
    return tuple(template(text, _quoted(problem)) for text in texts)


def touches(problem: Problem) -> str:
    """Return what the cure of a problem changes on its host; "" if no other cure changes it."""
    cause = of(problem)
    default = ENGINE if _RESTARTING.intersection(cause.commands.get(problem.variant, ())) else ""
    return template(cause.touches.get(problem.variant, default), _quoted(problem))


def _quoted(problem: Problem) -> dict[str, str]:
    return {
        name: shlex.join(map(str, value)) if isinstance(value, tuple) else shlex.quote(str(value))
        for name, value in problem.values.items()
    }


def to_run(problem: Problem) -> tuple[str, ...]:
    """Return the commands of a cure for people: each names the host on which it runs, in a comment."""
    texts = of(problem).commands.get(problem.variant, ())
    return tuple(
        f"{command}  # on {place(problem)}{_RESTARTS if text in _RESTARTING else ''}"
        for text, command in zip(texts, shell_commands(problem), strict=False)  # a cure that has to wait has no command
    )


def fix(problem: Problem) -> Fix | None:
    """Return the cure of a problem as `doctor --fix` can run it; None if there is none, or if it can't be shown exactly as it is."""
    cause, run = of(problem), shell_commands(problem)
    if not run or problem.variant not in cause.fixes or not all(command.isprintable() for command in run):
        return None
    return Fix(problem.id, place(problem), run, touches(problem), RESTART in run)


def template(text: str, values: Mapping[str, object] = MappingProxyType({})) -> str:
    """Fill a cure's template. Values are inserted verbatim: braces in them have no meaning."""
    return text.format_map(_Values(values))
