"""`--limit` of `up`: only some hosts are changed. What all hosts share must then stay as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner import wording
from provisioner.errors import error_text
from provisioner.model import Action, Failure, Kind
from provisioner.runner.converge import outcome
from provisioner.system.daemon_json import parse
from provisioner.system.reading import DAEMON_JSON
from provisioner.system.swarm import STATE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from provisioner.controlplane.site import Site
    from provisioner.model import Drift
    from provisioner.runner.run import Run
    from provisioner.steps.base import Step
    from provisioner.workflows import Phase

_SHARED = frozenset({Action.FOUND, Action.JOIN, Action.REJOIN, Action.PROMOTE, Action.DEMOTE, Action.FORGET})


def within(steps: Collection[Step]) -> Phase:
    """A phase: whether these steps leave what all hosts share as it is. If not, adds the reason to `errors`."""

    def phase(run: Run) -> bool:
        site = run.site
        found = [f"{name}: {why}" for name in site.targets for why in _reasons(run, steps, name)] if site.limit else []
        if found and not run.errors:
            what = (
                "not changed: with --limit, the members of the store or swarm and the shared networks stay as they are"
            )
            cure = "run it without --limit; `provisioner plan INVENTORY` shows the changes of all hosts"
            run.errors.append(Failure(error_text(what, answer="\n".join(found), cure=cure), "beyond-limit"))
        return not found

    return phase


def _reasons(run: Run, steps: Iterable[Step], name: str) -> Iterator[str]:
    """Say what on this host would change what all hosts share."""
    yield from _membership(run.site, name)
    for step in run.due(steps):
        for drift in outcome(step, run.site, name).drifts:
            if not drift.pending and _is_shared(run.site, step.name, drift):
                note = wording.note(drift)
                yield f"{wording.what(drift)}{f' ({note})' if note else ''}"


def _is_shared(site: Site, step: str, drift: Drift) -> bool:
    """Whether another host takes part in what resolves a drift."""
    if drift.kind is Kind.NETWORK and drift.action is Action.CREATE:
        network = site.inventory.networks[drift.target]
        there = any(network.name in site.facts[host].networks for host in site.live)
        return network.is_global and not there and site.plane.creator(site) not in site.targets
    founds = step == "founding" and drift.action is Action.WRITE
    return founds or drift.later or drift.action in _SHARED


def _membership(site: Site, name: str) -> Iterator[str]:
    facts, store = site.facts[name], site.managed
    if site.control != "kv":
        if not facts.engine and STATE not in facts.files:
            yield "it would join the swarm"
        return
    if not facts.engine.get("ClusterStore") and "cluster-store" not in parse(name, facts.files.get(DAEMON_JSON, "")):
        yield "its engine would join the store"
    if store is None:
        return
    serves = store.was_server(facts) or site.advertise.get(name) in store.peers(site.facts)
    if serves != (name in site.servers):
        yield f"it would {'no longer be' if serves else 'become'} a server of {store.title}"
    if store.stages(site) != (None,):
        yield f"the security of {store.title} is raised on all hosts together"
