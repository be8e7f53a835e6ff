"""Observes the paths between the hosts, and finds the causes from everything that a run has seen."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

from provisioner import causes, labs
from provisioner.model import Missing, Outcome, PhaseBegan, PhaseEnded, State

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from types import ModuleType

    from provisioner.explain import Seen
    from provisioner.model import Diagnosis
    from provisioner.observe import Observed, Wanted
    from provisioner.runner.run import Run

    Senders = Mapping[str, Mapping[str, Sequence[str]]]

_OF_PATHS = frozenset(
    {"path-mtu", "transfer-stalled", "connection-dropped"}
)  # small packets pass, so no pair is missing
_OF_CLUSTERS = frozenset(
    {"store-no-leader", "not-converged", "timed-out", "join-unanswered"}
)  # errors of hosts that did not join
_APART = "overlay-blocked"
_OBSERVE = "observe"  # the step of the outcomes that say what was not observed
_TABLES = "tables"  # the step of the outcomes that say why gossip tables are not compared
_UNCLEAR = frozenset({"drift", "unexplained"})  # the proofs may still show what these are
_FORETOLD = 3  # causes
_BETWEEN = 0.5  # seconds between two observations
_TRACED = 4  # hosts on which drops are recorded
_FOLLOWED = 2  # how often packets must be seen to stop at the same places
_SUSPECT, _SUSPECT_PER_HOST = 3.0, 0.5  # seconds until pairs that do not reach each other are investigated
_REPEAT = 20.0  # seconds until they are investigated again


def observe(run: Run) -> bool:
    """Observes the live hosts and the paths between all hosts. Observations that show problems are repeated.

    In a lab, the kernel is this machine's, and its reasons for drops are recorded in the repetition, on hosts that lose packets.
    Silent hosts drop out. The run always continues.
    """
    from provisioner import observe as observing

    began, hosts = time.monotonic(), run.site.live
    run.session.emit(PhaseBegan(_OBSERVE, "Observe", hosts))
    chosen = observing.NAMES if run.observations is None else run.observations
    first = run.observed = _observed(run, observing.Wanted(frozenset(hosts), frozenset(hosts)).only(chosen))
    run.earlier = None
    if again := explaining().suspected(seen(run)).only(chosen):
        time.sleep(_BETWEEN)
        key = run.site.inventory.ssh.key
        losing = explaining().losing(seen(run)) if key and labs.owner(key) else ()
        second = _observed(run, again, first, traced=losing[:_TRACED])
        run.earlier, run.observed = first, first.repeated(second, again)
    for host, error in run.observed.silent.items():
        run.session.lose(host, error)
    run.drop_lost()
    unread = {host: run.observed.unread_on(host) for host in hosts}
    outcomes = tuple(
        Outcome(host, _OBSERVE, State.SKIPPED if why else State.SETTLED, reason=why) for host, why in unread.items()
    )
    run.session.emit(PhaseEnded(_OBSERVE, outcomes, time.monotonic() - began))
    skipped = [each for each in outcomes if each.state is State.SKIPPED and each.host in run.site.live]
    skipped += _tables_unread(run, run.observed) if run.deep else []
    run.outcomes = [each for each in run.outcomes if each.step not in {_OBSERVE, _TABLES}] + skipped
    return True


def follow(run: Run, hosts: Collection[str], senders: Senders = MappingProxyType({})) -> None:
    """Counts packets inside the overlays of these hosts, to locate where they are lost: those of the probes, which must run, or
    echo requests of running containers. senders: see `observe.hops.observe`.
    """
    from provisioner.observe import hops

    if run.observed and hosts:
        found = hops.observe(run.site, run.session.connections, run.observed.kernels, hosts, senders)
        before = run.observed.hops if senders else {}
        found = {host: before[host] | its if host in before else its for host, its in found.items()}
        run.observed = replace(run.observed, hops={**before, **found})


def _tables_unread(run: Run, found: Observed) -> list[Outcome]:
    """The hosts whose gossip tables are not compared, each with the reason."""
    from provisioner.observe import tables

    whys = {host: tables.unread(run.site, host, kernel.tables) for host, kernel in found.kernels.items()}
    return [Outcome(host, _TABLES, State.SKIPPED, reason=why) for host, why in whys.items() if why]


def _observed(run: Run, wanted: Wanted, earlier: Observed | None = None, *, traced: Collection[str] = ()) -> Observed:
    from provisioner import observe as observing

    say = partial(run.session.progress, "observe")
    connections = run.session.connections
    return observing.observe(run.site, connections, say, wanted, deep=run.deep, traced=traced, earlier=earlier)


def explaining() -> ModuleType:
    """The package that finds causes: imported when it is first needed, since most runs never need it."""
    from provisioner import explain

    return explain


def seen(run: Run) -> Seen:
    """Everything that a run has seen so far; the same object as before if nothing is new."""
    module = explaining()
    made: Seen = module.Seen(
        run.site,
        run.observed or module.NOTHING,
        tuple(run.proofs),
        tuple(run.outcomes),
        tuple(run.findings),
        dict(run.session.lost),
        run.earlier,
        run.kept,
    )
    run.seen = _latest(run.seen, made)
    return run.seen


def _latest(before: Seen | None, now: Seen) -> Seen:
    """Return the earlier object if nothing is new: it keeps what was computed from it."""
    return before if before is not None and before == now else now


def suspects(run: Run) -> bool:
    """Whether the observations show problems."""
    return bool(run.observed and explaining().observed(seen(run)))


def facts_matter(run: Run) -> bool:
    """Whether newer facts about the hosts can change what a run with problems reports."""
    return not (run.observed and explaining().of_paths(seen(run)))


def foretell(run: Run) -> bool:
    """Says which causes the observations show by now, since the proofs take longer. The run always continues."""
    module = explaining()
    shown = [each for each in module.explain(seen(run)) if each.id not in _UNCLEAR and _is_shown(run, each)]
    for found in [each for each in shown if not causes.warns(each)][:_FORETOLD]:
        where = f": {module.few(found.hosts)}" if found.hosts else ""
        run.session.notice(f"found so far: {causes.CAUSES[found.id].title}{where} ({found.id})")
    return True


def explain_failure(run: Run) -> bool:
    """Finds the causes if the run has failed. The run always continues.

    Proofs that failed soon were not observed. If the paths between the hosts may be the cause, they are observed now.
    """
    if not run.exit_code():
        return True
    if not run.observed and any(problem.id in _OF_PATHS for result in run.proofs for problem in result.problems):
        observe(run)
    return explain(run)


def explain_apart(run: Run) -> bool:
    """Finds the causes if hosts did not join the cluster that the run builds: the paths between them may be blocked.

    What is known of the hosts may be from before the changes, so they are read again. Those that dropped out are observed,
    too, if they still answer. Returns whether there was such a host.
    """
    lost = run.session.lost
    apart = {name: why for name, why in lost.items() if why.check in _OF_CLUSTERS and name in run.site.facts}
    if not apart and not any(error.check in _OF_CLUSTERS for error in run.errors):
        return False
    known = run.site.live
    run.session.lost = {name: why for name, why in lost.items() if name not in apart}
    run.session.patient = False
    run.site = replace(run.site, live=tuple(name for name in run.inventory.hosts if name in {*known, *apart}))
    run.read_again()
    observe(run)
    explain(run)
    run.session.lost |= apart
    run.drop_lost()
    return True


def explain_built(run: Run) -> bool:
    """Finds the causes if a run that builds a cluster has failed. The run always continues."""
    return explain_apart(run) or explain_failure(run)


def explain(run: Run) -> bool:
    """Finds the causes. The run always continues.

    If containers do not reach each other for no known reason, and new ones could not be tried, their packets are followed.
    """
    module, found = explaining(), seen(run)
    diagnoses = module.explain(found)
    if any(cause.id == _APART for cause in diagnoses) and (asking := module.senders(found)):
        follow(run, found.site.live, asking)
        found = seen(run)
        diagnoses = module.explain(found)
    run.causes = tuple(each for each in diagnoses if _is_shown(run, each))
    run.paths = module.summaries(found)
    run.looked_at = module.well(found, frozenset(each.id for each in diagnoses))
    return True


def _is_shown(run: Run, cause: Diagnosis) -> bool:
    """Whether a cause is to be reported, and it or what follows from it is within the limit. Failed pairs are: others were not tried."""
    return run.is_reported(cause.id) and (
        bool(cause.pairs)
        or any(run.site.concerns(problem.host, problem.target) for problem in (*cause.problems, *cause.explained))
    )


class Hopeless:
    """Decides whether the waiting probes of a round can stop: waiting can't help if observations explain the missing pairs.

    Earlier observations are enough if they explain all pairs. Otherwise, the hosts are observed once more after some
    seconds. Only then do the probes run, and the namespaces of the overlays exist. If that does not explain all pairs, the probes'
    packets are followed through the overlays, twice: where they stop is evidence, and often something that waiting does not mend.
    All this happens once for the probes that do not start, and for the pairs of those that do again and again: on busy hosts, too few
    packets may have passed.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.looked = frozenset[Missing]()  # what was missing then
        self.until = 0.0  # not again before
        self.seen: Seen | None = None

    def __call__(self, missing: frozenset[Missing], waited: float) -> bool:
        """Whether waiting longer can't help. waited: seconds so far."""
        run = self.run
        if run.observed and self._explained(missing):
            return True
        started = any(each.target for each in missing)
        known = missing <= self.looked and not (started and waited >= self.until)
        if known or waited < _SUSPECT + _SUSPECT_PER_HOST * len(run.site.live):
            return False
        self.looked, self.until = self.looked | missing, waited + _REPEAT
        if run.observed:
            run.kept += explaining().of_failed_networks(seen(run))
        observe(run)
        if self._explained(missing):
            return True
        return started and all(self._located(missing) for _ in range(_FOLLOWED))

    def _explained(self, missing: frozenset[Missing]) -> bool:
        now = self._seen()
        return bool(explaining().explained(explaining().problems(now), missing))

    def _located(self, missing: frozenset[Missing]) -> bool:
        """Whether all pairs are explained by now, also by packets that are lost where no engine can mend it by learning more."""
        pairs = [each for each in missing if each.target]
        follow(self.run, {host for each in pairs for host in (each.source, each.target)})
        now, module = self._seen(), explaining()
        return bool(module.explained([*module.problems(now), *module.firm(now, pairs)], missing, late=True))

    def _seen(self) -> Seen:
        run = self.run
        made: Seen = explaining().Seen(run.site, run.observed, lost=dict(run.session.lost), earlier=run.earlier)
        self.seen = _latest(self.seen, made)
        return self.seen
