"""Looking at a cluster: connect, read, ask what facts alone do not have, and check. Changes nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import tenacity

from provisioner import causes, preflight
from provisioner.controlplane import networks, resolve
from provisioner.model import Notice, Severity, State
from provisioner.parallel import blamed, each
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

_PROBES_GO = 20.0  # seconds in which hosts take away the probes of a run that was killed


def look(run: Run) -> bool:
    """Connects, reads and checks. False: there is no going on (the report says why)."""
    read(run)
    ask_beside(run)
    # Those of a run that was killed a moment ago, on a network that is to be made anew.
    await_end(lambda: networks.held_by_probes(run.site), lambda: _read_all(run), _PROBES_GO)
    check(run)
    return run.drop_unfit()


def read(run: Run) -> bool:
    """Connects, and reads what each host tells about itself."""
    run.session.connect()
    site, run.findings = resolved(run, run.inventory, run.session.read(run.session.connections))
    run.site = replace(site, recreate=frozenset(run.recreate))
    if run.site.why and run.site.facts:
        run.session.tell(Notice(f"control plane: {run.site.control} ({run.site.why})"))
    return True


def resolved(run: Run, inventory: Inventory, facts: Mapping[str, Facts]) -> tuple[Site, list[Problem]]:
    """What the cluster of an inventory is to be. A host whose data bring out a bug in that is lost."""
    found, bug = blamed(
        tuple(facts),
        lambda names: resolve(inventory, {n: facts[n] for n in names}),
        "looking at the cluster as a whole",
    )
    if bug:
        run.session.lose(bug.host, bug)
    return found


def choose_again(run: Run) -> bool:
    """Engines that were just installed may be unfit, or lead to another control plane: they are checked before more is changed."""
    site, _ = resolved(run, run.site.inventory, {name: run.site.facts[name] for name in run.site.live})
    if site.control != run.site.control:
        run.site = replace(site, recreate=run.site.recreate)
        run.session.tell(Notice(f"control plane: {site.control} after all ({site.why})"))
    check(run)
    return run.drop_unfit()


def check(run: Run) -> None:
    """What stands in the way, and what is worth a warning."""
    note(run, run.of_all(preflight.run, "checking the hosts"))
    for each_ in run.checks:
        note(run, each_(run))


def note(run: Run, found: Iterable[Problem]) -> None:
    """Findings of checks, which `judge_again` replaces by those that hold then. Warnings may be left out by their ids."""
    found = [f for f in found if f not in run.findings]
    run.checked += found
    run.findings += [f for f in found if causes.severity(f) is Severity.STOP or f.id not in run.ignore]


def judge_again(run: Run) -> bool:
    """What the checks find at the end: what they found at first may be over by now, and more may have shown.

    Hosts that have dropped out are not read any more: what was found of them stays. Nothing is read where all is well.
    """
    if run.findings or any(proof.state is State.FAILED for proof in run.proofs):
        _read_all(run)
        old = [f for f in run.checked if not f.host or f.host in run.site.live]
        run.findings = [f for f in run.findings if f not in old]
        check(run)
    return True


def _read_all(run: Run) -> None:
    run.read_again()
    ask_beside(run)


def ask_beside(run: Run) -> None:
    """What the facts of hosts alone do not have: each reading of them needs it anew."""
    ask_store(run)
    _ask_endpoints(run)


def ask_store(run: Run) -> None:
    """What hosts can't ask their store by themselves is asked through their connections."""
    if run.site.control != "kv":
        return
    backend = run.site.backend
    names = [name for name in run.site.live if backend.asks(run.site, name)]
    for name, answers in each(names, lambda name: backend.ask(Reader(run.session.connections[name]))).items():
        if isinstance(answers, dict):
            run.site = run.site.known(name, run.site.facts[name].answered(answers))


def _ask_endpoints(run: Run) -> None:
    """One host tells the endpoints that the store has, and where it has some, all tell their containers: some may be gone."""
    if run.site.control == "kv" and (asker := networks.asker(run.site)):
        _read_more(run, [asker], run.site.backend.asks_attached)
        if networks.endpoints(run.site):
            _read_more(run, run.site.live, (attached.CONTAINERS,))


def _read_more(run: Run, names: Iterable[str], requests: tuple[Request, ...]) -> None:
    for name, facts in run.session.read(names, reading.ASKED, run.site.facts, requests).items():
        run.site = run.site.known(name, facts)
    run.drop_lost()


def await_end(still: Callable[[], object], again: Callable[[], None], seconds: float) -> None:
    """Reads again, once a second, until it is over or the time is."""
    if still():
        tenacity.Retrying(
            stop=tenacity.stop_after_delay(seconds),
            wait=tenacity.wait_fixed(1.0),
            retry=tenacity.retry_if_result(bool),
            after=lambda _: again(),
            retry_error_callback=lambda _: None,
        )(still)
