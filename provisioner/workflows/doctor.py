"""`doctor`: compares all steps, observes the hosts, proves the networks, and names the causes. It repairs nothing."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from provisioner.runner.diagnose import explain, observe
from provisioner.runner.look import judge_again, look
from provisioner.runner.prove import prove
from provisioner.steps import STEPS
from provisioner.system import attached
from provisioner.workflows import anyway, compare

if TYPE_CHECKING:
    from provisioner.proofs import Choice
    from provisioner.runner.run import Run
    from provisioner.workflows import Phase


def phases(chosen: Choice) -> tuple[Phase, ...]:
    """The phases of `doctor`. chosen: which proofs to run."""
    return _containers, anyway(look), compare(STEPS), observe, partial(prove, chosen=chosen), judge_again, explain


def _containers(run: Run) -> bool:
    """Also reads the engines' containers, which forwarding entries are compared with."""
    run.session.requests += (attached.CONTAINERS,)
    return True
