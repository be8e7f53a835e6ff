"""From what a run has seen to causes: detectors find problems, and consequences are put behind their causes. Pure.

paths: where packets between two hosts get lost. kernels: routes, rules and forwarding entries. engines: engines and their store.
The checks and the proofs have found problems too. A problem that another one explains, at the same place, is a consequence:
it is counted, and not reported by itself. What nothing explains stays, with its evidence.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from provisioner import causes
from provisioner.explain import engines, hosts, kernels, paths
from provisioner.explain.base import Seen
from provisioner.explain.well import well
from provisioner.model import Diagnosis, Problem, Severity, State
from provisioner.observe import Observed
from provisioner.parallel import blamed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from provisioner.explain.base import Detector
    from provisioner.model import ProofResult

__all__ = ["DETECTORS", "NOTHING", "Seen", "explain", "explained", "observed", "problems", "well"]

NOTHING = Observed()
_LAST = frozenset({"drift", "unexplained"})  # where a cause is known too, it comes first
_LASTING = frozenset({"overlay-blocked", "names-unresolved"})  # what pairs of hosts that do not reach each other show
OBSERVING: tuple[Detector, ...] = (*engines.DETECTORS, *kernels.DETECTORS, *paths.DETECTORS)
_STARTLESS = frozenset({"probe-failed"})
DETECTORS: tuple[Detector, ...] = (*OBSERVING, *hosts.DETECTORS)


def problems(seen: Seen) -> list[Problem]:
    """All that is found, each once: by the checks, the observations, and the proofs."""
    found = [*seen.findings, *observed(seen), *(problem for detect in hosts.DETECTORS for problem in detect(seen))]
    found += [problem for result in seen.proofs for problem in result.problems]
    return list({_key(problem): problem for problem in reversed(found)}.values())[::-1]


def observed(seen: Seen) -> list[Problem]:
    """What the observations show; of two, only what both show."""
    found = [problem for detect in OBSERVING for problem in _detected(detect, seen)]
    if seen.earlier is None:
        return found
    before = replace(seen, observed=seen.earlier, earlier=None)
    known = {_place(problem) for problem in observed(before)}
    return [problem for problem in found if _place(problem) in known]


def _detected(detect: Detector, seen: Seen) -> list[Problem]:
    """What one detector finds. A host whose data bring out a bug in it is left out, and reported."""
    found, bug = blamed(
        tuple(seen.observed.kernels), lambda names: list(detect(seen.only(names))), "looking for causes"
    )
    return [*found, Problem("unexplained", bug.host, bug.what)] if bug else found


def _place(problem: Problem) -> tuple[str, ...]:
    return problem.id, problem.host, problem.target, problem.network


def _key(problem: Problem) -> tuple[str, ...]:
    return *_place(problem), problem.evidence


def explain(seen: Seen) -> tuple[Diagnosis, ...]:
    """The causes, the most fundamental first: those that stop or fail something before warnings, those that explain more before others."""
    found = problems(seen)
    closure = _closure()
    reasons = {id(problem): _reasons(problem, found, closure) for problem in found}
    roots = [problem for problem in found if not reasons[id(problem)]]
    groups: dict[tuple[object, ...], list[Problem]] = {}
    for problem in roots:
        groups.setdefault(_together(problem), []).append(problem)
    diagnoses = [_diagnosis(group, found, seen.proofs, closure) for group in groups.values()]
    order = list(causes.CAUSES)
    return tuple(
        sorted(diagnoses, key=lambda d: (_warns(d), d.id in _LAST, _depth(d, closure), -d.pairs, order.index(d.id)))
    )


def explained(found: Iterable[Problem], pairs: Iterable[tuple[str, str]]) -> bool:
    """Whether these problems explain why each of these pairs of hosts does not reach the other, and for (host, "") why no probe starts."""
    closure = _closure()
    return all(
        any(
            _meets(problem, Problem("overlay-blocked", host, "", target=other))
            for problem in found
            if (_LASTING if other else _STARTLESS) & closure[problem.id]
        )
        for host, other in pairs
    )


def _closure() -> dict[str, frozenset[str]]:
    """Cause -> all causes that follow from it, through others too."""
    direct = {cause.id: frozenset(cause.explains) for cause in causes.CAUSES.values()}
    found = dict(direct)
    for _ in range(len(direct)):
        wider = {name: of.union(*(found[other] for other in of if other in found)) for name, of in found.items()}
        if wider == found:
            break
        found = wider
    return {name: of - {name} for name, of in found.items()}


def _reasons(problem: Problem, found: Iterable[Problem], closure: Mapping[str, frozenset[str]]) -> list[Problem]:
    """The problems that explain this one: its causes, and the same found for the host as a whole where this is about one network."""
    return [
        other
        for other in found
        if (problem.id in closure[other.id] and other.id not in closure[problem.id] and _meets(other, problem))
        or (problem.network and _place(other) == (problem.id, problem.host, problem.target, ""))
    ]


def _meets(cause: Problem, consequence: Problem) -> bool:
    """Whether a cause's place can bear on the consequence's: they share a host or network, or one of them is about the whole cluster."""
    if cause.network and consequence.network and cause.network != consequence.network:
        return False
    here, there = {cause.host, cause.target} - {""}, {consequence.host, consequence.target} - {""}
    return not here or not there or bool(here & there)


def _together(problem: Problem) -> tuple[object, ...]:
    """Problems that are one for people: the same cause, network and cure, found at each of several hosts. Paths stay apart."""
    if problem.target:
        return problem.id, problem.host, problem.target, problem.network
    return problem.id, problem.network, causes.cure(problem), problem.variant, problem.where if not problem.host else ""


def _diagnosis(
    group: list[Problem], found: Iterable[Problem], proofs: Iterable[ProofResult], closure: Mapping[str, frozenset[str]]
) -> Diagnosis:
    after = closure[group[0].id]
    explained = tuple(
        problem for problem in found if problem.id in after and any(_meets(cause, problem) for cause in group)
    )
    names = {name for problem in group for name in (problem.host, problem.target) if name}
    networks = {problem.network for problem in group}
    kinds = after | {group[0].id}
    return Diagnosis(tuple(group), explained, _failed(proofs, names, networks, kinds))


def _failed(
    proofs: Iterable[ProofResult], names: set[str], networks: set[str], kinds: frozenset[str] | set[str]
) -> int:
    """How many failed pairs and checks of proofs have one of these kinds of problems, at these hosts and networks."""
    count = 0
    for result in proofs:
        if result.state is not State.FAILED or not {problem.id for problem in result.problems} & kinds:
            continue
        if "" not in networks and result.network not in networks:
            continue
        count += sum(
            not pair.proven and (not names or bool({pair.source, pair.target} & names)) for pair in result.pairs
        )
        count += sum(not check.proven and (not names or check.host in names) for check in result.checks)
    return count


def _warns(diagnosis: Diagnosis) -> bool:
    return all(causes.severity(problem) is Severity.WARNING for problem in diagnosis.problems)


def _depth(diagnosis: Diagnosis, closure: Mapping[str, frozenset[str]]) -> int:
    """How fundamental it is: the number of causes in the catalogue that would explain it."""
    return sum(diagnosis.id in after for after in closure.values())
