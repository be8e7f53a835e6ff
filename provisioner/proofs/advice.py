"""From the problems that a proof has found to what it says to do next."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from provisioner import causes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from provisioner.model import Problem
    from provisioner.proofs.probe import Probe


def of_probes(probes: Iterable[Probe]) -> Iterator[Problem]:
    """Why probes failed, once for each host: nothing else is known about such a host."""
    told = {probe.name: replace(probe.evidence.problem, host=probe.name) for probe in probes if probe.evidence.problem}
    return iter(told.values())


def advice(problems: Iterable[Problem], *, where: bool = False) -> str:
    """Return their cures, each once. where: with the hosts."""
    hosts: dict[str, dict[str, None]] = {}
    for problem in problems:
        hosts.setdefault(causes.cure(problem), {})[problem.host] = None
    told = {cure: ", ".join(filter(None, names)) for cure, names in hosts.items()}
    return "; ".join(f"on {names}: {cure}" if where and names else cure for cure, names in told.items())


def both(of_hosts: Iterable[Problem], between: Iterable[Problem]) -> str:
    """Return what to do about hosts, which are named, and then about the paths between them."""
    return "; ".join(filter(None, (advice(of_hosts, where=True), advice(between)))) or "run it again"
