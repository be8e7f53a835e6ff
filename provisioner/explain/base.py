"""What causes are found from: all that a run has seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from provisioner.model import Problem
from provisioner.observe import Observed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provisioner.controlplane import Site
    from provisioner.model import Failure, Outcome, ProofResult


@dataclass(frozen=True)
class Seen:
    """All that a run has seen. lost: host -> why it dropped out. findings: problems that checks have found already."""

    site: Site
    observed: Observed = field(default_factory=Observed)
    proofs: tuple[ProofResult, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    findings: tuple[Problem, ...] = ()
    lost: Mapping[str, Failure] = field(default_factory=dict)


Detector = Callable[[Seen], Iterator[Problem]]
