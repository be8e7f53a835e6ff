"""Findings: those that stop the run first, then warnings. The same finding on many hosts is shown once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from provisioner import causes
from provisioner.model import Severity
from provisioner.report import words
from provisioner.report.paper import BAD, CARE, QUIET, heading

if TYPE_CHECKING:
    from provisioner.model import Problem, Report
    from provisioner.report.paper import Look


def findings(report: Report, look: Look) -> list[Text]:
    groups: dict[tuple[Severity, str, str, str], list[str]] = {}
    for finding in sorted(report.findings, key=lambda finding: causes.severity(finding) is not Severity.STOP):
        groups.setdefault(_sameness(finding), []).append(finding.host)
    lines = heading("findings") if groups else []
    for (severity, check, what, cure), hosts in groups.items():
        names = words.hosts([host for host in hosts if host], report.hosts) or "the whole cluster"
        sign = Text("  STOP     ", f"bold {BAD}") if severity is Severity.STOP else Text("  warning  ", CARE)
        lines += look.prose(sign, f"{names}: {what}")
        if cure:
            lines += look.prose(Text("           next:  ", QUIET), cure)
        way = f"{check} (to hide it: --ignore {check})" if severity is Severity.WARNING else check
        lines += look.prose(Text("           check: ", QUIET), way, QUIET)
    return lines


def _sameness(finding: Problem) -> tuple[Severity, str, str, str]:
    return causes.severity(finding), finding.id, words.line(finding.evidence), words.line(causes.cure(finding))
