"""Runs the proofs on the live hosts."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from provisioner.runner.diagnose import Hopeless
from provisioner.runner.look import look_again

if TYPE_CHECKING:
    from provisioner.controlplane import Site
    from provisioner.proofs import Choice
    from provisioner.runner.run import Run


def prove(run: Run, chosen: Choice | None = None) -> bool:
    """Runs the proofs. chosen: which proofs; the default is all proofs of the inventory's networks."""
    from provisioner import proofs

    def again() -> Site:
        look_again(run)
        return run.site

    for result in proofs.prove(
        lambda: run.site,
        run.session.connections,
        run.observer,
        again=again,
        chosen=chosen or proofs.Choice(),
        judge=partial(Hopeless, run),
    ):
        run.proofs.append(result)  # a judge of a later round needs it
    return True
