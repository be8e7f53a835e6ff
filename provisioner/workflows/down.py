"""`down`: puts the hosts back as they were found.

It removes the networks, takes the engines off the store or the swarm, and then removes everything else that runs installed.
The remaining work is derived from the hosts and their records. So an interrupted run can be repeated, and a run on clean
hosts changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from provisioner.errors import error_text
from provisioner.model import Failure, State
from provisioner.preflight import machine
from provisioner.runner import look
from provisioner.steps import OWNED
from provisioner.steps.ending import EndNetworks, EndPackages, EndSwarm
from provisioner.steps.leaving import Drain, Leave, LeaveEngine
from provisioner.steps.unrecorded import Adopt
from provisioner.system import attached, services
from provisioner.workflows import anyway, lock, obstacles

if TYPE_CHECKING:
    from collections.abc import Iterable

    from provisioner.controlplane.site import Site
    from provisioner.runner.run import Run
    from provisioner.steps.base import Step
    from provisioner.workflows import Phase


@dataclass(frozen=True)
class Down:
    """The options of `down`: what it removes in addition.

    force: disconnect containers from the networks, and leave a swarm that has services or is not this cluster's.
    data: remove the store's data. packages: remove the packages that runs installed.
    unrecorded: remove networks, users, programs and packages without a record, because an earlier version may have added them.
    """

    force: bool = False
    data: bool = False
    packages: bool = False
    unrecorded: bool = False


def phases(options: Down) -> tuple[Phase, ...]:
    """The phases of `down`. If nothing differs, it takes no lock and writes nothing."""
    return (
        lambda run: _look(run, options),
        lambda run: _compare(run, options) or True,
        _differs,
        lock,
        lambda run: _end(run, options),
    )


def plan(options: Down) -> tuple[Phase, ...]:
    """The phases of `down --plan`, which change nothing."""
    return anyway(lambda run: _look(run, options)), lambda run: _compare(run, options)


def steps(run: Run, options: Down) -> Iterable[Step]:
    """The steps of `down`, in order."""
    if options.unrecorded:
        yield Adopt(options.packages)  # completes the record
    leaderless = obstacles.leaderless(run.site)
    if leaderless:
        yield LeaveEngine()  # before Drain, since an engine whose store has no leader can't disconnect containers
    if options.force:
        yield Drain(obstacles.networks(run.site))  # disconnects containers, which keep running
    # Shared networks that can't be removed end with their swarm or their store. A swarm without a leader has no creator.
    shared = not leaderless and not obstacles.services(run.site) and bool(run.site.plane.creator(run.site))
    gone = run.session.lost or any(not run.site.plane.joined(run.site.facts[name]) for name in run.site.live)
    yield EndNetworks(free=options.force or bool(gone), shared=shared)  # lost engines left stale endpoints
    yield EndSwarm()  # takes the engines out of the swarm
    if not leaderless:
        yield LeaveEngine()  # takes the engines off the store, and restores daemon.json
    yield Leave(data=options.data)  # removes the store, rules, files, users, folders
    if options.packages:
        yield EndPackages()


def _look(run: Run, options: Down) -> bool:
    """Connects, reads and checks the hosts. No quorum is needed, because the whole cluster is removed."""
    run.session.everything = OWNED
    run.session.requests += (attached.CONTAINERS, services.LIST)
    look.read(run)
    run.site = replace(run.site, servers=())
    run.findings = []
    look.note(run, run.of_all(machine.no_root, "checking the hosts"))
    what = {"force": options.force, "packages": options.packages}
    look.note(
        run, run.of_all(lambda site: list(obstacles.findings(_adopted(site, options), **what)), "checking the hosts")
    )
    fit = run.drop_stopped()
    if not run.site.live:
        text = error_text("nothing was changed: no host is left", cure="fix the problems of the hosts, and run again")
        run.errors.append(Failure(text, "no-host-left"))
    return fit and not run.errors


def _adopted(site: Site, options: Down) -> Site:
    """The site with the record that `Adopt` will write."""
    return Adopt(options.packages).done(site) if options.unrecorded else site


def _compare(run: Run, options: Down) -> bool:
    found = run.site
    run.site = _adopted(found, options)
    for step in steps(run, options):
        run.compare(step)
    run.site = found
    return True


def _differs(run: Run) -> bool:
    """Whether anything is left to do. If so, drops the outcomes: each step reports its own when it runs."""
    if not any(outcome.drifts or outcome.state is State.FAILED for outcome in run.outcomes):
        return False
    run.outcomes = []
    return True


def _end(run: Run, options: Down) -> bool:
    for step in list(steps(run, options)):
        run.converge(step)
        if run.errors or not run.site.live:
            return False
        run.read_again()
    return True
