"""The one loop: connect, read, check, then for each step wanted - found - drift - converge - found again, then proofs.

`up` converges, `plan` only looks, `verify` looks and proves: the same loop with less of it. A host that fails drops out
and is reported; the others go on as long as the store keeps its quorum. There is no state but the hosts' own.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Self

import tenacity

from provisioner import preflight, render
from provisioner.controlplane import Site, resolve
from provisioner.controlplane.summary import summaries
from provisioner.errors import CommandFailed, ProvisionerError, StepFailed, TransportError
from provisioner.model import (
    Finding,
    HostChanged,
    Outcome,
    PhaseBegan,
    PhaseEnded,
    ProofResult,
    Report,
    Severity,
    State,
)
from provisioner.parallel import each
from provisioner.steps import STEPS
from provisioner.system import facts as system_facts
from provisioner.transport import connect_all

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from provisioner.inventory import Inventory
    from provisioner.model import Drift, Event, Observer
    from provisioner.steps.base import Step, Work
    from provisioner.transport import Connection

_FAILED_HERE, _FAILED_ALL = 70, 71  # exit codes of templates/lib.sh: fail, fail_all


@dataclass
class Run:
    """One run over one inventory.

    owner: who runs it, for whoever meets its locks. ignore: the ids of warnings to leave out.
    Use as a context manager: leaving it closes the connections, which also gives the hosts' locks back.
    """

    inventory: Inventory
    observer: Observer
    owner: str = ""
    ignore: Collection[str] = ()
    connections: dict[str, Connection] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    proofs: list[ProofResult] = field(default_factory=list)
    lost: dict[str, str] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    site: Site = field(init=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        each(self.connections, lambda name: self.connections[name].close())

    # -- what commands are made of ------------------------------------------------------------------------------

    def read(self) -> None:
        """Connects, and reads what each host tells about itself."""
        self._connect()
        self.site, self.findings = resolve(self.inventory, self._read_all(self.connections))

    def look(self) -> bool:
        """Connects, reads and checks. False: there is no going on (the report says why)."""
        self.read()
        self.findings += [f for f in preflight.run(self.site) if self._counts(f)]
        return self._drop_unfit()

    def plan(self) -> None:
        """What differs, step by step, on the hosts that live."""
        for step in STEPS:
            began = time.monotonic()
            outcomes = [self._outcome(step, name, began) for name in self.site.live]
            self._end(step, outcomes, began)

    def converge(self) -> None:
        """Repairs what differs. Nothing is locked or written where nothing differs."""
        if any(self._differs(step, name) for step in STEPS for name in self.site.live):
            self._lock()
        for step in STEPS:
            self._converge(step)
            if not self._may_go_on():
                break

    def prove(self) -> None:
        """The proofs, on every network, between the hosts that live."""
        from provisioner.proofs import overlay

        for network in self.inventory.networks:
            name, began = f"proof {network}", time.monotonic()
            self._tell(PhaseBegan(name, f"Proof of {network}", self.site.live))
            result = overlay.prove(
                self.site,
                self.connections,
                network,
                run=secrets.token_hex(3),
                observer=partial(self._progress, name),
            )
            self.proofs.append(result)
            outcomes = tuple(Outcome(host, name, result.state, error="") for host in self.site.live)
            self._tell(PhaseEnded(name, outcomes, time.monotonic() - began))

    def report(self, command: str, *, drift_code: int = 1) -> Report:
        """All of it. The exit code is 0 only where everything is as wanted and nothing is missing."""
        states = {outcome.state for outcome in self.outcomes}
        stopped = any(f.severity is Severity.STOP for f in self.findings)
        failed = bool(self.errors or self.lost or stopped or State.FAILED in states)
        failed = failed or any(proof.state is State.FAILED for proof in self.proofs)
        drifted = bool(states & {State.DRIFTED, State.PENDING})
        return Report(
            command=command,
            cluster=self.inventory.cluster,
            hosts=tuple(self.inventory.hosts),
            exit_code=1 if failed else drift_code if drifted else 0,
            seconds=time.monotonic() - self.began,
            writes=sum(connection.writes for connection in self.connections.values()),
            findings=tuple(self.findings),
            outcomes=tuple(self.outcomes),
            proofs=tuple(self.proofs),
            summaries=summaries(self.site, self.lost) if command == "status" else (),
            errors=tuple(self.errors),
            lost=dict(self.lost),
        )

    # -- connecting and reading ---------------------------------------------------------------------------------

    def _connect(self) -> None:
        names = tuple(self.inventory.hosts)
        began = time.monotonic()
        self._tell(PhaseBegan("connect", "Connect", names))
        found = connect_all(
            [self.inventory.target(name) for name in names],
            on_change=partial(self._progress, "connect"),
        )
        for name, connection in found.items():
            if isinstance(connection, ProvisionerError):
                self._lose(name, connection)
            else:
                self.connections[name] = connection
        outcomes = tuple(self._ended("connect", name) for name in names)
        self._tell(PhaseEnded("connect", outcomes, time.monotonic() - began))

    def _read_all(self, names: Iterable[str]) -> dict[str, system_facts.Facts]:
        answers = each(names, self._read)
        facts = {}
        for name, answer in answers.items():
            if isinstance(answer, ProvisionerError):
                self._lose(name, answer)
            else:
                facts[name] = answer
        return facts

    def _read(self, name: str, only: tuple[str, ...] = (), before: system_facts.Facts | None = None) -> system_facts.Facts:
        script = system_facts.script(only) if only else system_facts.script()
        asked = time.time()
        result = self.connections[name].read(script, deadline=60.0)
        between = None if only else (asked, time.time())
        return _parsed(name, result.stdout, before, between)

    def _counts(self, finding: Finding) -> bool:
        return finding.severity is Severity.STOP or finding.check not in self.ignore

    def _drop_unfit(self) -> bool:
        """Hosts with a finding that stops them drop out; a finding about the whole cluster stops all."""
        stops = [f for f in self.findings if f.severity is Severity.STOP]
        for finding in stops:
            if finding.host:
                self.lost.setdefault(finding.host, f"{finding.what} ({finding.check})")
        self.site = self.site.without(frozenset(self.lost))
        return not any(not finding.host for finding in stops) and self._may_go_on()

    def _may_go_on(self) -> bool:
        if self.errors:
            return False
        if self.site.live and self.site.has_quorum:
            return True
        missing = ", ".join(name for name in self.site.servers if name not in self.site.live) or "all hosts"
        self.errors.append(
            "nothing more is done: the store can't have a leader without its servers\n"
            f"  missing: {missing} ({self.site.quorum} of {len(self.site.servers)} servers are needed)\n"
            "  next:  mend what is said about these hosts, or name other servers in store.servers, and run again"
        )
        return False

    # -- steps --------------------------------------------------------------------------------------------------

    def _differs(self, step: Step, name: str) -> bool:
        try:
            return bool(step.drift(self.site, name))
        except StepFailed:
            return False  # it will be reported when the step's turn comes

    def _outcome(self, step: Step, name: str, began: float, done: State = State.SETTLED) -> Outcome:
        """How a host stands in a step as last read."""
        try:
            drift = step.drift(self.site, name)
        except StepFailed as error:
            return Outcome(name, step.name, State.FAILED, error=str(error), seconds=time.monotonic() - began)
        state = done
        if drift:
            state = State.PENDING if all(d.pending for d in drift) else State.DRIFTED
        return Outcome(name, step.name, state, drift, seconds=time.monotonic() - began)

    def _lock(self) -> None:
        """Every live host's lock, or none; then all is read again, since another run may just have ended."""
        names = self.site.live
        answers = each(names, lambda name: self.connections[name].lock(self.owner))
        self.errors += [str(answer) for answer in answers.values() if isinstance(answer, ProvisionerError)]
        if self.errors:
            self.site = self.site.without(frozenset(names))
            return
        for name, facts in self._read_all(names).items():
            self.site = self.site.known(name, facts)
        self.site = self.site.without(frozenset(self.lost))

    def _converge(self, step: Step) -> None:
        began = time.monotonic()
        names = self.site.live
        before = {name: self._outcome(step, name, began) for name in names}
        if all(outcome.state is State.SETTLED for outcome in before.values()):
            self._end(step, before.values(), began)
            return
        self._tell(PhaseBegan(step.name, step.title, names))
        failures = {name: o.error for name, o in before.items() if o.state is State.FAILED}
        work = {n: w for n, o in before.items() if o.drifts and (w := step.work(self.site, n, o.drifts))}
        told, untouched = self._work(step, work)
        failures |= told
        self._barrier(step, set(failures))
        self._settle(step, [name for name in names if name not in failures])
        outcomes = [
            replace(before[name], state=State.SKIPPED, reason="not touched: the run stopped before its turn")
            if name in untouched
            else self._after(step, before[name], failures.get(name, ""), began)
            for name in names
        ]
        for outcome in outcomes:
            if outcome.state is State.FAILED:
                self.lost.setdefault(outcome.host, outcome.error.splitlines()[0])
        self.site = self.site.without(frozenset(self.lost))
        self._end(step, outcomes, began)

    def _work(self, step: Step, work: Mapping[str, Work]) -> tuple[dict[str, str], frozenset[str]]:
        """Does the work: side by side, and one host after the other where no other may be worked on meanwhile.

        Gives the errors of hosts, and the hosts whose turn did not come because the run has to stop.
        """
        untouched = set(work)
        failures: dict[str, str] = {}
        together = [name for name in work if not work[name].alone]
        batches = [together, *([name] for name in work if work[name].alone)]
        for batch in batches:
            untouched -= set(batch)
            answers = each(batch, lambda name: self._repair(step, name, work[name]))
            for name, answer in answers.items():
                if isinstance(answer, ProvisionerError):
                    failures[name] = str(answer)
                    # Of a restart whose end is not known it is to be feared that it went wrong.
                    unknown = work[name].alone and isinstance(answer, TransportError)
                    if unknown or (isinstance(answer, StepFailed) and answer.fatal):
                        self.errors.append(f"the run stops here, so that no other host follows\n{answer}")
                else:
                    self.site = self.site.known(name, answer)
            if batch and batch is not together:
                self._back_again(step, batch[0], failures)
            if self.errors:
                break
        return failures, frozenset(untouched)

    def _back_again(self, step: Step, name: str, failures: Mapping[str, str]) -> None:
        """The next host is restarted only when this one is as wanted again."""
        if name not in failures:
            self._settle(step, [name])
            outcome = self._after(step, self._outcome(step, name, time.monotonic()), "", time.monotonic())
            if outcome.state is State.FAILED:
                self.errors.append(f"the run stops here, so that no other host follows\n{outcome.error}")

    def _repair(self, step: Step, name: str, work: Work) -> system_facts.Facts:
        """Uploads, then one script that repairs and reads again: one round trip."""
        connection = self.connections[name]
        self._tell(HostChanged(name, step.name, work.text))
        for upload in work.uploads:
            connection.upload(upload.local, upload.remote, sha256=upload.sha256, mode=upload.mode)
        script = render.library() + work.script + "\n" + system_facts.script(step.reads)
        try:
            result = connection.write(script, deadline=work.deadline)
        except CommandFailed as error:
            raise _told(error, step, name) from error
        return _parsed(name, result.stdout, self.site.facts[name], None)

    def _barrier(self, step: Step, failed: set[str]) -> None:
        site = self.site.without(frozenset(failed))
        if self.errors or not site.live:
            return
        try:
            step.barrier(site, self.connections)
        except ProvisionerError as error:
            self.errors.append(str(error))

    def _settle(self, step: Step, names: list[str]) -> None:
        """Reads again until nothing differs, or the step's patience is over."""
        if self.errors:
            return

        def differing() -> list[str]:
            return [name for name in names if name not in self.lost and self._differs(step, name)]

        def again(_: object) -> None:
            for name, facts in self._read_some(differing(), step.reads).items():
                self.site = self.site.known(name, facts)

        tenacity.Retrying(
            stop=tenacity.stop_after_delay(step.patience),
            wait=tenacity.wait_exponential(multiplier=0.1, exp_base=1.4, max=0.8),
            retry=tenacity.retry_if_result(bool),
            after=again,
            retry_error_callback=lambda _: None,
        )(differing)

    def _read_some(self, names: list[str], only: tuple[str, ...]) -> dict[str, system_facts.Facts]:
        answers = each(names, lambda name: self._read(name, only, self.site.facts[name]))
        facts = {}
        for name, answer in answers.items():
            if isinstance(answer, ProvisionerError):
                self._lose(name, answer)
            else:
                facts[name] = answer
        return facts

    def _after(self, step: Step, before: Outcome, failure: str, began: float) -> Outcome:
        name, seconds = before.host, time.monotonic() - began
        if failure or name in self.lost:
            return Outcome(name, step.name, State.FAILED, before.drifts, error=failure or self.lost[name], seconds=seconds)
        now = self._outcome(step, name, began, done=State.CONVERGED if before.drifts else State.SETTLED)
        if now.state in {State.SETTLED, State.CONVERGED}:
            return Outcome(name, step.name, now.state, before.drifts, seconds=seconds)
        error = now.error or str(_unsettled(step, name, now.drifts))
        return Outcome(name, step.name, State.FAILED, now.drifts, error=error, seconds=seconds)

    # -- telling ------------------------------------------------------------------------------------------------

    def _lose(self, name: str, error: ProvisionerError) -> None:
        self.lost[name] = str(error)
        self._tell(HostChanged(name, "", error.what, State.FAILED))

    def _ended(self, phase: str, name: str) -> Outcome:
        error = self.lost.get(name, "")
        return Outcome(name, phase, State.FAILED if error else State.SETTLED, error=error)

    def _end(self, step: Step, outcomes: Iterable[Outcome], began: float) -> None:
        self.outcomes += outcomes
        self._tell(PhaseEnded(step.name, tuple(outcomes), time.monotonic() - began))

    def _tell(self, event: Event) -> None:
        self.observer.event(event)

    def _progress(self, phase: str, host: str, text: str) -> None:
        self._tell(HostChanged(host, phase, text))


def _parsed(
    name: str, stdout: str, before: system_facts.Facts | None, between: tuple[float, float] | None
) -> system_facts.Facts:
    try:
        return system_facts.parse(stdout, before, between)
    except ValueError as error:
        raise StepFailed(
            f"the facts can't be read: {error}",
            host=name,
            answer=stdout[-300:],
            cure="look whether the host's /bin/sh works and its disk and memory are not full",
        ) from error


def _told(error: CommandFailed, step: Step, name: str) -> ProvisionerError:
    """What a repairing script said through `fail` or `fail_all`; anything else is told as it is."""
    said = [line for line in error.result.stderr.splitlines() if line.startswith("provisioner: ")]
    if error.result.code not in {_FAILED_HERE, _FAILED_ALL} or not said:
        return error
    what, _, cure = said[-1].removeprefix("provisioner: ").partition("\t")
    answer = "\n".join(line for line in error.result.stderr.splitlines() if line not in said)
    fatal = error.result.code == _FAILED_ALL
    return StepFailed(what, host=name, tried=step.title, answer=answer, cure=cure, fatal=fatal)


def _unsettled(step: Step, name: str, drift: tuple[Drift, ...]) -> StepFailed:
    lines = [f"{d.what}: " + ("differs" if d.is_file else f"{d.found or 'nothing'}, wanted: {d.wanted}") for d in drift]
    return StepFailed(
        "it does not come to the wanted state",
        host=name,
        tried=step.title,
        answer="\n".join(lines),
        cure="look at the log of the service (journalctl -u consul -u docker) and run again",
    )
