"""`verify`: compares every step, and proves the networks. It repairs nothing."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from provisioner.runner.diagnose import explain_failure
from provisioner.runner.look import judge_again, look
from provisioner.runner.prove import prove
from provisioner.steps import STEPS
from provisioner.workflows import anyway, compare
from provisioner.workflows.status import describe

if TYPE_CHECKING:
    from provisioner.proofs import Choice
    from provisioner.workflows import Phase


def phases(chosen: Choice) -> tuple[Phase, ...]:
    """The phases of `verify`. chosen: which proofs to run."""
    return anyway(look), compare(STEPS), partial(prove, chosen=chosen), judge_again, explain_failure, describe
