"""The input of detectors: all that a run has observed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

from provisioner.model import Problem
from provisioner.observe import Observed

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from provisioner.controlplane import Site
    from provisioner.model import Failure, Outcome, ProofResult

_T = TypeVar("_T")
_SHOWN = 3  # most items that a problem's evidence lists


@dataclass(frozen=True)
class Seen:
    """All that a run has observed.

    findings: problems that checks found before. lost: host -> why it dropped out.
    earlier: the previous observation. Problems that are only in one of the two are temporary and are not reported.
    kept: what observations before these showed of networks whose proofs had ended.
    results: see `once`.
    """

    site: Site
    observed: Observed = field(default_factory=Observed)
    proofs: tuple[ProofResult, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    findings: tuple[Problem, ...] = ()
    lost: Mapping[str, Failure] = field(default_factory=dict)
    earlier: Observed | None = None
    kept: tuple[Problem, ...] = ()
    results: dict[Callable[[Seen], Any], Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def only(self, names: Collection[str]) -> Seen:
        """Return a copy with only the kernels of these hosts, or the same object if there are no others."""
        kernels = {name: kernel for name, kernel in self.observed.kernels.items() if name in names}
        if len(kernels) == len(self.observed.kernels):
            return self
        return replace(self, observed=replace(self.observed, kernels=kernels))


def once(compute: Callable[[Seen], _T]) -> Callable[[Seen], _T]:
    """Make a function compute its result once for each `Seen`. All callers get the same object, and must not change it."""

    @wraps(compute)
    def result(seen: Seen) -> _T:
        if compute not in seen.results:
            seen.results[compute] = compute(seen)
        found: _T = seen.results[compute]
        return found

    return result


def few(texts: Sequence[str]) -> str:
    """Return the first texts as a list for a problem's evidence, and the number of the others."""
    more = f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return ", ".join(texts[:_SHOWN]) + more


Detector = Callable[[Seen], Iterable[Problem]]
