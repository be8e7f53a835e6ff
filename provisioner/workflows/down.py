"""`down`: hosts as they were found. Networks go, then engines leave the store or the swarm, then all that is ours.

What is left to do is seen from the hosts and their records: interrupted, it is run again, and a second run does nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from provisioner.model import State
from provisioner.preflight import machine
from provisioner.runner import look
from provisioner.steps import OWNED
from provisioner.steps.ending import EndNetworks, EndPackages, EndSwarm
from provisioner.steps.leaving import Drain, Leave, LeaveEngine
from provisioner.system import attached
from provisioner.workflows import anyway, lock, obstacles

if TYPE_CHECKING:
    from collections.abc import Iterable

    from provisioner.runner.run import Run
    from provisioner.steps.base import Step
    from provisioner.workflows import Phase


@dataclass(frozen=True)
class Down:
    """What goes beside what always goes.

    force: containers are taken off the networks, and a swarm is left that has services or is not ours. data: the store's data.
    packages: those that runs installed. unrecorded: packages, users and programs that no record tells of, because an earlier
    version installed them.
    """

    force: bool = False
    data: bool = False
    packages: bool = False
    unrecorded: bool = False


def phases(asked: Down) -> tuple[Phase, ...]:
    """All of it. Where nothing differs, nothing is locked or written."""
    return (
        lambda run: _look(run, asked),
        lambda run: _compare(run, asked) or True,
        _differs,
        lock,
        lambda run: _end(run, asked),
    )


def plan(asked: Down) -> tuple[Phase, ...]:
    """What would be done."""
    return anyway(lambda run: _look(run, asked)), lambda run: _compare(run, asked)


def steps(run: Run, asked: Down) -> Iterable[Step]:
    """In their order."""
    local = frozenset(name for name, network in run.inventory.networks.items() if not network.is_global)
    if asked.force:
        yield Drain(local)  # containers leave the networks, and go on
    yield EndNetworks(
        free=asked.force or bool(run.session.lost), shared=not obstacles.networks_end_by_themselves(run.site)
    )
    yield EndSwarm()  # engines leave the swarm
    yield LeaveEngine()  # engines leave the store, and daemon.json is as it was
    yield Leave(data=asked.data, unrecorded=asked.unrecorded)  # the store, rules, files, users, folders
    if asked.packages:
        yield EndPackages(unrecorded=asked.unrecorded)


def _look(run: Run, asked: Down) -> bool:
    """Connects and reads. No majority is needed: everything goes."""
    run.session.everything = OWNED
    run.session.requests += (attached.CONTAINERS, obstacles.SERVICES)
    look.read(run)
    run.site = replace(run.site, servers=())
    run.findings = []
    look.note(run, run.of_all(machine.no_root, "checking the hosts"))
    asks = {"force": asked.force, "packages": asked.packages, "unrecorded": asked.unrecorded}
    look.note(run, run.of_all(lambda site: list(obstacles.findings(site, **asks)), "checking the hosts"))
    fit = run.drop_stopped()
    if not run.site.live:
        run.errors.append("nothing is done: no host is left\n  next:  fix what is reported about them, and run again")
    return fit and not run.errors


def _compare(run: Run, asked: Down) -> bool:
    for step in steps(run, asked):
        run.compare(step)
    return True


def _differs(run: Run) -> bool:
    """Whether anything is left to do; what was compared is not kept then, since the steps tell it themselves."""
    if not any(outcome.drifts or outcome.state is State.FAILED for outcome in run.outcomes):
        return False
    run.outcomes = []
    return True


def _end(run: Run, asked: Down) -> bool:
    for step in list(steps(run, asked)):
        run.converge(step)
        if run.errors or not run.site.live:
            return False
        run.read_again()
    return True
