"""`doctor`: compares all steps, observes the hosts, proves the networks, and names the causes. It repairs nothing.

For a swarm that somebody else built, there is no desired state to compare with. Only the suitable checks run.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from provisioner import preflight, proofs
from provisioner.model import Failure, Problem
from provisioner.runner.diagnose import explain, observe
from provisioner.runner.look import check, judge_again, look, read
from provisioner.runner.prove import prove
from provisioner.steps import STEPS
from provisioner.system import attached
from provisioner.workflows import anyway, compare

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from provisioner.inventory import Inventory
    from provisioner.proofs import Choice
    from provisioner.runner.run import Run
    from provisioner.workflows import Phase


def phases(chosen: Choice) -> tuple[Phase, ...]:
    """The phases of `doctor`. chosen: which proofs to run."""
    return _containers, anyway(look), compare(STEPS), observe, partial(prove, chosen=chosen), judge_again, explain


def of_swarm(found: Inventory, chosen: Choice, others: Sequence[str], unusable: Sequence[str]) -> tuple[Phase, ...]:
    """The phases of `doctor` for a swarm that somebody else built.

    found: its hosts and networks, from its manager. chosen: which proofs to run.
    others: the nodes that the user did not agree to log in to. unusable: unreachable nodes, each with the reason.
    Raises UsageError if a pattern of the choice matches nothing.
    """
    wanted = replace(chosen, unfit=_ONLY_OURS)
    wanted.of(proofs.units(found))
    unexamined = tuple(_unexamined(others, unusable))

    def begin(run: Run) -> bool:
        run.preflight = partial(preflight.run, only=preflight.OF_OTHERS)
        run.checks.append(lambda _: unexamined)
        return True

    return begin, _containers, _look, observe, partial(prove, chosen=wanted), judge_again, explain


_ONLY_OURS = ("isolation",)  # proofs of properties that only the firewall rules of `up` provide


def _unexamined(others: Sequence[str], unusable: Sequence[str]) -> Iterable[Problem]:
    if others:
        what = f"the manager names other nodes, which were not logged in to: {', '.join(others)}"
        yield Problem("nodes-unexamined", "", what)
    if unusable:
        what = f"the manager names nodes that can't be reached: {'; '.join(unusable)}"
        yield Problem("nodes-unexamined", "", what, variant="address")


def _look(run: Run) -> bool:
    """Reads and checks the hosts. Only hosts whose facts are incomplete drop out. The run always continues."""
    read(run)
    check(run)
    for finding in run.findings:
        if finding.host in preflight.unreadable([finding]):
            run.session.lost.setdefault(finding.host, Failure(finding.evidence, finding.id))
    run.drop_lost()
    return True


def _containers(run: Run) -> bool:
    """Also reads the engines' containers, which forwarding entries are compared with."""
    run.session.requests += (attached.CONTAINERS,)
    return True
