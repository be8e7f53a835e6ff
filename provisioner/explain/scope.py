"""The scope of `doctor`: patterns select proofs and observations to make, and causes to report. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from provisioner import causes
from provisioner.errors import UsageError
from provisioner.inventory.problems import code, nearest
from provisioner.observe import NAMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from provisioner.proofs.choice import Choice, Unit

ALL = frozenset(NAMES)


@dataclass(frozen=True)
class Scope:
    """The checks to make and the causes to report.

    choice: the proofs to run, or None. observations: names in `observe.NAMES`.
    only, skip: patterns for the IDs of reported causes. An empty `only` means all.
    """

    choice: Choice | None
    observations: frozenset[str]
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()

    def reports(self, cause: str) -> bool:
        """Return whether this cause is reported if found. cause: its ID."""
        return (not self.only or _any(self.only, cause)) and not _any(self.skip, cause)


def scope(choice: Choice, units: Sequence[Unit]) -> Scope:
    """Build the scope. A pattern that matches proofs or observations selects these; any other pattern selects causes.

    If `only` selects no proof or observation, all are made. Raises UsageError if a pattern matches nothing.
    """
    for option, patterns in (("--only", choice.only), ("--skip", choice.skip)):
        _known(option, patterns, units)
    only, skip = ([p for p in patterns if _of_looks(p, units)] for patterns in (choice.only, choice.skip))
    observations = {name for name in ALL if not only or _any(only, name)} - {name for name in ALL if _any(skip, name)}
    return Scope(
        _proofs(choice, only, skip, units),
        frozenset(observations),
        tuple(p for p in choice.only if p not in only),
        tuple(p for p in choice.skip if p not in skip),
    )


def _proofs(choice: Choice, only: Iterable[str], skip: Iterable[str], units: Sequence[Unit]) -> Choice | None:
    """Return the choice of proofs, or None if no proof is left."""
    chosen, left_out = (tuple(p for p in patterns if _of_proofs(p, units)) for patterns in (only, skip))
    if only and not chosen:
        return None
    narrowed = replace(choice, only=chosen, skip=left_out)
    found = [unit for unit in units if any(map(unit.matches, chosen))] if chosen else narrowed.usual(units)
    return narrowed if any(not any(map(unit.matches, left_out)) for unit in found) else None


def _of_proofs(pattern: str, units: Iterable[Unit]) -> bool:
    return any(unit.matches(pattern) for unit in units)


def _of_looks(pattern: str, units: Iterable[Unit]) -> bool:
    return _of_proofs(pattern, units) or any(fnmatchcase(name, pattern) for name in NAMES)


def _any(patterns: Iterable[str], name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _known(option: str, patterns: Iterable[str], units: Sequence[Unit]) -> None:
    for pattern in patterns:
        if not _of_looks(pattern, units) and not any(fnmatchcase(name, pattern) for name in causes.CAUSES):
            names = [name for unit in units for name in (unit.name, unit.kind, f"*/{unit.network}")]
            known = nearest(pattern, [*names, *NAMES, *causes.CAUSES])
            raise UsageError(
                f"{option} {code(pattern)}: no proof of this inventory, observation or cause has this name{known}",
                cure="`provisioner verify --list INVENTORY` shows the proofs, `provisioner causes` the causes;"
                f" the observations are {' and '.join(NAMES)}",
            )
