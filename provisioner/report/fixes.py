"""The cures that `doctor --fix` ran, or did not run and why; and the question that it asks before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from provisioner import causes
from provisioner.model import State
from provisioner.report import words
from provisioner.report.paper import BAD, CARE, GOOD, QUIET, heading

if TYPE_CHECKING:
    from provisioner.model import Fix, Report
    from provisioner.report.paper import Look


def question(fix: Fix) -> str:
    """Return the question whether to run a cure, with its commands exactly as they would run."""
    title = f"{causes.CAUSES[fix.cause].title} ({fix.cause})"
    note = "The containers on this host stop meanwhile, unless its engine has live-restore.\n" if fix.restarts else ""
    commands = "".join(f"    {command}\n" for command in fix.commands)
    return f"\n{title}\n{commands}{note}Run this on {fix.host}?"


def fixes(report: Report, look: Look) -> list[Text]:
    """Return what was done; [] if nothing was to be done."""
    lines = heading("fixes") if report.fixes else []
    signs = {State.CONVERGED: (look.marks.ok, GOOD), State.FAILED: (look.marks.bad, BAD)}
    for fix in report.fixes:
        mark, style = signs.get(fix.state, (look.marks.none, CARE))
        said = f"{fix.cause}, {words.hosts([fix.host] if fix.host else [], report.hosts) or 'the whole cluster'}: {_result(fix)}"
        lines += look.prose(Text(f"  {mark} ", style), said, style)
        for command in fix.commands:
            lines += look.prose(
                Text("      ran      " if fix.state in signs else "      cure     ", QUIET), words.line(command)
            )
        for row in fix.error.splitlines()[1:]:
            lines.append(Text(f"      {words.line(row)}", QUIET))
    return lines


def _result(fix: Fix) -> str:
    if fix.state is State.CONVERGED:
        return "fixed"
    if fix.state is State.FAILED:
        return f"failed: {words.without_host(words.first_line(fix.error), fix.host)}"
    return f"not run: {words.line(fix.reason)}"
