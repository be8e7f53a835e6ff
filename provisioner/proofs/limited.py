"""Restricts proofs to the hosts that `--limit` names. Probes between hosts also need the others, whose own results are dropped."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from provisioner.model import State
from provisioner.proofs.base import Round

if TYPE_CHECKING:
    from collections.abc import Callable

    from provisioner.controlplane import Site
    from provisioner.model import ProofResult
    from provisioner.proofs.base import Again, Asked, Connections, Judge, Probing, Say

    Rounds = Callable[[Site, Asked], list[Round]]


def on_targets(rounds: Rounds) -> Rounds:
    """Return the same rounds for networks whose proof needs no other host: their probes run on the named hosts alone."""

    def narrowed(site: Site, asked: Asked) -> list[Round]:
        return [Round(each.networks, _probing(each.probing)) for each in rounds(_targets(site), asked)]

    return narrowed


def _targets(site: Site) -> Site:
    return replace(site, live=site.targets)


def _probing(probing: Probing) -> Probing:
    def narrowed(
        site: Site, connections: Connections, *, observer: Say, again: Again, judge: Judge | None = None
    ) -> tuple[ProofResult, ...]:
        return probing(_targets(site), connections, observer=observer, again=lambda: _targets(again()), judge=judge)

    return narrowed


def narrowed(result: ProofResult, site: Site) -> ProofResult:
    """Return a result without what concerns other hosts alone. Pairs were chosen before, so all of its problems concern these."""
    if not site.limit:
        return result
    checks = tuple(check for check in result.checks if site.concerns(check.host, check.target))
    problems = tuple(each for each in result.problems if result.pairs or site.concerns(each.host, each.target))
    proven = [*(pair.proven for pair in result.pairs), *(check.proven for check in checks)]
    if result.state is State.FAILED and proven and all(proven):
        return replace(result, checks=checks, state=State.SETTLED, error="", problems=())
    return replace(result, checks=checks, problems=problems)
