"""The one loop: connect, read, check, then for each step wanted - found - drift - converge - found again, then proofs.

`up` converges, `plan` only looks, `verify` looks and proves: the same loop with less of it. A host that fails drops out
and is reported; the others go on as long as the store keeps its quorum. There is no state but the hosts' own.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self, TypeVar

from provisioner import preflight
from provisioner.controlplane import Site, founding, networks, resolve
from provisioner.controlplane.summary import summaries
from provisioner.converge import Convergence, outcome
from provisioner.errors import ProvisionerError
from provisioner.model import Notice, Outcome, PhaseBegan, PhaseEnded, ProofResult, Report, Severity, State
from provisioner.parallel import blamed, each
from provisioner.session import Session
from provisioner.steps import STEPS
from provisioner.steps.packages import Engines
from provisioner.steps.store import Store
from provisioner.stores.lock import StoreLock
from provisioner.stores.lock import path as lock_path
from provisioner.system import attached, reading

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from provisioner.inventory import Inventory
    from provisioner.model import Finding, Observer
    from provisioner.steps.base import Step
    from provisioner.system.facts import Facts

T = TypeVar("T")
_PROBES_GO = 20.0  # seconds in which hosts take away the probes of a run that was killed


def only(site: Site, names: Collection[str]) -> Site:
    """The site as if these hosts alone had answered."""
    facts = {name: facts for name, facts in site.facts.items() if name in names}
    return replace(site, facts=facts, live=tuple(name for name in site.live if name in names))


@dataclass
class Run:
    """One run over one inventory.

    owner: who runs it, for whoever meets its locks. ignore: the ids of warnings to leave out.
    recreate: the networks that are made anew where they are not as wanted.
    Use as a context manager: leaving it closes the connections, which also gives the hosts' locks back.
    """

    inventory: Inventory
    observer: Observer
    owner: str = ""
    ignore: Collection[str] = ()
    recreate: Collection[str] = ()
    findings: list[Finding] = field(default_factory=list)
    checked: list[Finding] = field(default_factory=list)  # what the checks found, of all that was found
    outcomes: list[Outcome] = field(default_factory=list)
    proofs: list[ProofResult] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    session: Session = field(init=False)
    store_lock: StoreLock | None = None
    site: Site = field(init=False)

    def __post_init__(self) -> None:
        self.session = Session(self.inventory, self.observer, attached.requests(self.recreate))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(ProvisionerError):  # it ends by itself
            if self.store_lock:
                self.store_lock.give_back()
        self.session.close()

    def read(self) -> None:
        """Connects, and reads what each host tells about itself."""
        self.session.connect()
        site, self.findings = self._resolved(self.session.read(self.session.connections))
        self.site = replace(site, recreate=frozenset(self.recreate))
        if self.site.why and self.site.facts:
            self.session.tell(Notice(f"control plane: {self.site.control} ({self.site.why})"))

    def _resolved(self, facts: Mapping[str, Facts], inventory: Inventory | None = None) -> tuple[Site, list[Finding]]:
        found, bug = blamed(
            tuple(facts),
            lambda names: resolve(inventory or self.inventory, {n: facts[n] for n in names}),
            "looking at the cluster as a whole",
        )
        if bug:
            self.session.lose(bug.host, bug)
        return found

    def _of_all(self, evaluate: Callable[[Site], T], tried: str) -> T:
        """What is evaluated of all hosts together; a host whose data bring out a bug in it is lost."""
        site = self.site
        found, bug = blamed(tuple(site.facts), lambda names: evaluate(only(site, names)), tried)
        if not bug:
            return found
        self.session.lose(bug.host, bug)
        self.site = only(site, set(site.facts) - {bug.host})
        return evaluate(self.site)

    def look(self) -> bool:
        """Connects, reads and checks. False: there is no going on (the report says why)."""
        self.read()
        self._ask_beside()
        self._await_probes()
        self._check()
        return self._drop_unfit()

    def _await_probes(self) -> None:
        """Those of a run that was killed a moment ago, on a network that is to be made anew."""
        if not networks.held_by_probes(self.site):
            return
        import tenacity

        def again(_: object) -> None:
            self.read_again()
            self._ask_beside()

        tenacity.Retrying(
            stop=tenacity.stop_after_delay(_PROBES_GO),
            wait=tenacity.wait_fixed(1.0),
            retry=tenacity.retry_if_result(bool),
            after=again,
            retry_error_callback=lambda _: None,
        )(lambda: networks.held_by_probes(self.site))

    def _check(self) -> None:
        self._note(self._of_all(preflight.run, "checking the hosts"))

    def _note(self, found: Iterable[Finding]) -> None:
        """Findings of checks, which `judge_again` replaces by those that hold then."""
        found = [f for f in found if f not in self.findings]
        self.checked += found
        self.findings += [f for f in found if f.severity is Severity.STOP or f.check not in self.ignore]

    def judge_again(self) -> None:
        """What the checks find at the end: what they found at first may be over by now, and more may have shown.

        Hosts that have dropped out are not read any more: what was found of them stays. Nothing is read where all is well.
        """
        if not self.findings and all(proof.state is not State.FAILED for proof in self.proofs):
            return
        self.read_again()
        self._ask_beside()
        old = [f for f in self.checked if not f.host or f.host in self.site.live]
        self.findings = [f for f in self.findings if f not in old]
        self._check()

    def _ask_beside(self) -> None:
        """What the facts of hosts alone do not have: each reading of them needs it anew."""
        self._ask()
        self._ask_endpoints()

    def _ask(self) -> None:
        """What hosts can't ask their store by themselves is asked through their connections."""
        if self.site.control != "kv":
            return
        backend = self.site.backend
        names = [name for name in self.site.live if backend.asks(self.site, name)]
        for name, answers in each(names, lambda name: backend.ask(self.session.connections[name])).items():
            if isinstance(answers, dict):
                self.site = self.site.known(name, self.site.facts[name].answered(answers))

    def _ask_endpoints(self) -> None:
        """One host tells the endpoints that the store has, and where it has some, all tell their containers: some may be gone."""
        if self.site.control == "kv" and (asker := networks.asker(self.site)):
            self._read_more([asker], self.site.backend.asks_attached)
            if networks.endpoints(self.site):
                self._read_more(self.site.live, (attached.CONTAINERS,))

    def _read_more(self, names: Iterable[str], requests: tuple[str, ...]) -> None:
        for name, facts in self.session.read(names, reading.ASKED, self.site.facts, requests).items():
            self.site = self.site.known(name, facts)
        self.site = self.site.without(frozenset(self.session.lost))

    def plan(self) -> None:
        """What differs, step by step, on the hosts that live."""
        for step in self._steps():
            began = time.monotonic()
            self._end(step, [outcome(step, self.site, name) for name in self.site.live], began)

    def converge(self) -> None:
        """Repairs what differs. Nothing is locked or written where nothing differs."""
        if any(outcome(step, self.site, name).drifts for step in self._steps() for name in self.site.live):
            self.lock()
        for step in self._steps():
            missing = {name for name in self.site.live if "dockerd" not in self.site.facts[name].programs}
            self.converge_step(step)
            installed = any("dockerd" in self.site.facts[name].programs for name in missing & set(self.site.live))
            if not self._may_go_on() or (installed and not self._choose_again()):
                break

    def _choose_again(self) -> bool:
        """Engines that were just installed may be unfit, or lead to another control plane: they are checked before more is changed."""
        site, _ = self._resolved({name: self.site.facts[name] for name in self.site.live})
        if site.control != self.site.control:
            self.site = replace(site, recreate=self.site.recreate)
            self.session.tell(Notice(f"control plane: {site.control} after all ({site.why})"))
        self._check()
        return self._drop_unfit()

    def prove(self, *, builtin: bool = False) -> None:
        """The proofs, on every network, on the hosts that live. builtin: also of the networks that every engine has."""
        from provisioner import proofs

        self.proofs += proofs.prove(
            lambda: self.site, self.session.connections, self.observer, again=self.read_again, builtin=builtin
        )

    def report(self, command: str, *, drift_code: int = 1) -> Report:
        """All of it. The exit code is 0 only where everything is as wanted and nothing is missing."""
        told = (
            self._of_all(lambda site: summaries(site, self.session.lost), "summing up") if command == "status" else ()
        )
        states = {outcome.state for outcome in self.outcomes}
        stopped = any(f.severity is Severity.STOP for f in self.findings)
        failed = bool(self.errors or self.session.lost or stopped or State.FAILED in states)
        failed = failed or any(proof.state is State.FAILED for proof in self.proofs)
        failed = failed or any(summary.silent for summary in told)
        drifted = bool(states & {State.DRIFTED, State.PENDING})
        return Report(
            command=command,
            cluster=self.inventory.cluster,
            control_plane=self.site.control,
            control_plane_reason=self.site.why,
            hosts=tuple(self.inventory.hosts),
            exit_code=1 if failed else drift_code if drifted else 0,
            seconds=time.monotonic() - self.began,
            writes=self.session.writes,
            findings=tuple(self.findings),
            outcomes=tuple(self.outcomes),
            proofs=tuple(self.proofs),
            summaries=told,
            errors=tuple(self.errors),
            lost=dict(self.session.lost),
        )

    def _steps(self) -> Iterator[Step]:
        """Those that there is a use for, each as it stands when its turn comes."""
        for step in STEPS:
            if step.name not in self.site.plane.unused and (step.name != Engines.name or self.site.undecided):
                yield step

    def _drop_unfit(self) -> bool:
        """Hosts with a finding that stops them drop out; a finding about the whole cluster stops all."""
        stops = [f for f in self.findings if f.severity is Severity.STOP]
        for finding in stops:
            if finding.host:
                self.session.lost.setdefault(finding.host, f"{finding.what} ({finding.check})")
        self.site = self.site.without(frozenset(self.session.lost))
        return not any(not finding.host for finding in stops) and self._may_go_on()

    def _may_go_on(self) -> bool:
        if self.errors:
            return False
        if self.site.live and self.site.has_quorum:
            self.errors += filter(None, [founding.hindrance(self.site)])
            return not self.errors
        if not self.site.servers:
            self.errors.append(
                "nothing more is done: no host is left\n  next:  mend what is said about them, and run again"
            )
            return False
        of, what, key = self.site.plane.majority
        missing = ", ".join(name for name in self.site.servers if name not in self.site.live) or "all hosts"
        self.errors.append(
            f"nothing more is done: too many of the {of}'s {what} have dropped out\n"
            f"  missing: {missing} ({self.site.quorum} of {len(self.site.servers)} {what} are needed)\n"
            f"  next:  mend what is said about these hosts, or, where the {of} was never made, name other {what} in {key}; then run again"
        )
        return False

    def lock(self) -> None:
        """Every live host's lock, or none; then all is read again, since another run may just have ended."""
        names = self.site.live
        self.errors += self.session.lock(names, self.owner)
        self.errors += [] if self.errors else self._lock_store()
        if self.errors:
            self.site = self.site.without(frozenset(names))
            return
        self.read_again()

    def read_again(self) -> Site:
        """All that the live hosts tell, as it is now."""
        for name, facts in self.session.read(self.site.live).items():
            self.site = self.site.known(name, facts)
        self.site = self.site.without(frozenset(self.session.lost))
        return self.site

    def _lock_store(self) -> list[str]:
        """The lock of a store that other inventories may use too; it also shows that this one may write there."""
        if self.site.control != "kv":
            return []
        try:
            keys = self.site.backend.keys(self.session.connections[self.site.live[0]])
            if keys:
                ids = [self.site.facts[name].files.get("/etc/machine-id", "").strip() for name in self.site.live]
                lock = StoreLock(keys, lock_path(self.inventory.the_store.prefix), self.owner, list(filter(None, ids)))
                lock.take()
                self.store_lock = lock
        except ProvisionerError as error:
            return [str(error)]
        return []

    def converge_step(self, step: Step) -> None:
        """A store that stands comes to its security in stages, each of which ends as a step does."""
        began, ends = time.monotonic(), dict[str, Outcome]()
        for stage in self.site.backend.stages(self.site) if isinstance(step, Store) else (None,):
            self.site = replace(self.site, stage=stage)
            for now in self._staged(step):
                was = ends.get(now.host)
                worked = was and was.state is State.CONVERGED and now.state is State.SETTLED
                ends[now.host] = replace(now, state=State.CONVERGED, drifts=was.drifts) if was and worked else now
            if self.errors or not self.site.live or not self.site.has_quorum:
                break
        self.site = replace(self.site, stage=None)
        if isinstance(step, Store) and not self.errors:
            time.sleep(step.engines_return(self.site, ends.values()))
        self._end(step, list(ends.values()), began)

    def _staged(self, step: Step) -> list[Outcome]:
        before = {name: outcome(step, self.site, name) for name in self.site.live}
        if self.site.stage is None and all(o.state is State.SETTLED for o in before.values()):
            return list(before.values())
        self.session.tell(PhaseBegan(step.name, step.title, self.site.live))
        convergence = Convergence(self.session, step, self.site)
        outcomes = convergence.run(before)
        self.site = convergence.site
        self.errors += convergence.errors
        return outcomes

    def _end(self, step: Step, outcomes: list[Outcome], began: float) -> None:
        seconds = time.monotonic() - began
        told = [replace(o, seconds=o.seconds or seconds) for o in outcomes]
        self.outcomes += told
        self.session.tell(PhaseEnded(step.name, tuple(told), seconds))
