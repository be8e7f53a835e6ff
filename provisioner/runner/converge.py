"""Runs one step on all hosts: compares desired and actual state, repairs, reads again, and compares again."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import tenacity

from provisioner import causes, render, wording
from provisioner.errors import CommandFailed, ProvisionerError, StepFailed, TransportError
from provisioner.model import Action, Failure, HostChanged, Outcome, State
from provisioner.parallel import bounded, each
from provisioner.transport import Reader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from provisioner.controlplane.site import Site
    from provisioner.model import Drift
    from provisioner.runner.session import Session
    from provisioner.steps.base import PeerOutput, Step, Work
    from provisioner.system.facts import Facts

_INPUT = 30.0  # seconds to read from other hosts what a host's work gets as input
_FAILED_HERE, _FAILED_ALL = 70, 71  # exit codes of templates/lib.sh: fail, fail_all


def outcome(step: Step, site: Site, name: str, done: State = State.SETTLED) -> Outcome:
    """The outcome of a step on a host, from the facts that were last read. done: the state if there is no drift."""
    try:
        drift = bounded(f"comparing desired and actual state: {step.title}", partial(step.drift, site))(name)
    except StepFailed as error:
        return Outcome(name, step.name, State.FAILED).failed(Failure.of(error))
    if not drift:
        return Outcome(name, step.name, done)
    state = State.PENDING if all(d.pending for d in drift) else State.DRIFTED
    return Outcome(name, step.name, state, drift)


@dataclass
class Convergence:
    """One step on the live hosts of a site. `run` updates `site`, and adds what stops the whole run to `errors`."""

    session: Session
    step: Step
    site: Site
    errors: list[Failure] = field(default_factory=list)
    failures: dict[str, Failure] = field(default_factory=dict)
    untouched: set[str] = field(default_factory=set)
    held: set[str] = field(default_factory=set)  # hosts that stay in the run with drift that needs a person's decision
    inputs: list[tuple[PeerOutput, bytes | ProvisionerError]] = field(default_factory=list, repr=False)
    blocked: bool = False  # `wait` or `act` failed, or the quorum is lost: hosts can't converge

    def run(self, before: dict[str, Outcome]) -> list[Outcome]:
        """Repairs the hosts, and returns their outcomes. Hosts that fail are not live in `site` afterwards.

        before: the outcome of each live host before the repair.
        """
        began = time.monotonic()
        self.failures = {name: o.failure for name, o in before.items() if o.state is State.FAILED}
        worked: set[str] = set()
        work = self._plan_work()
        while work and not self.errors:
            failed = set(self.failures)
            self._work(work)
            worked |= set(work)
            work = self._plan_work()
            if (
                set(self.failures) == failed
            ):  # if a host drops out, the desired state of completed hosts may change, too
                work = {name: w for name, w in work.items() if name not in worked}
        self._wait_and_act()
        self._settle(self._active_site().targets)
        ends = [replace(self._end(before[name]), seconds=time.monotonic() - began) for name in before]
        for end in ends:
            if end.state is State.FAILED and end.host not in self.held:
                self.session.lost.setdefault(end.host, Failure(end.error.splitlines()[0], end.check))
        self.site = self.site.without(frozenset(self.session.lost))
        return ends

    def _active(self) -> list[str]:
        return [name for name in self.site.live if name not in self.failures and name not in self.session.lost]

    def _active_site(self) -> Site:
        """The site without the failed hosts."""
        return self.site.without(frozenset(self.site.live) - frozenset(self._active()))

    def _plan_work(self) -> dict[str, Work]:
        site = self._active_site()
        outcomes = [outcome(self.step, site, name) for name in site.targets]
        drifts = {o.host: repairable for o in outcomes if (repairable := _repairable(o.drifts))}
        plan = bounded(f"planning: {self.step.title}", lambda name: self.step.work(site, name, drifts[name]))
        work: dict[str, Work] = {}
        for name in drifts:
            try:
                wanted = plan(name)
            except StepFailed as error:
                self.failures[name] = Failure.of(error)
            else:
                work |= {name: wanted} if wanted else {}
        return work

    def _work(self, work: dict[str, Work]) -> None:
        """Works on hosts in parallel, except for work that must be alone: that runs one host at a time."""
        self.untouched = set(work)
        self._batch([name for name in work if not work[name].alone], work)
        for name in sorted((name for name in work if work[name].alone), key=lambda name: work[name].rank):
            if not self.errors:
                self._batch([name], work)
                self._check_converged(name)

    def _batch(self, names: list[str], work: dict[str, Work]) -> None:
        self.untouched -= set(names)
        at_once = min((work[name].at_once for name in names if work[name].at_once), default=0)
        for name in names[at_once:] if at_once else ():
            self.session.emit(HostChanged(name, self.step.name, f"waiting for its turn ({at_once} hosts at once)"))
        for source in [work[name].stdin for name in names]:
            self._read_input(source)
        for name, answer in each(names, lambda name: self._repair(name, work[name]), at_once).items():
            if not isinstance(answer, ProvisionerError):
                self.site = self.site.known(name, answer)
                continue
            self.failures[name] = Failure.of(answer)
            # Assume that a restart with unknown outcome failed.
            unknown = work[name].alone and isinstance(answer, TransportError)
            if unknown or (isinstance(answer, StepFailed) and answer.fatal):
                self._stop(Failure.of(answer))

    def _stop(self, why: Failure) -> None:
        self.errors.append(replace(why, text="the run stops here, before the same happens on another host"))

    def _check_converged(self, name: str) -> None:
        """Stops the run if this host did not converge: only then may the next one be restarted."""
        if name in self.failures:
            return
        self._settle([name], _by_own_work)
        now = outcome(self.step, self.site, name)
        if now.drifts and not _by_own_work(now.drifts):
            return
        if (end := self._end(now)).state is State.FAILED:
            self._stop(end.failure)

    def _repair(self, name: str, work: Work) -> Facts:
        """Uploads files, then runs one script that repairs and reads again in one round trip."""
        connection = self.session.connections[name]
        self.session.hide(values=self.site.vault.texts)
        self.session.emit(HostChanged(name, self.step.name, work.text))
        script = f"# {work.text}\n" + render.library() + work.script + "\n" + self.session.script(self.step.reads)
        try:
            for upload in work.uploads:
                connection.upload(upload.local, upload.script())
            stdin = self._stdin(work)
            result = connection.write(script, deadline=work.deadline, **stdin)
        except CommandFailed as error:
            raise _step_failure(error, self.step, name) from error
        return self.session.parsed(name, result, self.site.facts[name])

    def _stdin(self, work: Work) -> dict[str, bytes]:
        """The script's standard input, as keyword arguments of `write`. Raises what reading it raised."""
        found = next((text for source, text in self.inputs if source == work.stdin), None)
        if isinstance(found, ProvisionerError):
            raise found
        return {} if found is None else {"stdin": found}

    def _read_input(self, source: PeerOutput | None) -> None:
        """Reads the input from other hosts, once for all hosts that need it: an SSH server allows few sessions."""
        if source is None or any(source == known for known, _ in self.inputs):
            return
        scripts = source.scripts
        answers = each(scripts, lambda name: self.session.connections[name].read(scripts[name], deadline=_INPUT).stdout)
        texts = [answer for answer in answers.values() if not isinstance(answer, ProvisionerError)]
        errors = [answer for answer in answers.values() if isinstance(answer, ProvisionerError)]
        self.session.hide(texts=texts)
        self.inputs.append((source, "".join(texts).encode() if texts else errors[0]))

    def _wait_and_act(self) -> None:
        """Runs the step's `wait` and `act`, once for all hosts. If hosts stop answering, drops them and tries again."""
        site = self._active_site()
        self.blocked = (
            self.site.has_quorum and not site.has_quorum
        )  # a leaving host's scope can lack a quorum from the beginning
        if self.errors or not site.live or not site.has_quorum:
            return
        try:
            self.step.wait(site, {name: Reader(of) for name, of in self.session.connections.items()})
            if not site.limit:  # it changes what all hosts share
                self.step.act(site, self.session.connections)
        except ProvisionerError as error:
            self._read(self._active())
            if len(self._active()) < len(site.live):
                self._wait_and_act()
            else:
                self.errors.append(Failure.of(error))
                self.blocked = True

    def _settle(
        self, names: Iterable[str], judged: Callable[[tuple[Drift, ...]], tuple[Drift, ...]] | None = None
    ) -> None:
        """Reads again until there is no drift, or the step's patience is over. judged: selects drifts to wait for."""
        judged = judged or _repairable
        names = list(names)
        if self.errors or self.blocked:
            return

        def differing() -> list[str]:
            site = self._active_site()
            return [n for n in names if n in site.live and judged(outcome(self.step, site, n).drifts)]

        def still() -> list[str]:
            self._read(differing())
            return differing()

        tenacity.Retrying(
            stop=tenacity.stop_after_delay(self.step.patience),
            wait=tenacity.wait_exponential(multiplier=0.1, exp_base=1.4, max=0.8),
            retry=tenacity.retry_if_result(bool),
            retry_error_callback=lambda _: None,
        )(still)

    def _read(self, names: Iterable[str]) -> None:
        """Reads the sections of the facts that the step needs."""
        for name, facts in self.session.read(names, self.step.reads, self.site.facts).items():
            self.site = self.site.known(name, facts)

    def _end(self, before: Outcome) -> Outcome:
        """The final outcome of a host. before: its outcome before the repair."""
        name = before.host
        if name in self.untouched:
            return replace(before, state=State.SKIPPED, reason="not changed: the run stopped before this host's turn")
        failure = self.failures.get(name) or self.session.lost.get(name)
        if failure:
            return before.failed(failure)
        now = outcome(self.step, self._active_site(), name, State.CONVERGED if before.drifts else State.SETTLED)
        if now.state in {State.SETTLED, State.CONVERGED}:
            return replace(before, state=now.state)
        if self.blocked and now.drifts and all(d.action is Action.WAIT for d in now.drifts):
            return replace(now, state=State.SKIPPED, reason="can't converge until the error of the run is fixed")
        if now.drifts and not _repairable(now.drifts):
            self.held.add(name)
            return now.failed(Failure.of(_held(name, now.drifts)))
        return now if now.error else now.failed(Failure.of(_unsettled(self.step, name, now.drifts)))


def _repairable(drift: tuple[Drift, ...]) -> tuple[Drift, ...]:
    """The drifts that a run repairs without a person's decision."""
    return tuple(d for d in drift if not d.held)


def _by_own_work(drift: tuple[Drift, ...]) -> tuple[Drift, ...]:
    """The drifts that work on this host repairs, without the step's `act`."""
    return tuple(d for d in _repairable(drift) if not d.later)


def _held(name: str, drift: tuple[Drift, ...]) -> StepFailed:
    """The error of drifts that need a person's decision, with the options of `up` that allow the change."""
    lines = [f"{wording.what(d)}: {d.found or 'none'}, wanted: {d.wanted or 'none'}" for d in drift]
    asks = " and ".join(f"`provisioner {note} INVENTORY`" for note in dict.fromkeys(map(wording.note, drift)))
    cure = f"change the inventory, or run {asks}, which works only while no container uses the network"
    return StepFailed(
        "the existing state differs from the inventory; left unchanged",
        cause="change-held",
        host=name,
        answer="\n".join(lines),
        cure=cure,
    )


def _step_failure(error: CommandFailed, step: Step, name: str) -> ProvisionerError:
    """The error that a script reported with `fail` or `fail_all` (templates/lib.sh); other errors unchanged."""
    said = [line for line in error.result.stderr.splitlines() if line.startswith("provisioner: ")]
    fields = said[-1].removeprefix("provisioner: ").split("\t", 2) if said else []
    if error.result.code not in {_FAILED_HERE, _FAILED_ALL} or len(fields) != 3:  # noqa: PLR2004 - as lib.sh writes them
        return error
    cause, what, cure = fields
    answer = "\n".join(line for line in error.result.stderr.splitlines() if line not in said)
    fatal = error.result.code == _FAILED_ALL
    cause = cause if cause in causes.CAUSES else error.cause  # the id comes from a host, and may be unknown
    return StepFailed(what, cause=cause, host=name, tried=step.title, answer=answer, cure=cure, fatal=fatal)


def _unsettled(step: Step, name: str, drift: tuple[Drift, ...]) -> StepFailed:
    lines = [
        f"{wording.what(d)}: " + ("differs" if d.is_file else f"{d.found or 'nothing'}, wanted: {d.wanted}")
        for d in drift
    ]
    return StepFailed(
        "did not converge",
        cause="not-converged",
        host=name,
        tried=step.title,
        answer="\n".join(lines),
        cure=step.cure,
    )
