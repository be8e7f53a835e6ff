"""Each problem has one place in the text for people. These functions say what belongs in which section.

A host that dropped out is an error, and drift is in the list of what differs: neither is repeated as a cause, except by `doctor`,
which reports causes alone. A finding or an error of a proof that a cause covers is not repeated, nor is what follows from a cause.
With --verbose, the failed pairs are listed in any case. The JSON document has everything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner import causes
from provisioner.model import Severity
from provisioner.report.failures import failures

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provisioner.model import Diagnosis, Problem, ProofResult, Report
    from provisioner.report.failures import Failed

_ELSEWHERE = frozenset({"host-lost", "drift"})  # causes with sections of their own


def diagnoses(report: Report) -> list[Diagnosis]:
    """Return the causes to show."""
    if report.command == "doctor":
        return list(report.causes)
    return [each for each in report.causes if each.id not in _ELSEWHERE and not _warns(each, report)]


def _warns(found: Diagnosis, report: Report) -> bool:
    """Whether the cause is only a finding that warns: that section says how to hide it."""
    return all(
        problem in report.findings and causes.severity(problem) is Severity.WARNING for problem in found.problems
    )


def findings(report: Report) -> list[Problem]:
    """Return the findings to show."""
    told = [problem for found in diagnoses(report) for problem in found.problems]
    told += [problem for found in report.causes for problem in found.explained]
    return [finding for finding in report.findings if finding not in told]


def errors(report: Report) -> Iterator[Failed]:
    """Yield the errors to show: those of steps and hosts, then those of the run."""
    found = list(failures(report))
    told = {(each.host, each.why.check) for each in found if each.step}
    told |= {(finding.host, finding.id) for finding in report.findings}
    lost_are_causes = report.command == "doctor" and bool(report.causes)
    for each in found:
        if not each.lost or not (lost_are_causes or (each.host, each.why.check) in told):
            yield each


def is_covered(proof: ProofResult, report: Report) -> bool:
    """Whether the causes say why a proof failed."""
    told = {problem.id for found in report.causes for problem in (*found.problems, *found.explained)}
    return ({problem.id for problem in proof.problems} or {"unexplained"}) <= told
