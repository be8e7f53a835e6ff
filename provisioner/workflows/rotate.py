"""New secrets for a store that stands: one host after the other. What is done for each is its backend's to say.

What is interrupted is finished by running it again. What revokes the old secrets needs every host that has them: one that is
away would be shut out when it is back. If one drops out on the way, the old secrets stay valid. A host that is shut out all
the same gets the present ones from `up`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from provisioner import stores
from provisioner.errors import ProvisionerError, StepFailed
from provisioner.model import Action, Drift, Kind, Outcome, PhaseBegan, PhaseEnded, State
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
    """What is rotated, as the command line names it. authority: with certificates, a new one too."""
    return look, Rotation(what, authority=authority), prove, judge_again


@dataclass(frozen=True)
class Rotation:
    """Checks whether it can be done, takes the locks, and renews the secrets."""

    what: str
    authority: bool = False

    def __call__(self, run: Run) -> bool:
        renewal = _fit(run, self.what, authority=self.authority)
        return renewal is not None and run.lock() and _rotate(run, self.what, renewal)


def _rotate(run: Run, what: str, renewal: Renewal) -> bool:
    began, title = time.monotonic(), run.site.backend.title
    drift = Drift(Kind.STORE, what.replace("-", " "), action=Action.ROTATE, of=title, secret=True, is_file=True)
    run.session.tell(PhaseBegan("rotate", f"New {what}", run.site.live))
    try:
        _renew(run, renewal)
    except ProvisionerError as error:
        run.errors.append(str(error))
    state = State.FAILED if run.errors else State.CONVERGED
    why = run.errors[-1] if run.errors else ""
    outcomes = tuple(Outcome(name, "rotate", state, (drift,), error=why) for name in run.site.live)
    run.outcomes = [o for o in run.outcomes if o.state is State.FAILED] + list(outcomes)
    run.session.tell(PhaseEnded("rotate", outcomes, time.monotonic() - began))
    return bool(run.site.live) and not run.errors


def _fit(run: Run, what: str, *, authority: bool = False) -> Renewal | None:
    """How it is rotated; None: it can't be, and the run's report says why."""
    try:
        return _renewal(run, what, authority=authority)
    except StepFailed as error:
        run.errors.append(str(error))
        return None


def _renewal(run: Run, what: str, *, authority: bool) -> Renewal:
    backend = run.site.managed
    if not isinstance(backend, Rotates) or what not in backend.rotates:
        able = " or ".join(stores.rotating(what))
        why = f"there are no {what} to rotate: only a {able} that is set up here has them"
        raise StepFailed(why, cure="see the documentation of your store")
    found = backend.renewal(run.site, what, authority=authority)
    if found.settled and any(outcome(Store(), run.site, name).drifts for name in run.site.live):
        raise StepFailed(f"{backend.title} is not as the inventory wants it", cure="run `provisioner up` first")
    if away := sorted(found.holders - set(run.site.live)):
        why = f"not rotated, and nothing was changed: {', '.join(away)} would keep the old {what}, and be shut out of {backend.title} when it is back"
        cure = f"bring {away[0]} back and run it again; or take it out of the cluster: provisioner remove {away[0]} INVENTORY"
        raise StepFailed(why, cure=cure)
    return found


def _renew(run: Run, renewal: Renewal) -> None:
    for _ in renewal.turns(lambda: run.site, run.session.connections):
        _brought(run)
    if renewal.engines:
        run.converge(Daemon())
        if run.errors:
            raise StepFailed(
                "not all engines were reached by the rotation", cure="mend what is said above, and run it again"
            )


def _brought(run: Run) -> None:
    """All hosts that took part have what is wanted now. Raises StepFailed, so that nothing is revoked that one still needs."""
    before = run.site.live
    run.read_again()
    run.converge(Store())
    lacking = [name for name in before if name not in run.site.live]
    if run.errors or lacking:
        told = f": {', '.join(lacking)} dropped out" if lacking else ""
        cure = "fix what is said about it and bring it back, then run `provisioner up`, and the rotation again"
        raise StepFailed(f"not all hosts were reached by the rotation{told}", cure=cure)
