"""The results of the proofs: each one in one line, with its matrix if it has pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from provisioner.model import State
from provisioner.report import words
from provisioner.report.matrix import matrix
from provisioner.report.paper import BAD, CARE, GOOD, HEAD, QUIET
from provisioner.report.verdict import left_out, tally

if TYPE_CHECKING:
    from provisioner.model import ProofResult, Report
    from provisioner.report.paper import Look

_WAYS = 6  # host pairs that are named if more failed in the same way


def proofs(report: Report, look: Look) -> list[Text]:
    lines = [Text(), Text("proofs", HEAD)] if report.proofs else []
    for proof in report.proofs:
        if proof.chosen:
            lines += _title(proof, report, look)
            lines += matrix(proof, report, look)
            lines += _local(proof, look) if proof.proof == "local" else []
    return lines + _left_out(report, look)


def _left_out(report: Report, look: Look) -> list[Text]:
    names = ", ".join(words.line(proof.name) for proof in left_out(report))
    return look.prose(Text(f"  {look.marks.none} ", CARE), f"not run, as chosen: {names}", QUIET) if names else []


def _local(proof: ProofResult, look: Look) -> list[Text]:
    """Return each kind of check with its counts, and each different failure once."""
    lines = []
    for what in dict.fromkeys(check.what for check in proof.checks):
        alike = [check for check in proof.checks if check.what == what]
        failed: dict[str, list[str]] = {}
        for check in alike:
            if not check.proven:
                failed.setdefault(words.line(check.detail), []).append(words.line(check.way))
        mark, style = (look.marks.bad, BAD) if failed else (look.marks.ok, GOOD)
        number = f"{sum(check.proven for check in alike)} of {len(alike)}"
        lines += look.prose(Text.assemble("    ", (mark, style), " "), f"{words.line(what)}: {number}")
        for detail, ways in failed.items():
            more = f" {look.marks.dots}" if len(ways) > _WAYS else ""
            lines += look.prose(Text("      "), f"{', '.join(dict.fromkeys(ways[:_WAYS]))}{more}: {detail}", BAD)
    return lines


def _checked(proof: ProofResult) -> str:
    hosts = {check.host for check in proof.checks}
    good = hosts - {check.host for check in proof.checks if not check.proven}
    return f"{len(good)} of {words.count(len(hosts), 'host')}" if hosts else proof.state.value


def _data(proof: ProofResult, total: int) -> str:
    """Return on how many pairs data were sent, unless it was sent on all that reach each other."""
    untried = any(pair.proven and not pair.transfer for pair in proof.pairs)
    return f"data sent on {proof.with_data} of {total} pairs" if untried and proof.with_data else ""


def _title(proof: ProofResult, report: Report, look: Look) -> list[Text]:
    seen = tally(proof, report)
    good = proof.state in (State.SETTLED, State.CONVERGED) and seen.proven >= seen.total
    mark, style = (look.marks.ok, GOOD) if good else (look.marks.bad, BAD)
    if proof.state in (State.SKIPPED, State.PENDING):
        mark, style = look.marks.none, CARE
    took = words.seconds(proof.seconds, 1) if proof.seconds else ""
    facts = [
        f"{seen.proven} of {seen.total} pairs" if seen.total else _checked(proof),
        _data(proof, seen.total),
        f"MTU {proof.mtu} bytes" if proof.mtu else "",
        took if not good or not seen.total or not took else f"converged in {took}",
        words.line(proof.reason),
    ]
    kind = proof.name.partition("/")[0]
    name = " on ".join(words.line(part) for part in (kind, proof.network) if part)
    first = Text.assemble("  ", (mark, style), f" {name}: ")
    return look.prose(first, ", ".join(fact for fact in facts if fact), QUIET if style == CARE else "")
