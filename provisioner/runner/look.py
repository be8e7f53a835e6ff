"""Looks at a cluster: connects, reads the facts, queries the store, and runs the checks. Changes nothing."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import tenacity

from provisioner import causes, preflight
from provisioner.controlplane import networks, resolve
from provisioner.model import Notice, Severity, State
from provisioner.parallel import blamed, each
from provisioner.preflight.store import closing
from provisioner.runner import diagnose
from provisioner.system import attached, reading
from provisioner.transport import Reader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from provisioner.controlplane.site import Site
    from provisioner.inventory import Inventory
    from provisioner.model import Problem
    from provisioner.runner.run import Run
    from provisioner.system.facts import Facts
    from provisioner.system.request import Request

_FRESH = 5.0  # seconds for which facts of all hosts are new enough to judge the end of a run
_PROBES_GO = 20.0  # seconds in which hosts remove the probe containers of a killed run


def look(run: Run) -> bool:
    """Connects, reads and checks. Returns False if the run can't continue; the report says why."""
    read(run)
    query_more(run)
    # A run that was just killed may have probe containers on a network that is to be recreated.
    await_end(lambda: networks.held_by_probes(run.site), lambda: read_all(run), _PROBES_GO)
    check(run)
    return run.drop_unfit()


def read(run: Run) -> bool:
    """Connects to the hosts, and reads their facts."""
    run.session.connect()
    site, run.findings = resolved(run, run.inventory, run.session.read(run.session.connections))
    run.site = run.asked(site)
    if run.site.why and run.site.facts:
        run.session.emit(Notice(f"control plane: {run.site.control} ({run.site.why})"))
    return True


def resolved(run: Run, inventory: Inventory, facts: Mapping[str, Facts]) -> tuple[Site, list[Problem]]:
    """The site of an inventory and these facts, and problems found. A host whose facts trigger a bug is dropped."""
    found, bug = blamed(
        tuple(facts),
        lambda names: resolve(inventory, {n: facts[n] for n in names}),
        "evaluating the cluster as a whole",
    )
    if bug:
        run.session.lose(bug.host, bug)
    return found


def choose_again(run: Run) -> bool:
    """Chooses the control plane again and runs the checks, after engines were installed.

    A new engine can be unsuitable, or need the other control plane. Returns False if the run can't continue.
    """
    site, _ = resolved(run, run.site.inventory, {name: run.site.facts[name] for name in run.site.live})
    if site.control != run.site.control:
        run.site = run.asked(site)
        run.session.emit(Notice(f"control plane changed to {site.control} ({site.why})"))
    check(run)
    return run.drop_unfit()


def check(run: Run) -> None:
    """Runs the checks, and records what stops hosts or deserves a warning."""
    note(run, run.of_all(run.preflight or preflight.run, "checking the hosts"))
    for each_ in run.checks:
        note(run, each_(run))


def note(run: Run, found: Iterable[Problem]) -> None:
    """Records findings of checks, without unwanted warnings. `judge_again` replaces them later."""
    found = [f for f in found if f not in run.findings]
    run.checked += found
    run.findings += [f for f in found if causes.severity(f) is Severity.STOP or _is_wanted(run, f)]


def _is_wanted(run: Run, warning: Problem) -> bool:
    """Whether the user has not excluded a warning by its id or its place."""
    return warning.id not in run.ignore and run.site.concerns(warning.host, warning.target)


def judge_again(run: Run) -> bool:
    """Runs the checks again at the end, because early findings may be fixed by then, and new ones may have appeared.

    Hosts that dropped out are not read again, so their findings stay. Observations are compared with the facts, which may
    be older. Without findings, observed problems, drift and failed proofs, nothing is read. Nor if a proof has just done so, or
    if newer facts would change nothing.
    """
    states = {proof.state for proof in run.proofs} | {each.state for each in run.outcomes}
    if (run.findings or states & {State.FAILED, State.DRIFTED} or diagnose.suspects(run)) and diagnose.facts_matter(
        run
    ):
        if time.monotonic() > run.looked_again + _FRESH:
            look_again(run)
        old = [f for f in run.checked if not f.host or f.host in run.site.live]
        run.findings = [f for f in run.findings if f not in old]
        check(run)
    return True


def look_again(run: Run) -> None:
    """Reads all live hosts again. An endpoint is left only if both readings say so."""
    left = networks.left_ids(run.site)
    read_all(run)
    run.site = replace(run.site, passing=networks.left_ids(run.site) - left)
    run.looked_again = time.monotonic()


def read_all(run: Run) -> None:
    """Reads all live hosts again, and queries what the facts do not include."""
    run.read_again()
    query_more(run)


def query_more(run: Run) -> None:
    """Queries what the facts do not include. Needed after each reading of the facts."""
    query_store(run)
    _query_endpoints(run)
    _query_clients(run)


def query_store(run: Run) -> None:
    """Queries the store through the hosts' connections, where the hosts can't query it themselves."""
    if run.site.control != "kv":
        return
    backend = run.site.backend
    names = [name for name in run.site.live if backend.asks(run.site, name)]
    for name, answers in each(names, lambda name: backend.ask(Reader(run.session.connections[name]))).items():
        if isinstance(answers, dict):
            run.site = run.site.known(name, run.site.facts[name].answered(answers))


def _query_endpoints(run: Run) -> None:
    """Queries one host for the store's endpoints; if there are any, all hosts for containers, to find stale ones."""
    if run.site.control == "kv" and (asker := networks.asker(run.site)):
        _read_more(run, [asker], run.site.backend.asks_attached)
        if networks.endpoints(run.site):
            _read_more(run, run.site.live, (attached.CONTAINERS,))


def _query_clients(run: Run) -> None:
    """Queries hosts whose rules will change for other users' connections to the store."""
    if names := run.of_all(closing, "planning the firewall"):
        _read_more(run, names, (), reading.CLIENTS)


def _read_more(
    run: Run, names: Iterable[str], requests: tuple[Request, ...], only: tuple[str, ...] = reading.ASKED
) -> None:
    for name, facts in run.session.read(names, only, run.site.facts, requests).items():
        run.site = run.site.known(name, facts)
    run.drop_lost()


def await_end(still: Callable[[], object], again: Callable[[], None], seconds: float) -> None:
    """Calls `again` once a second while `still()` is true, for at most this many seconds."""
    if still():
        tenacity.Retrying(
            stop=tenacity.stop_after_delay(seconds),
            wait=tenacity.wait_fixed(1.0),
            retry=tenacity.retry_if_result(bool),
            after=lambda _: again(),
            retry_error_callback=lambda _: None,
        )(still)
