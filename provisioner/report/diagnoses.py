"""Renders the causes that a run found: the place, the evidence, why networks fail, and the cure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from provisioner import causes
from provisioner.report import once, words
from provisioner.report.document import advice, commands, of_diagnosis
from provisioner.report.paper import BAD, CARE, QUIET, heading

if TYPE_CHECKING:
    from provisioner.model import Diagnosis, Report
    from provisioner.report.paper import Look


def diagnoses(report: Report, look: Look) -> list[Text]:
    """Return the section of causes; [] if there are none."""
    shown = once.diagnoses(report)
    lines = heading("causes") if shown else []
    for number, found in enumerate(shown, start=1):
        lines += ([Text()] if number > 1 else []) + _one(found, report, look, number)
    return lines


def well(report: Report, look: Look) -> list[Text]:
    """Return the checks that found no problem, one line each."""
    lines = heading("checked, no problem found") if report.looked_at else []
    for text in report.looked_at:
        lines += look.prose(Text(f"  {look.marks.ok} "), words.line(text))
    return lines


def _one(found: Diagnosis, report: Report, look: Look, number: int) -> list[Text]:
    entry = of_diagnosis(found)
    style = CARE if entry["severity"] == "warning" else BAD
    lines = look.prose(
        Text(f"  {number}. ", f"bold {style}"), f"{causes.CAUSES[found.id].title}: {_place(found, report)}", "bold"
    )
    rows = [("seen", words.listed(same)) for same in words.alike(found.evidence)[:3]]
    rows += [("where", found.where)] if found.where else []
    rows.append(("why", causes.CAUSES[found.id].why))
    rows += [("cure", words.together(same)) for same in words.alike(advice(found))]
    rows += [("run", text) for text in commands(found)]
    if entry["explains"]:
        rows.append(("explains", _explains(found)))
    rows.append(("id", found.id))
    before = ""
    for label, text in rows:
        shown = f"     {label if label != before else '':<9}"
        lines += look.prose(Text(shown, QUIET), words.line(text), QUIET if label == "id" else "")
        before = label
    return lines


def _place(found: Diagnosis, report: Report) -> str:
    network = f" (network {words.line(found.network)})" if found.network else ""
    if found.path:
        return f"{words.line(found.path[0])} > {words.line(found.path[1])}{network}"
    return f"{words.hosts(list(found.hosts), report.hosts) or 'the whole cluster'}{network}"


def _explains(found: Diagnosis) -> str:
    ids = ", ".join(dict.fromkeys(problem.id for problem in found.explained))
    pairs = words.count(found.pairs, "failed pair or check", "failed pairs and checks") if found.pairs else ""
    return "; ".join(filter(None, (pairs, ids)))
