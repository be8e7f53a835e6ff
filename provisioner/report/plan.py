"""What would change, by step in order. Each difference is shown once, with all hosts that have it.

Diffs are long. Unless the user asks for all of them, only files that people write are shown as diffs.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from rich.text import Text

from provisioner import wording
from provisioner.model import Action, Drift, Kind, State
from provisioner.report import words
from provisioner.report.paper import BAD, CARE, GOOD, HEAD, QUIET, heading
from provisioner.system.reading import DAEMON_JSON

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provisioner.model import Outcome, Report
    from provisioner.report.paper import Look

_UNKNOWN = "can't be known before an earlier step has run"
_INDENT = "    "
_STYLES = {"+": GOOD, "-": BAD, "@": "cyan", "\\": QUIET}
_CONTEXT = 3
_OF_PEOPLE = frozenset({DAEMON_JSON})  # files that people write, too


def plan(report: Report, look: Look) -> list[Text]:
    """Return the drift of every step. A step that is settled on all hosts has no lines."""
    lines: list[Text] = []
    for step in dict.fromkeys(outcome.step for outcome in report.outcomes):
        drifted = [o for o in report.outcomes if o.step == step and o.state in (State.DRIFTED, State.PENDING)]
        lines += heading(step) if drifted else []
        for hosts, drifts in _folded(drifted, look):
            lines += look.prose(Text("  "), f"{words.hosts(hosts, report.hosts)}:", HEAD)
            lines += [line for drift, reason in drifts for line in _shown(drift, reason, hosts, look)]
    return [*_title(report), *lines] if lines else []


def _title(report: Report) -> list[Text]:
    """Say what repairs the drift, where it is not the whole report: people read this before they look for other causes."""
    repaired = "; `provisioner up` repairs it" if is_repairable(report) else ""
    return [] if report.command == "plan" else heading(f"this differs from the inventory{repaired}")


def is_repairable(report: Report) -> bool:
    """Whether `up` changes anything. It does not if a drift needs a person's decision, or only time or another repair."""
    drifts = [drift for outcome in report.outcomes if outcome.state is State.DRIFTED for drift in outcome.drifts]
    return any(not drift.held and drift.action is not Action.WAIT for drift in drifts)


def _folded(outcomes: list[Outcome], look: Look) -> list[tuple[tuple[str, ...], list[tuple[Drift, str]]]]:
    """Return groups of hosts with the differences that they share. The larger ones come first."""
    alike: dict[tuple[str, ...], tuple[list[str], Drift, str]] = {}
    for outcome in outcomes:
        for drift in outcome.drifts or (Drift(Kind.UNKNOWN, pending=outcome.state is State.PENDING),):
            key = tuple(line.plain for line in _shown(drift, outcome.reason, ("",), look))
            alike.setdefault(key, ([], drift, outcome.reason))[0].append(outcome.host)
    groups: dict[tuple[str, ...], list[tuple[Drift, str]]] = {}
    for hosts, drift, reason in alike.values():
        groups.setdefault(tuple(dict.fromkeys(hosts)), []).append((drift, reason))
    return sorted(groups.items(), key=lambda group: -len(group[0]))


def _shown(drift: Drift, reason: str, hosts: tuple[str, ...], look: Look) -> list[Text]:
    if drift.pending:
        why = words.line(reason)
        said = why if why.startswith("can't be known") else _UNKNOWN + (f" ({why})" if why else "")
        what = words.line(wording.what(drift))
        return look.prose(Text.assemble(_INDENT, ("? ", CARE)), f"{what}: {said}" if what else said)
    if drift.secret:
        return [_line(drift, "contents are secret")]
    if not _is_long(drift):
        return [_line(drift, _from_to(drift))]
    return list(_difference(drift, hosts)) if look.diff or _by_people(drift) else [_line(drift, _size(drift))]


def is_summed_up(report: Report) -> bool:
    """Whether a plan without `--diff` shows less than one with it."""
    drifts = [drift for outcome in report.outcomes if outcome.state is State.DRIFTED for drift in outcome.drifts]
    return any(_is_long(drift) and not _by_people(drift) for drift in drifts)


def _is_long(drift: Drift) -> bool:
    """Whether the difference is one of whole texts, which only a diff can show."""
    if drift.pending or drift.secret or drift.found == drift.wanted:
        return False
    return drift.is_file or any("\n" in text.strip() for text in (drift.found, drift.wanted))


def _by_people(drift: Drift) -> bool:
    return drift.target in _OF_PEOPLE


def _size(drift: Drift) -> str:
    """Return "+3 -1 lines" or "-1 line"; "" for a file that is new or gone, since all of its lines are."""
    if not (drift.found and drift.wanted):
        return ""
    rows = list(difflib.unified_diff(_rows(drift.found), _rows(drift.wanted), n=0, lineterm=""))[2:]
    numbers = {sign: sum(row.startswith(sign) for row in rows) for sign in "+-"}
    signs = " ".join(f"{sign}{number}" for sign, number in numbers.items() if number)
    return f"{signs} {'line' if sum(numbers.values()) == 1 else 'lines'}"


def _line(drift: Drift, detail: str) -> Text:
    sign, style = ("+", GOOD) if not drift.found else ("-", BAD) if not drift.wanted else ("~", CARE)
    details = ", ".join(part for part in (detail, _takes(drift)) if part)
    what = words.line(wording.what(drift)) or "differs from the inventory"
    return Text.assemble(_INDENT, (f"{sign} {what}", style), (f"  ({details})" if details else "", QUIET))


def _from_to(drift: Drift) -> str:
    found, wanted = words.line(drift.found), words.line(drift.wanted)
    if drift.is_file or found == wanted:
        return ""
    return f"{found or 'nothing'} -> {wanted or 'nothing'}"


def _takes(drift: Drift) -> str:
    note = words.line(wording.note(drift))
    return f"needs: {note}" if note else ""


def _difference(drift: Drift, hosts: tuple[str, ...]) -> Iterator[Text]:
    """Yield a unified diff. Contents are shown exactly: not wrapped, and with visible control characters."""
    whose = words.line(hosts[0]) if len(hosts) == 1 else words.count(len(hosts), "host")
    what = words.line(wording.what(drift))
    yield Text.assemble(_INDENT, (f"--- {what} ({whose}, {'found' if drift.found else 'nothing found'})", BAD))
    yield Text.assemble(_INDENT, (f"+++ {what} ({'wanted' if drift.wanted else 'not wanted'})", GOOD))
    found, wanted = _rows(drift.found), _rows(drift.wanted)
    for row in list(difflib.unified_diff(found, wanted, n=_CONTEXT, lineterm=""))[2:]:
        for part in row.split("\n"):  # the last row has a second part if its file has no final line end
            yield Text.assemble(_INDENT, (part, _STYLES.get(part[:1], "")))
    if takes := _takes(drift):
        yield Text.assemble(_INDENT, (f"({takes})", QUIET))


def _rows(text: str) -> list[str]:
    """Split into lines with visible control characters. Only a line feed ends a line; a missing last one is marked."""
    rows = [words.exact(row) for row in text.split("\n")]
    last = rows.pop()
    return [*rows, f"{last}\n\\ no line end at the end of the file"] if last else rows
