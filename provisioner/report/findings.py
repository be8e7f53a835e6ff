"""Findings: those that stop the run first, then warnings. The same finding on several hosts is one entry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from provisioner import causes
from provisioner.model import Severity
from provisioner.report import once, words
from provisioner.report.paper import BAD, CARE, QUIET, heading

if TYPE_CHECKING:
    from provisioner.model import Problem, Report
    from provisioner.report.paper import Look


def findings(report: Report, look: Look) -> list[Text]:
    """Return the section of findings. What hosts have in common is shown once: the cure, and the evidence if it is the same."""
    groups: dict[tuple[Severity, str, str], dict[str, list[str]]] = {}
    for finding in sorted(once.findings(report), key=lambda finding: causes.severity(finding) is not Severity.STOP):
        alike = groups.setdefault(_sameness(finding), {})
        alike.setdefault(words.line(finding.evidence), []).append(finding.host)
    lines = heading("findings") if groups else []
    for (severity, check, cure), alike in groups.items():
        sign = Text("  STOP     ", f"bold {BAD}") if severity is Severity.STOP else Text("  warning  ", CARE)
        for what, hosts in alike.items():
            names = words.hosts([host for host in hosts if host], report.hosts) or "the whole cluster"
            lines += look.prose(sign, f"{names}: {what}")
            sign = Text(" " * sign.cell_len)
        if cure:
            lines += look.prose(Text("           next:  ", QUIET), cure)
        way = f"{check} (to hide it: --ignore {check})" if severity is Severity.WARNING else check
        lines += look.prose(Text("           check: ", QUIET), way, QUIET)
    return lines


def _sameness(finding: Problem) -> tuple[Severity, str, str]:
    return causes.severity(finding), finding.id, words.line(causes.cure(finding))
