"""One run: its hosts, its connections and its results. The workflows define what it does.

A host that fails drops out and is reported; the others continue while the store has its quorum. The hosts are the only
state.
"""

from __future__ import annotations

import math
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self, TypeVar

from provisioner import causes
from provisioner.controlplane import founding
from provisioner.errors import ProvisionerError
from provisioner.model import Failure, Outcome, PhaseBegan, PhaseEnded, Report, Severity, State
from provisioner.parallel import blamed
from provisioner.runner.converge import Convergence, outcome
from provisioner.runner.session import Session
from provisioner.steps.packages import Engines
from provisioner.steps.store import Store
from provisioner.stores.lock import StoreLock
from provisioner.stores.lock import path as lock_path
from provisioner.system import attached
from provisioner.transport import NO_SECRETS, Secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from provisioner.controlplane.site import Site
    from provisioner.explain import Seen
    from provisioner.inventory import Inventory
    from provisioner.model import Diagnosis, Fix, HostSummary, Observer, PathSeen, Problem, ProofResult
    from provisioner.observe import Observed
    from provisioner.steps.base import Step

T = TypeVar("T")
CLUSTER = "cluster"  # the scope of all hosts of the inventory; for `remove`, of the remaining hosts
HOST = "host"  # the scope of the leaving host


def _none_of_chosen(results: Iterable[ProofResult]) -> bool:
    """Whether the user selected proofs, and none of them could run."""
    return any(not result.chosen for result in results) and all(result.state is State.SKIPPED for result in results)


@dataclass
class Run:
    """One run over one inventory.

    owner: who runs it; shown to other runs that find its locks. ignore: the ids of warnings to omit.
    recreate: the networks to recreate if they differ from the inventory.
    limit: the hosts that may be changed; empty: all. Only what concerns them is compared, proven and reported.
    secrets: the passwords and passphrases that a person typed.
    sites: scope -> its hosts, as last read. A step runs on the live hosts of one scope.
    removed: the host that is removed from the cluster, or "".
    Use it as a context manager. Its exit closes the connections, which also releases the hosts' locks.
    """

    inventory: Inventory
    observer: Observer
    owner: str = ""
    ignore: Collection[str] = ()
    recreate: Collection[str] = ()
    limit: Collection[str] = ()
    secrets: Secrets = NO_SECRETS
    findings: list[Problem] = field(default_factory=list)
    checked: list[Problem] = field(default_factory=list)  # the findings that came from checks
    checks: list[Callable[[Run], Iterable[Problem]]] = field(default_factory=list)  # a workflow's additional checks
    preflight: Callable[[Site], list[Problem]] | None = None  # the checks to run; None: all
    outcomes: list[Outcome] = field(default_factory=list)
    proofs: list[ProofResult] = field(default_factory=list)
    errors: list[Failure] = field(default_factory=list)
    summaries: tuple[HostSummary, ...] = ()  # the result of `status`
    described: tuple[HostSummary, ...] = ()  # the hosts, for the reports of other commands
    removed: str = ""
    began: float = field(default_factory=time.monotonic)
    session: Session = field(init=False)
    store_lock: StoreLock | None = None
    looked_again: float = -math.inf  # when all hosts were last read again (time.monotonic)
    earlier: Observed | None = None  # the observation before `observed`
    observed: Observed | None = None  # None: not observed yet
    kept: tuple[Problem, ...] = ()  # what earlier observations showed of networks whose proofs had ended
    seen: Seen | None = None  # see `diagnose.seen`
    causes: tuple[Diagnosis, ...] = ()
    looked_at: tuple[str, ...] = ()
    paths: tuple[PathSeen, ...] = ()
    fixes: list[Fix] = field(default_factory=list)
    observations: Collection[str] | None = None  # the observations to make; None: all
    deep: bool = False  # whether observations use the kernels' tracing, too
    is_reported: Callable[[str], bool] = bool  # whether to report the cause with this id
    sites: dict[str, Site] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.session = Session(self.inventory, self.observer, attached.requests(self.recreate), secrets=self.secrets)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(ProvisionerError):  # the lock expires by itself
            if self.store_lock:
                self.store_lock.give_back()
        self.session.close()

    @property
    def site(self) -> Site:
        """The site of the scope CLUSTER."""
        return self.sites[CLUSTER]

    @site.setter
    def site(self, site: Site) -> None:
        self.sites[CLUSTER] = site

    def asked(self, site: Site) -> Site:
        """The site with what the user asked for."""
        return replace(site, recreate=frozenset(self.recreate), limit=frozenset(self.limit))

    # -- reading -------------------------------------------------------------------------------------------------------

    def read_again(self) -> Site:
        """Reads all live hosts of every scope again. Hosts that do not answer drop out."""
        scopes = {name: scope for scope, site in self.sites.items() for name in site.live}
        for name, facts in self.session.read(scopes).items():
            self.sites[scopes[name]] = self.sites[scopes[name]].known(name, facts)
        self.drop_lost()
        return self.site

    def drop_lost(self) -> None:
        lost = frozenset(self.session.lost)
        self.sites = {scope: site.without(lost) for scope, site in self.sites.items()}

    def of_all(self, evaluate: Callable[[Site], T], tried: str) -> T:
        """Evaluates all hosts together. A host whose facts trigger a bug drops out; the others are evaluated again."""
        site = self.site
        found, bug = blamed(tuple(site.facts), lambda names: evaluate(site.only(names)), tried)
        if not bug:
            return found
        self.session.lose(bug.host, bug)
        self.site = site.only(set(site.facts) - {bug.host})
        return evaluate(self.site)

    # -- steps ---------------------------------------------------------------------------------------------------------

    def due(self, steps: Iterable[Step], scope: str = CLUSTER) -> Iterator[Step]:
        """The steps that apply to the control plane, decided at each step's turn, since earlier steps can change it."""
        for step in steps:
            site = self.sites[scope]
            if step.name not in site.plane.unused and (step.name != Engines.name or site.undecided):
                yield step

    def differs(self, steps: Iterable[Step]) -> bool:
        """Whether any live host has drift."""
        return any(outcome(step, self.site, name).drifts for step in self.due(steps) for name in self.site.targets)

    def without_engine(self, scope: str = CLUSTER) -> set[str]:
        """The live hosts on which no engine is installed."""
        site = self.sites[scope]
        return {name for name in site.live if "dockerd" not in site.facts[name].programs}

    def compare(self, step: Step, scope: str = CLUSTER) -> None:
        """Records the outcomes of one step on the live hosts of a scope. Changes nothing."""
        began, site = time.monotonic(), self.sites[scope]
        self.end(step, [outcome(step, site, name) for name in site.targets], began)

    def converge(self, step: Step, scope: str = CLUSTER) -> None:
        """Converges one step. A running store is secured in stages, each of which is converged like a step."""
        began, ends = time.monotonic(), dict[str, Outcome]()
        site = self.sites[scope]
        store = site.managed if isinstance(step, Store) else None
        for stage in store.stages(site) if store else (None,):
            site, outcomes = self._staged(step, replace(site, stage=stage))
            for now in outcomes:
                was = ends.get(now.host)
                worked = was and was.state is State.CONVERGED and now.state is State.SETTLED
                ends[now.host] = replace(now, state=State.CONVERGED, drifts=was.drifts) if was and worked else now
            if self.errors or not site.live or not site.has_quorum:
                break
        self.sites[scope] = replace(site, stage=None)
        if isinstance(step, Store) and not self.errors:
            time.sleep(step.engines_return(self.sites[scope], ends.values()))
        self.end(step, list(ends.values()), began)

    def _staged(self, step: Step, site: Site) -> tuple[Site, list[Outcome]]:
        before = {name: outcome(step, site, name) for name in site.targets}
        if site.stage is None and all(o.state is State.SETTLED for o in before.values()):
            return site, list(before.values())
        self.session.emit(PhaseBegan(step.name, step.title, site.targets))
        convergence = Convergence(self.session, step, site)
        outcomes = convergence.run(before)
        self.errors += convergence.errors
        return convergence.site, outcomes

    def end(self, step: Step, outcomes: list[Outcome], began: float) -> None:
        """Records how a step ended."""
        seconds = time.monotonic() - began
        timed = [replace(o, seconds=o.seconds or seconds) for o in outcomes]
        self.outcomes += timed
        self.session.emit(PhaseEnded(step.name, tuple(timed), seconds))

    # -- whether the run can continue ----------------------------------------------------------------------------------

    def drop_stopped(self) -> bool:
        """Drops hosts with a finding that stops them. Returns False if a finding stops the whole cluster."""
        stops = [f for f in self.findings if causes.severity(f) is Severity.STOP]
        for finding in stops:
            if finding.host:
                self.session.lost.setdefault(finding.host, Failure(finding.evidence, finding.id))
        self.drop_lost()
        return not any(not finding.host for finding in stops)

    def drop_unfit(self) -> bool:
        """Like `drop_stopped`. Also returns False if the cluster can't continue with the remaining hosts."""
        return self.drop_stopped() and self.may_go_on()

    def may_go_on(self, scope: str = CLUSTER) -> bool:
        """Whether a scope can continue. If not, adds the reason to `errors`."""
        site = self.sites[scope]
        if not self.errors:
            self.errors += filter(None, [self._lone(site) if scope == HOST else _hindrance(site)])
        return not self.errors

    def _lone(self, site: Site) -> Failure | None:
        if site.live:
            return None
        return Failure(f"the run stops, because {self.removed} has failed", "no-host-left")

    def lock(self) -> bool:
        """Takes the lock of every live host that may be changed and of the store, and reads again, since another run may just have ended.

        Returns False if it fails. Then the cluster has no live host, and `errors` has the reason.
        """
        names = [name for site in self.sites.values() for name in site.targets]
        self.errors += self.session.lock(names, self.owner)
        self.errors += [] if self.errors else self._lock_store()
        if self.errors:
            self.site = self.site.without(frozenset(self.site.live))
            return False
        self.read_again()
        return True

    def _lock_store(self) -> list[Failure]:
        """Takes the lock of a store that other inventories may use, too. This also checks the permission to write."""
        if self.site.control != "kv":
            return []
        try:
            keys = self.site.backend.keys(self.session.connections[self.site.targets[0]])
            if keys:
                ids = [self.site.facts[name].files.get("/etc/machine-id", "").strip() for name in self.site.targets]
                prefix = self.site.inventory.the_store.prefix
                lock = StoreLock(keys, lock_path(prefix), self.owner, list(filter(None, ids)))
                lock.take()
                self.store_lock = lock
        except ProvisionerError as error:
            return [Failure.of(error)]
        return []

    # -- the end -------------------------------------------------------------------------------------------------------

    def exit_code(self, drift_code: int = 1) -> int:
        """0 if nothing failed and nothing drifted; `drift_code` if there is only drift; else 1."""
        if not all(map(causes.warns, self.causes)):
            return 1
        states = {outcome.state for outcome in self.outcomes}
        stopped = any(causes.severity(f) is Severity.STOP for f in self.findings)
        failed = bool(self.errors or self.session.lost or stopped or State.FAILED in states)
        failed = failed or any(proof.state is State.FAILED for proof in self.proofs) or _none_of_chosen(self.proofs)
        failed = failed or any(summary.silent for summary in self.summaries)
        drifted = bool(states & {State.DRIFTED, State.PENDING})
        return 1 if failed else drift_code if drifted else 0

    def report(self, command: str, *, drift_code: int = 1) -> Report:
        """The report of the whole run."""
        self.outcomes = merged(self.outcomes)
        return Report(
            command=command,
            cluster=self.inventory.cluster,
            control_plane=self.site.control,
            control_plane_reason=self.site.why,
            hosts=tuple(self.inventory.hosts),
            exit_code=self.exit_code(drift_code),
            seconds=time.monotonic() - self.began,
            writes=self.session.writes,
            findings=tuple(self.findings),
            outcomes=tuple(self.outcomes),
            proofs=tuple(self.proofs),
            summaries=self.summaries or self.described,
            errors=tuple(self.errors),
            lost=dict(self.session.lost),
            causes=self.causes,
            looked_at=self.looked_at,
            paths=tuple(path for path in self.paths if self.site.concerns(path.source, path.target)),
            limit=tuple(self.limit),
            fixes=tuple(self.fixes),
            removed=self.removed,
        )


def _hindrance(site: Site) -> Failure | None:
    """Why a cluster can't continue with its live hosts; None: it can. It follows from errors of hosts, which say what to do."""
    if site.live and site.has_quorum:
        return founding.hindrance(site)
    if not site.servers:
        return Failure("the run stops: no host is left", "no-host-left")
    of, what = site.plane.majority
    missing = ", ".join(name for name in site.servers if name not in site.live) or "all hosts"
    return Failure(
        f"the run stops: too many {what} of the {of} have dropped out\n"
        f"  missing: {missing} ({site.quorum} of {len(site.servers)} {what} are needed)",
        "quorum-lost",
    )


def merged(outcomes: list[Outcome]) -> list[Outcome]:
    """Merges outcomes to one per step and host.

    If a step repaired a host and ran again without failure, the result has the drifts of both runs. Otherwise the last
    outcome counts.
    """
    found: dict[tuple[str, str], Outcome] = {}
    for now in outcomes:
        before = found.get((now.step, now.host))
        again = before and before.state is State.CONVERGED and now.state in {State.SETTLED, State.CONVERGED}
        found[now.step, now.host] = replace(before, drifts=(*before.drifts, *now.drifts)) if before and again else now
    return list(found.values())
