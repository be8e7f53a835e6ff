"""The input of detectors: all that a run has observed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from provisioner.model import Problem
from provisioner.observe import Observed

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from provisioner.controlplane import Site
    from provisioner.model import Failure, Outcome, ProofResult

_SHOWN = 3  # most items that a problem's evidence lists


@dataclass(frozen=True)
class Seen:
    """All that a run has observed.

    findings: problems that checks found before. lost: host -> why it dropped out.
    earlier: the previous observation. Problems that are only in one of the two are temporary and are not reported.
    """

    site: Site
    observed: Observed = field(default_factory=Observed)
    proofs: tuple[ProofResult, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    findings: tuple[Problem, ...] = ()
    lost: Mapping[str, Failure] = field(default_factory=dict)
    earlier: Observed | None = None

    def only(self, names: Collection[str]) -> Seen:
        """Return a copy with only the kernels of these hosts."""
        kernels = {name: kernel for name, kernel in self.observed.kernels.items() if name in names}
        return replace(self, observed=replace(self.observed, kernels=kernels))


def few(texts: Sequence[str]) -> str:
    """Return the first texts as a list for a problem's evidence, and the number of the others."""
    more = f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return ", ".join(texts[:_SHOWN]) + more


Detector = Callable[[Seen], Iterator[Problem]]
