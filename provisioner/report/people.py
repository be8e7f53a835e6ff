"""The report for people: its sections in order, then the verdict, and the next steps last."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from rich.text import Text

from provisioner.report import stream as streams
from provisioner.report.archive import evidence
from provisioner.report.changes import changes, errors, skipped
from provisioner.report.diagnoses import diagnoses, well
from provisioner.report.findings import findings
from provisioner.report.fixes import fixes
from provisioner.report.next_steps import shown as next_steps
from provisioner.report.paper import BAD, CARE, GOOD, Look, console
from provisioner.report.plan import plan
from provisioner.report.proofs import proofs
from provisioner.report.status import status
from provisioner.report.verdict import hosts_that_drifted, proven, stops, verdict

if TYPE_CHECKING:
    from provisioner.model import Report


def lines(report: Report, look: Look) -> list[Text]:
    """Return the lines of the report, without empty sections."""
    if report.command == "doctor":
        return _doctor(report, look)
    sections = [findings(report, look), status(report, look), plan(report, look)]
    if report.command.partition(" ")[0] in ("up", "remove", "down", "rotate"):
        sections.append(changes(report, look))
    sections += [skipped(report, look), errors(report, look), proofs(report, look), diagnoses(report, look)]
    if look.verbose:
        sections.append(well(report, look))
    sections += _end(report, look)
    all_ = [line for section in sections for line in section]
    return all_ if all_[0].plain else all_[1:]


def _doctor(report: Report, look: Look) -> list[Text]:
    """Return the causes, then the checks without problems. Failed proofs and drift need `verbose`."""
    sections = [
        fixes(report, look),
        diagnoses(report, look),
        skipped(report, look),
        well(report, look),
        evidence(report, look),
    ]
    if look.verbose:
        sections += [findings(report, look), plan(report, look), proofs(report, look)]
    sections += [
        errors(report, look),
        *_end(report, look),
    ]
    all_ = [line for section in sections for line in section]
    return all_ if all_[0].plain else all_[1:]


def _end(report: Report, look: Look) -> list[list[Text]]:
    return [[Text(), *look.prose(Text(), verdict(report), f"bold {_style(report)}")], next_steps(report)]


def _style(report: Report) -> str:
    if proven(report):
        return GOOD
    if stops(report) or report.lost or (report.exit_code and report.command not in ("plan", "status")):
        return BAD
    if hosts_that_drifted(report) or report.command not in ("plan", "status"):
        return CARE
    return GOOD


def show_people(report: Report, stream: TextIO, *, color: bool | None, verbose: bool) -> None:
    paper = console(stream, color=color)
    look = Look(streams.marks(stream), paper.width, wrap=paper.is_terminal, verbose=verbose, diff=report.call.diff)
    for line in lines(report, look):
        paper.print(line, soft_wrap=True)
    paper.file.flush()
