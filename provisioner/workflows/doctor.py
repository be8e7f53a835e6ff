"""`doctor`: does what `verify` does, also holds connections, and reports the causes. With --fix, it runs cures, too.

For a swarm that somebody else built, there is no desired state to compare with. Only the suitable checks run.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from provisioner import preflight, proofs
from provisioner.explain.scope import scope
from provisioner.model import Failure, Problem, State
from provisioner.runner.diagnose import explaining, seen
from provisioner.runner.fix import NOT_RUN, fix, judge_fixes
from provisioner.runner.look import check, look, read
from provisioner.runner.prove import prove
from provisioner.steps import STEPS
from provisioner.workflows import anyway, compare, examine

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from provisioner.collect import Collection
    from provisioner.inventory import Inventory
    from provisioner.model import Report
    from provisioner.proofs import Choice
    from provisioner.runner.run import Run
    from provisioner.workflows import Phase


def phases(
    inventory: Inventory, chosen: Choice, collection: Collection | None = None, *, deep: bool = False
) -> tuple[Phase, ...]:
    """The phases of `doctor`. chosen: what to look at and to report. collection: the evidence to collect at the end.
    deep: also record why kernels drop packets.

    Raises UsageError if a pattern matches nothing.
    """
    narrow = scope(chosen, proofs.units(inventory))
    return *examine.phases(narrow, _prove, deep=deep), *_collected(collection)


def fixing(inventory: Inventory, chosen: Choice, before: Report) -> tuple[Phase, ...]:
    """The phases that run the pending fixes of the report before, and look again."""
    narrow = scope(chosen, proofs.units(inventory))

    def plan(run: Run) -> bool:
        run.fixes, run.causes = [fix for fix in before.fixes if fix.commands], before.causes
        return True

    repair = partial(fix, proofs=before.proofs)
    return (
        partial(examine.begin, chosen=narrow),
        plan,
        anyway(look),
        _lock,
        repair,
        compare(STEPS),
        *examine.find_compared(narrow, _prove),
        judge_fixes,
    )


def _collected(collection: Collection | None) -> tuple[Phase, ...]:
    if collection is None:
        return ()
    from provisioner.runner.collect import collect

    return (partial(collect, collection=collection),)


_HOLD = 5.0  # seconds for which connections are held if nothing else is wrong


def _prove(run: Run, chosen: Choice) -> bool:
    """Proves the networks. If nothing is wrong so far, connections are held for some seconds, to see interruptions."""
    if chosen.hold is None and not run.findings and not explaining().observed(seen(run)):
        chosen = replace(chosen, hold=_HOLD)
    return prove(run, chosen)


def _lock(run: Run) -> bool:
    """Takes all locks. Without them, no fix is run."""
    if not run.site.targets:
        run.errors.append(Failure("no host is left on which a cure could be run", "no-host-left"))
    if run.errors or not run.lock():
        run.fixes = [
            replace(each, state=State.SKIPPED, reason=NOT_RUN) if each.state is State.PENDING else each
            for each in run.fixes
        ]
        return False
    return True


@dataclass(frozen=True)
class Unexamined:
    """The nodes of a swarm that are not examined.

    others: those that the user did not agree to log in to. unusable: those that can't be reached, each with the reason.
    led: whether the swarm has a leader; without one, a manager names no workers.
    """

    others: Sequence[str] = ()
    unusable: Sequence[str] = ()
    led: bool = True

    def problems(self) -> Iterator[Problem]:
        if self.others:
            what = f"the manager names other nodes, which were not logged in to: {', '.join(self.others)}"
            yield Problem("nodes-unexamined", "", what)
        if self.unusable:
            what = f"the manager names nodes that can't be reached: {'; '.join(self.unusable)}"
            yield Problem("nodes-unexamined", "", what, variant="address")
        if not self.led:
            what = "the swarm has no leader, so the manager names only managers, and no worker"
            yield Problem("nodes-unexamined", "", what, variant="leader")


def of_swarm(
    found: Inventory,
    chosen: Choice,
    unexamined: Unexamined,
    collection: Collection | None = None,
    *,
    deep: bool = False,
) -> tuple[Phase, ...]:
    """The phases of `doctor` for a swarm that somebody else built.

    found: its hosts and networks, from its manager. chosen: which proofs to run. collection, deep: see `phases`.
    Raises UsageError if a pattern of the choice matches nothing.
    """
    narrow = scope(replace(chosen, unfit=_ONLY_OURS), proofs.units(found))

    def begin(run: Run) -> bool:
        run.preflight = partial(preflight.run, only=preflight.OF_OTHERS)
        run.checks.append(lambda _: unexamined.problems())
        return True

    return (
        partial(examine.begin, chosen=narrow, deep=deep),
        begin,
        _look,
        *examine.find(narrow, _prove),
        *_collected(collection),
    )


_ONLY_OURS = ("isolation",)  # proofs of properties that only the firewall rules of `up` provide


def _look(run: Run) -> bool:
    """Reads and checks the hosts. Only hosts whose facts are incomplete drop out. The run always continues."""
    read(run)
    check(run)
    for finding in run.findings:
        if finding.host in preflight.unreadable([finding]):
            run.session.lost.setdefault(finding.host, Failure(finding.evidence, finding.id))
    run.drop_lost()
    return True
