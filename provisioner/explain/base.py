"""What causes are found from: all that a run has seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from provisioner.model import Problem
from provisioner.observe import Observed

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from provisioner.controlplane import Site
    from provisioner.model import Failure, Outcome, ProofResult


@dataclass(frozen=True)
class Seen:
    """All that a run has seen.

    earlier: the observation before the last one. What passes by itself is no cause: a problem that was not seen then does not count.
    findings: problems that checks have found already. lost: host -> why it dropped out.
    """

    site: Site
    observed: Observed = field(default_factory=Observed)
    proofs: tuple[ProofResult, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    findings: tuple[Problem, ...] = ()
    lost: Mapping[str, Failure] = field(default_factory=dict)
    earlier: Observed | None = None

    def only(self, names: Collection[str]) -> Seen:
        """Return the same, as if the kernels of these hosts alone had been read."""
        kernels = {name: kernel for name, kernel in self.observed.kernels.items() if name in names}
        return replace(self, observed=replace(self.observed, kernels=kernels))


Detector = Callable[[Seen], Iterator[Problem]]
