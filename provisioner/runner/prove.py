"""The proofs, on every network, on the hosts that live."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from provisioner.runner.run import Run


def prove(run: Run, *, builtin: bool = False) -> bool:
    """All of them. builtin: also those of the networks that every engine has."""
    from provisioner import proofs

    run.proofs += proofs.prove(
        lambda: run.site, run.session.connections, run.observer, again=run.read_again, builtin=builtin
    )
    return True
