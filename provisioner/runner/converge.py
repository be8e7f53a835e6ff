"""One step is brought about on all hosts: wanted and found are compared, repaired, read again, and compared again."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import tenacity

from provisioner import render, wording
from provisioner.errors import CommandFailed, ProvisionerError, StepFailed, TransportError
from provisioner.model import Action, HostChanged, Outcome, State
from provisioner.parallel import bounded, each
from provisioner.transport import Reader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from provisioner.controlplane.site import Site
    from provisioner.model import Drift
    from provisioner.runner.session import Session
    from provisioner.steps.base import Step, Told, Work
    from provisioner.system.facts import Facts

_TELLING = 30.0  # seconds for what is read on other hosts before work begins on one
_FAILED_HERE, _FAILED_ALL = 70, 71  # exit codes of templates/lib.sh: fail, fail_all


def outcome(step: Step, site: Site, name: str, done: State = State.SETTLED) -> Outcome:
    """How a host stands in a step, as it was last read; `done` is said where nothing differs."""
    try:
        drift = bounded(f"comparing what is found with what is wanted: {step.title}", partial(step.drift, site))(name)
    except StepFailed as error:
        return Outcome(name, step.name, State.FAILED, error=str(error))
    if not drift:
        return Outcome(name, step.name, done)
    state = State.PENDING if all(d.pending for d in drift) else State.DRIFTED
    return Outcome(name, step.name, state, drift)


@dataclass
class Convergence:
    """One step on the live hosts of a site. Afterwards `site` has what was read, `errors` what stops the whole run."""

    session: Session
    step: Step
    site: Site
    errors: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    untouched: set[str] = field(default_factory=set)
    standing: set[str] = field(default_factory=set)  # hosts that go on although something on them stays as it is
    heard: list[tuple[Told, bytes | ProvisionerError]] = field(default_factory=list, repr=False)
    held_up: bool = False  # what all hosts wait for has failed

    def run(self, before: dict[str, Outcome]) -> list[Outcome]:
        """Repairs; `before` is how each live host stood. Hosts that fail have dropped out of `site` at the end."""
        began = time.monotonic()
        self.failures = {name: o.error for name, o in before.items() if o.state is State.FAILED}
        worked: set[str] = set()
        work = self._wanted_work()
        while work and not self.errors:
            failed = set(self.failures)
            self._work(work)
            worked |= set(work)
            work = self._wanted_work()
            if set(self.failures) == failed:  # a host that drops out may change what is wanted of those worked on, too
                work = {name: w for name, w in work.items() if name not in worked}
        self._together()
        self._settle(self._going())
        ends = [replace(self._end(before[name]), seconds=time.monotonic() - began) for name in before]
        for end in ends:
            if end.state is State.FAILED and end.host not in self.standing:
                self.session.lost.setdefault(end.host, end.error.splitlines()[0])
        self.site = self.site.without(frozenset(self.session.lost))
        return ends

    def _going(self) -> list[str]:
        return [name for name in self.site.live if name not in self.failures and name not in self.session.lost]

    def _now(self) -> Site:
        """The site without the hosts that have failed."""
        return self.site.without(frozenset(self.site.live) - frozenset(self._going()))

    def _wanted_work(self) -> dict[str, Work]:
        site = self._now()
        outcomes = [outcome(self.step, site, name) for name in site.live]
        drifts = {o.host: mine for o in outcomes if (mine := _free(o.drifts))}
        plan = bounded(f"planning: {self.step.title}", lambda name: self.step.work(site, name, drifts[name]))
        work: dict[str, Work] = {}
        for name in drifts:
            try:
                wanted = plan(name)
            except StepFailed as error:
                self.failures[name] = str(error)
            else:
                work |= {name: wanted} if wanted else {}
        return work

    def _work(self, work: dict[str, Work]) -> None:
        """Side by side, and one host after the other where no other may be worked on meanwhile."""
        self.untouched = set(work)
        self._batch([name for name in work if not work[name].alone], work)
        for name in sorted((name for name in work if work[name].alone), key=lambda name: work[name].rank):
            if not self.errors:
                self._batch([name], work)
                self._back_again(name)

    def _batch(self, names: list[str], work: dict[str, Work]) -> None:
        self.untouched -= set(names)
        at_once = min((work[name].at_once for name in names if work[name].at_once), default=0)
        for name in names[at_once:] if at_once else ():
            self.session.tell(HostChanged(name, self.step.name, f"waiting for its turn ({at_once} hosts at once)"))
        for told in [work[name].told for name in names]:
            self._hear(told)
        for name, answer in each(names, lambda name: self._repair(name, work[name]), at_once).items():
            if not isinstance(answer, ProvisionerError):
                self.site = self.site.known(name, answer)
                continue
            self.failures[name] = str(answer)
            # Of a restart whose end is not known it is to be feared that it went wrong.
            unknown = work[name].alone and isinstance(answer, TransportError)
            if unknown or (isinstance(answer, StepFailed) and answer.fatal):
                self._stop(str(answer))

    def _stop(self, why: str) -> None:
        self.errors.append(f"the run stops here, so that no other host follows\n{why}")

    def _back_again(self, name: str) -> None:
        """The next host is restarted only when this one is as wanted again."""
        if name in self.failures:
            return
        self._settle([name], _own)
        now = outcome(self.step, self.site, name)
        if now.drifts and not _own(now.drifts):
            return
        if (end := self._end(now)).state is State.FAILED:
            self._stop(end.error)

    def _repair(self, name: str, work: Work) -> Facts:
        """Uploads, then one script that repairs and reads again: one round trip."""
        connection = self.session.connections[name]
        self.session.tell(HostChanged(name, self.step.name, work.text))
        script = f"# {work.text}\n" + render.library() + work.script + "\n" + self.session.script(self.step.reads)
        try:
            for upload in work.uploads:
                connection.upload(upload.local, upload.script())
            given = self._given(work)
            result = connection.write(script, deadline=work.deadline, **given)
        except CommandFailed as error:
            raise _told(error, self.step, name) from error
        return self.session.parsed(name, result, self.site.facts[name])

    def _given(self, work: Work) -> dict[str, bytes]:
        """The standard input of a script that is to have one."""
        heard = next((heard for told, heard in self.heard if told == work.told), None)
        if isinstance(heard, ProvisionerError):
            raise heard
        return {} if heard is None else {"stdin": heard}

    def _hear(self, told: Told | None) -> None:
        """Reads what other hosts are to tell, once for all that are to have it: a host serves few sessions at a time."""
        if told is None or any(told == known for known, _ in self.heard):
            return
        scripts = told.scripts
        answers = each(
            scripts, lambda name: self.session.connections[name].read(scripts[name], deadline=_TELLING).stdout
        )
        texts = [answer for answer in answers.values() if not isinstance(answer, ProvisionerError)]
        errors = [answer for answer in answers.values() if isinstance(answer, ProvisionerError)]
        self.heard.append((told, "".join(texts).encode() if texts else errors[0]))

    def _together(self) -> None:
        """Waits, then acts, for all hosts at once. Does so again if it failed because hosts stopped answering; these drop out."""
        site = self._now()
        self.held_up = (
            self.site.has_quorum and not site.has_quorum
        )  # a host that leaves is by itself from the beginning
        if self.errors or not site.live or not site.has_quorum:
            return
        try:
            self.step.wait(site, {name: Reader(of) for name, of in self.session.connections.items()})
            self.step.act(site, self.session.connections)
        except ProvisionerError as error:
            self._read(self._going())
            if len(self._going()) < len(site.live):
                self._together()
            else:
                self.errors.append(str(error))
                self.held_up = True

    def _settle(
        self, names: Iterable[str], judged: Callable[[tuple[Drift, ...]], tuple[Drift, ...]] | None = None
    ) -> None:
        """Reads again until nothing differs, or the step's patience is over. judged: what of it is awaited."""
        judged = judged or _free
        names = list(names)
        if self.errors or self.held_up:
            return

        def differing() -> list[str]:
            site = self._now()
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
        """What tells the step's state, again."""
        for name, facts in self.session.read(names, self.step.reads, self.site.facts).items():
            self.site = self.site.known(name, facts)

    def _end(self, before: Outcome) -> Outcome:
        """How a host ends, given how it stood before."""
        name = before.host
        if name in self.untouched:
            return replace(before, state=State.SKIPPED, reason="not touched: the run stopped before its turn")
        failure = self.failures.get(name) or self.session.lost.get(name)
        if failure:
            return replace(before, state=State.FAILED, error=failure)
        now = outcome(self.step, self._now(), name, State.CONVERGED if before.drifts else State.SETTLED)
        if now.state in {State.SETTLED, State.CONVERGED}:
            return replace(before, state=now.state)
        if self.held_up and now.drifts and all(d.action is Action.WAIT for d in now.drifts):
            return replace(now, state=State.SKIPPED, reason="it waits for what failed: see the error of the run")
        if now.drifts and not _free(now.drifts):
            self.standing.add(name)
            return replace(now, state=State.FAILED, error=str(_held(name, now.drifts)))
        return replace(now, state=State.FAILED, error=now.error or str(_unsettled(self.step, name, now.drifts)))


def _free(drift: tuple[Drift, ...]) -> tuple[Drift, ...]:
    """What a run repairs without being asked."""
    return tuple(d for d in drift if not d.held)


def _own(drift: tuple[Drift, ...]) -> tuple[Drift, ...]:
    """What work on the host itself repairs."""
    return tuple(d for d in _free(drift) if not d.later)


def _held(name: str, drift: tuple[Drift, ...]) -> StepFailed:
    """Told on its own, with the cure that each note names."""
    lines = [f"{wording.what(d)}: {d.found or 'none'}, wanted: {d.wanted or 'none'}" for d in drift]
    asks = " and ".join(f"`provisioner {note}`" for note in dict.fromkeys(map(wording.note, drift)))
    cure = f"change the inventory, or run {asks}, which is done only while no container needs what is there"
    return StepFailed(
        "what is there is otherwise than wanted, and is left as it is", host=name, answer="\n".join(lines), cure=cure
    )


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
    lines = [
        f"{wording.what(d)}: " + ("differs" if d.is_file else f"{d.found or 'nothing'}, wanted: {d.wanted}")
        for d in drift
    ]
    return StepFailed(
        "it does not come to the wanted state",
        host=name,
        tried=step.title,
        answer="\n".join(lines),
        cure=step.cure,
    )
