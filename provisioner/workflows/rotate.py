"""`rotate`: gives a running store new secrets, one host after the other. The backend defines the work on each host.

Running it again completes an interrupted rotation. Old secrets are revoked only while every host that has them takes
part, since a host that is away would be shut out when it returns. If a host drops out during the rotation, the old
secrets stay valid. A host that was shut out nevertheless gets the current secrets from `up`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from provisioner import stores
from provisioner.errors import ProvisionerError, StepFailed
from provisioner.model import Action, Drift, Failure, Kind, Outcome, PhaseBegan, PhaseEnded, State
from provisioner.runner.converge import outcome
from provisioner.runner.look import judge_again, look
from provisioner.runner.prove import prove
from provisioner.steps.daemon import Daemon
from provisioner.steps.store import Store
from provisioner.stores.rotating import Rotates

if TYPE_CHECKING:
    from provisioner.runner.run import Run
    from provisioner.stores.rotating import Renewal
    from provisioner.workflows import Phase


def phases(what: str, *, authority: bool = False) -> tuple[Phase, ...]:
    """The phases of `rotate`. what: the secrets' name on the command line. authority: also renew the authority."""
    return look, Rotation(what, authority=authority), prove, judge_again


@dataclass(frozen=True)
class Rotation:
    """A phase: checks whether the rotation is possible, takes the locks, and renews the secrets."""

    what: str
    authority: bool = False

    def __call__(self, run: Run) -> bool:
        renewal = _fit(run, self.what, authority=self.authority)
        return renewal is not None and run.lock() and _rotate(run, self.what, renewal)


def _rotate(run: Run, what: str, renewal: Renewal) -> bool:
    began, title = time.monotonic(), run.site.backend.title
    drift = Drift(Kind.STORE, what.replace("-", " "), action=Action.ROTATE, of=title, secret=True, is_file=True)
    run.session.emit(PhaseBegan("rotate", f"New {what}", run.site.live))
    try:
        _renew(run, renewal)
    except ProvisionerError as error:
        run.errors.append(Failure.of(error))
    outcomes = tuple(Outcome(name, "rotate", State.CONVERGED, (drift,)) for name in run.site.live)
    if run.errors:
        outcomes = tuple(end.failed(run.errors[-1]) for end in outcomes)
    run.outcomes = [o for o in run.outcomes if o.state in {State.FAILED, State.CONVERGED}] + list(outcomes)
    run.session.emit(PhaseEnded("rotate", outcomes, time.monotonic() - began))
    return bool(run.site.live) and not run.errors


def _fit(run: Run, what: str, *, authority: bool = False) -> Renewal | None:
    """How to rotate the secrets. Returns None if that is impossible, with the reason in `run.errors`."""
    try:
        return _renewal(run, what, authority=authority)
    except StepFailed as error:
        run.errors.append(Failure.of(error))
        return None


def _renewal(run: Run, what: str, *, authority: bool) -> Renewal:
    backend = run.site.managed
    if not isinstance(backend, Rotates) or what not in backend.rotates:
        able = " or ".join(stores.rotating(what))
        why = f"there are no {what} to rotate: only a {able} that provisioner set up has them"
        raise StepFailed(why, cause="nothing-to-rotate", cure="see the documentation of your store")
    found = backend.renewal(run.site, what, authority=authority)
    if found.settled and any(outcome(Store(), run.site, name).drifts for name in run.site.live):
        raise StepFailed(
            f"{backend.title} differs from the inventory",
            cause="rotation-unready",
            cure="run `provisioner up INVENTORY` first",
        )
    if away := sorted(found.holders - set(run.site.live)):
        why = f"not rotated, and nothing was changed: {', '.join(away)} would keep the old {what}, and be shut out of {backend.title} when it is back"
        cure = f"bring {away[0]} back and run it again; or take it out of the cluster: provisioner remove {away[0]} INVENTORY"
        raise StepFailed(why, cause="rotation-misses", cure=cure)
    return found


def _renew(run: Run, renewal: Renewal) -> None:
    for _ in renewal.turns(lambda: run.site, run.session.connections):
        _bring_up_to_date(run)
    if renewal.engines:
        run.converge(Daemon())
        if run.errors:
            raise StepFailed(
                "the rotation did not reach all engines",
                cause="rotation-incomplete",
                cure="fix the errors above, and run it again",
            )


def _bring_up_to_date(run: Run) -> None:
    """Gives all hosts the current secrets. Raises StepFailed if one lacks them, so that nothing is revoked."""
    before = run.site.live
    run.read_again()
    run.converge(Store())
    lacking = [name for name in before if name not in run.site.live]
    if run.errors or lacking:
        which = f": {', '.join(lacking)} dropped out" if lacking else ""
        cure = "fix the reported errors, run `provisioner up INVENTORY`, and then run the rotation again"
        raise StepFailed(f"the rotation did not reach all hosts{which}", cause="rotation-incomplete", cure=cure)
