"""What `verify` and `doctor` do alike: they compare all steps, observe the hosts, prove the networks, and find the causes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from provisioner.model import State
from provisioner.runner.converge import outcome
from provisioner.runner.diagnose import explain, foretell, observe
from provisioner.runner.look import judge_again, look
from provisioner.runner.prove import prove
from provisioner.steps import STEPS
from provisioner.system import attached, services
from provisioner.workflows import anyway, compare
from provisioner.workflows.status import describe

if TYPE_CHECKING:
    from typing import Protocol

    from provisioner.explain.scope import Scope
    from provisioner.proofs import Choice
    from provisioner.runner.run import Run
    from provisioner.workflows import Phase

    class Prove(Protocol):
        """A phase that runs the chosen proofs."""

        def __call__(self, run: Run, chosen: Choice) -> bool: ...


def phases(chosen: Scope, proving: Prove = prove, *, deep: bool = False) -> tuple[Phase, ...]:
    """The phases from the first reading to the causes. chosen: what to look at and to report. proving: runs the chosen proofs.

    deep: also record why kernels drop packets, and read the engines' tables of gossip.
    """
    return partial(begin, chosen=chosen, deep=deep), anyway(look), compare(STEPS), *find_compared(chosen, proving)


def begin(run: Run, chosen: Scope, *, deep: bool = False) -> bool:
    """Also reads the engines' containers, which forwarding entries are compared with, and the services of a swarm."""
    run.session.requests += (attached.CONTAINERS, services.LIST)
    run.session.modules += (services.IPVS,)
    run.observations, run.is_reported, run.deep = chosen.observations, chosen.reports, deep
    return True


def find(chosen: Scope, proving: Prove = prove) -> tuple[Phase, ...]:
    """The phases that observe, prove and explain, after the hosts were read."""
    proofs = (foretell, partial(proving, chosen=chosen.choice)) if chosen.choice else ()
    return observe, *proofs, judge_again, explain, describe


def find_compared(chosen: Scope, proving: Prove = prove) -> tuple[Phase, ...]:
    """The same, after the steps were compared, too."""
    *first, last, description = find(chosen, proving)
    return *first, compare_again, last, description


def compare_again(run: Run) -> bool:
    """Compares again what differed, after the hosts were read again: a busy engine or store may have answered late before."""
    steps = {step.name: step for step in STEPS}
    run.outcomes = [
        outcome(steps[each.step], run.site, each.host)
        if each.state is State.DRIFTED and each.step in steps and each.host in run.site.live
        else each
        for each in run.outcomes
    ]
    return True
