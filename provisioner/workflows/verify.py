"""`verify`: compares every step, observes the hosts, and proves the networks. It repairs nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner import causes, proofs
from provisioner.errors import UsageError
from provisioner.explain.scope import scope
from provisioner.model import Failure
from provisioner.workflows import examine

if TYPE_CHECKING:
    from provisioner.inventory import Inventory
    from provisioner.proofs import Choice
    from provisioner.runner.run import Run
    from provisioner.workflows import Phase


def phases(inventory: Inventory, chosen: Choice, *, strict: bool = False) -> tuple[Phase, ...]:
    """The phases of `verify`. chosen: what to look at, and the causes to report. strict: a warning is an error, too.

    Raises UsageError if a pattern matches nothing, or if no proof is left.
    """
    narrow = scope(chosen, proofs.units(inventory))
    if narrow.choice is None:
        raise UsageError(
            "--only and --skip leave no proof to run",
            cure="`provisioner verify --list INVENTORY` shows the proofs; `provisioner doctor` can observe without proofs",
        )
    return *examine.phases(narrow), *((accept_no_warning,) if strict else ())


def accept_no_warning(run: Run) -> bool:
    warnings = dict.fromkeys(found.id for found in run.causes if causes.warns(found))
    if warnings:
        run.errors.append(Failure(f"--strict accepts no warning: {', '.join(warnings)}", "warning-found"))
    return True
