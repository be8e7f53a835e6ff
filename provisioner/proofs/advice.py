"""What a proof advises, from the problems that it found."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from provisioner import causes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from provisioner.model import Problem
    from provisioner.proofs.probe import Probe


def of_probes(probes: Iterable[Probe]) -> Iterator[Problem]:
    """Yield why probes failed, once for each host. Nothing else is known about such a host."""
    failed = {
        probe.name: replace(probe.evidence.problem, host=probe.name) for probe in probes if probe.evidence.problem
    }
    return iter(failed.values())


def advice(problems: Iterable[Problem], *, where: bool = False) -> str:
    """Return the cures of these problems, each once. where: also name the hosts."""
    hosts: dict[str, dict[str, None]] = {}
    for problem in problems:
        hosts.setdefault(causes.cure(problem), {})[problem.host] = None
    places = {cure: ", ".join(filter(None, names)) for cure, names in hosts.items()}
    return "; ".join(f"on {names}: {cure}" if where and names else cure for cure, names in places.items())


def both(of_hosts: Iterable[Problem], between: Iterable[Problem]) -> str:
    """Return the cures for hosts, with their names, then the cures for the paths between them."""
    return "; ".join(filter(None, (advice(of_hosts, where=True), advice(between)))) or "run it again"
