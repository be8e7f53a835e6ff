"""`up`: brings the hosts to the desired state, and proves the networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.runner.diagnose import explain_apart, explain_built
from provisioner.runner.look import judge_again, look
from provisioner.runner.prove import prove
from provisioner.steps import STEPS
from provisioner.workflows import converge, lock_if_any_differs, or_else
from provisioner.workflows.agreement import Agreement
from provisioner.workflows.limit import within

if TYPE_CHECKING:
    from provisioner.workflows import Phase
    from provisioner.workflows.agreement import Ask


def phases(ask: Ask | None = None) -> tuple[Phase, ...]:
    """The phases of `up`. ask: None: nobody is asked."""
    agree = (within(STEPS), *((Agreement(ask, STEPS),) if ask else ()))
    return (
        look,
        *agree,
        lock_if_any_differs(STEPS),
        *agree,  # another run may have changed the hosts before this one had the locks
        *(phase for step in STEPS for phase in (within([step]), or_else(converge([step]), explain_apart))),
        prove,
        judge_again,
        explain_built,
    )
