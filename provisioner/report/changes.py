"""What a run changed, skipped and failed to do. Hosts with the same result share their lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from provisioner import wording
from provisioner.model import State
from provisioner.report import once, words
from provisioner.report.paper import BAD, CARE, GOOD, QUIET, heading, widest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provisioner.model import Outcome, Report
    from provisioner.report.paper import Look

_Story = tuple[tuple[str, str], ...]  # (step, what it changed), in the order of the steps


def changes(report: Report, look: Look) -> list[Text]:
    stories: dict[str, list[tuple[str, str]]] = {}
    for outcome in report.outcomes:
        if outcome.state is State.CONVERGED:
            stories.setdefault(outcome.host, []).append((words.line(outcome.step), _changed(outcome)))
    alike: dict[_Story, list[str]] = {}
    for host, story in stories.items():
        alike.setdefault(tuple(story), []).append(host)
    lines: list[Text] = []
    for shared, hosts in alike.items():
        lines += heading(f"changed on {words.hosts(hosts, report.hosts)}")
        width = widest(step for step, _ in shared)
        for step, what in shared:
            lines += look.prose(Text.assemble("  ", (step.ljust(width), GOOD), "  "), what)
    return lines or _nothing(report)


def _nothing(report: Report) -> list[Text]:
    """Say that nothing had to change, if that is known for every step."""
    states = {outcome.state for outcome in report.outcomes}
    if not states or states - {State.SETTLED, State.SKIPPED} or report.lost:
        return []
    if report.writes:
        said = f"nothing to change; {words.count(report.writes, 'write')} for locks or proofs"
    else:
        said = "nothing to change: no writes"
    return [Text(), Text(said, GOOD)]


def _changed(outcome: Outcome) -> str:
    parts = []
    for drift in outcome.drifts:
        note = words.line(wording.note(drift))
        parts.append(words.line(wording.what(drift)) + (f" ({note})" if note else ""))
    return ", ".join(dict.fromkeys(parts)) or "converged"  # a rotation writes some files twice


def skipped(report: Report, look: Look) -> list[Text]:
    """Return the skipped steps, and why."""
    alike: dict[tuple[str, str], list[str]] = {}
    for outcome in report.outcomes:
        if outcome.state is State.SKIPPED and (outcome.reason or look.verbose):
            alike.setdefault((words.line(outcome.step), words.line(outcome.reason)), []).append(outcome.host)
    lines = heading("skipped") if alike else []
    for (step, reason), hosts in alike.items():
        why = f": {reason}" if reason else ""
        lines += look.prose(Text(f"  {step}  ", CARE), f"{words.hosts(hosts, report.hosts)}{why}")
    return lines


def errors(report: Report, look: Look) -> list[Text]:
    """Return every error in full. Hosts whose errors differ only in their names and addresses share an entry."""
    alike: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for host, where, text in _all_errors(report, verbose=look.verbose):
        body = words.block(words.without_host(text, host)).strip()
        alike.setdefault((where, words.without_places(body, host)), []).append((host, body))
    lines = heading("errors") if alike else []
    for (where, _), same in alike.items():
        names = words.hosts([host for host, _ in same if host], report.hosts)
        title = f"{names or 'the run'}{f': {where}' if where else ''}"
        lines += look.prose(Text(f"  {look.marks.bad} ", BAD), title, BAD)
        lines += [line for row in _shared(same) for line in _error_row(row, look)]
    return lines


def _shared(same: list[tuple[str, str]]) -> list[str]:
    """Return the lines of an error of several hosts: the first names all places, most others those of the first host."""
    first, *others = zip(*(body.splitlines() or [""] for _, body in same), strict=False)
    return [words.listed(first), *map(words.together, others)]


def _error_row(row: str, look: Look) -> list[Text]:
    """Return a line of an error: a host's answer is kept verbatim, the rest is wrapped as prose."""
    text = row.lstrip()
    indent = " " * (4 + len(row) - len(text))
    if text.startswith("|"):
        return [Text(indent + text, QUIET)]
    return look.prose(Text(indent), text, QUIET if text.startswith(("tried:", "cause:", "check:")) else "")


def _all_errors(report: Report, *, verbose: bool) -> Iterator[tuple[str, str, str]]:
    """Yield (host, where, text). The host is empty if the error concerns the whole run."""
    found = list(once.errors(report))
    for each in found:
        if each.host:
            yield each.host, "dropped out" if each.lost else words.line(each.step), each.why.whole
    for proof in report.proofs:
        if proof.error and (verbose or not once.is_covered(proof, report)):
            where = " on ".join(words.line(part) for part in (proof.proof, proof.network) if part)
            ids = ", ".join(dict.fromkeys(problem.id for problem in proof.problems))
            yield "", where, f"{proof.error}\n  cause: {ids}" if ids else proof.error
    for each in found:
        if not each.host:
            yield "", "", each.why.whole
