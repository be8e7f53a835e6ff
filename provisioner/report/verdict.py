"""The last line of a report: the result of the run in one sentence. Pure; it claims nothing that was not observed."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING

from provisioner import causes
from provisioner.model import Severity, State
from provisioner.report import words

if TYPE_CHECKING:
    from provisioner.model import Diagnosis, Pair, ProofResult, Report

_INTERRUPTED = 130  # 128 + SIGINT, as in shells
_UNUSABLE = 64
_EACH = 3  # networks that are named one by one; more are summed up
_GOOD = (State.SETTLED, State.CONVERGED)


@dataclass(frozen=True, slots=True)
class Tally:
    """The ordered pairs of one proof, without pairs of a host with itself. An unmeasured pair is not proven.

    limit: the hosts that each pair to prove has; empty: all.
    """

    hosts: tuple[str, ...]
    pairs: dict[tuple[str, str], Pair]
    limit: frozenset[str] = frozenset()

    @property
    def total(self) -> int:
        return sum(self.wanted(source, target) for source, target in permutations(self.hosts, 2))

    def wanted(self, source: str, target: str) -> bool:
        """Whether this pair is to be proven."""
        return source != target and (not self.limit or bool({source, target} & self.limit))

    @property
    def proven(self) -> int:
        return sum(pair.proven for pair in self.pairs.values())


def tally(proof: ProofResult, report: Report) -> Tally:
    """Return the proof's pairs, with hosts in the inventory's order."""
    order = report.hosts
    pairs = {(pair.source, pair.target): pair for pair in proof.pairs if pair.source != pair.target}
    seen = dict.fromkeys(host for pair in proof.pairs for host in (pair.source, pair.target))
    known = [host for host in order if host in seen]
    return Tally((*known, *(host for host in seen if host not in set(known))), pairs, frozenset(report.limit))


def stops(report: Report) -> int:
    """Return the number of findings that stop the run. A finding on many hosts counts once."""
    stopping = [finding for finding in report.findings if causes.severity(finding) is Severity.STOP]
    return len({(finding.id, causes.cure(finding)) for finding in stopping})


def stopped(report: Report) -> bool:
    """Whether findings stopped the run. A finding of one host stops only this host."""
    stopping = [finding for finding in report.findings if causes.severity(finding) is Severity.STOP]
    return bool(stopping) and not (report.outcomes and all(finding.host for finding in stopping))


def proven(report: Report) -> bool:
    """Whether the run ended with evidence: all proofs ran, none failed, every pair was proven, no host is missing."""
    return _passed(report) and not left_out(report)


def _passed(report: Report) -> bool:
    """Like `proven`, but only for the proofs that were chosen."""
    ran = [proof for proof in report.proofs if proof.state is not State.SKIPPED]
    return bool(ran) and not report.exit_code and not _troubles(report)


def left_out(report: Report) -> list[ProofResult]:
    """Return the proofs that the user did not choose; they have no result."""
    return [proof for proof in report.proofs if not proof.chosen]


def verdict(report: Report) -> str:
    if report.exit_code == _INTERRUPTED:
        return "interrupted: run it again to continue"
    if report.exit_code == _UNUSABLE:
        return "not started: invalid command line or inventory; nothing was changed"
    if report.command not in ("status", "doctor") and stopped(report):
        untouched = "; nothing was changed" if not report.writes else ""
        return f"stopped: {words.count(stops(report), 'finding')} to fix first{untouched}"
    match report.command:
        case "plan":
            return _planned(report)
        case "status":
            return _reached(report)
        case "down":
            return _ended(report)
        case "doctor":
            return _diagnosed(report)
    if proven(report):
        return f"{_gone(report)}proven: {_hosts(report)}, {_evidence(report)}"
    if _passed(report):
        return _as_chosen(report)
    troubles = _troubles(report)
    if not troubles and not report.exit_code:
        return _unproven(report)
    why = "; ".join(troubles) or _failed(report)
    return f"not proven: {why}" + (f"; {_number(report)} chosen" if left_out(report) else "")


def _diagnosed(report: Report) -> str:
    bad = _bad(report)
    warnings = len(report.causes) - len(bad)
    more = f", {words.count(warnings, 'warning')}" if warnings else ""
    fixed = sum(fix.state is State.CONVERGED for fix in report.fixes)
    begin = f"{words.count(fixed, 'cure')} worked; " if fixed else ""
    return begin + _left(report, bad, more)


def _bad(report: Report) -> list[Diagnosis]:
    """Return the causes that are more than warnings."""
    return [found for found in report.causes if not causes.warns(found)]


def _causes(bad: list[Diagnosis], more: str = "") -> str:
    return f"{words.count(len(bad), 'cause')} found{more}: {words.some(list(dict.fromkeys(found.id for found in bad)))}"


def _left(report: Report, bad: list[Diagnosis], more: str) -> str:
    if bad:
        return _causes(bad, more)
    if proven(report):
        return f"no cause found{more}; proven: {_hosts(report)}, {_evidence(report)}"
    if _passed(report):
        return f"no cause found{more}; {_as_chosen(report)}"
    if not report.proofs and not _troubles(report):
        return f"no cause found{more}; no proof was run"
    return f"no cause found{more}; not proven: {'; '.join(_troubles(report)) or 'no proof could run'}"


def _as_chosen(report: Report) -> str:
    return f"passed: {_number(report)}, as chosen, on {_hosts(report)}: {_evidence(report)}; {_not_run(report)}"


def _ended(report: Report) -> str:
    if report.exit_code:
        return f"not done: {'; '.join(_troubles(report)) or f'the run failed (exit code {report.exit_code})'}"
    return f"{'done' if report.writes else 'nothing to do'}: nothing of the cluster is left on {_hosts(report)}"


def _failed(report: Report) -> str:
    if left_out(report) and all(proof.state is State.SKIPPED for proof in report.proofs):
        return "none of the chosen proofs could run"
    if bad := _bad(report):
        return _causes(bad)
    return f"the run failed (exit code {report.exit_code})"


def _number(report: Report) -> str:
    number = len(report.proofs) - len(left_out(report))
    return f"{number} of {words.count(len(report.proofs), 'proof')}"


def _not_run(report: Report) -> str:
    return f"not run: {words.some([proof.name for proof in left_out(report)])}"


def _unproven(report: Report) -> str:
    if report.outcomes:
        return f"settled: {_hosts(report)}; not proven, because no proof was run"
    return f"done in {words.seconds(report.seconds, 1)}"


def _gone(report: Report) -> str:
    return f"{words.line(report.removed)} is removed; " if report.removed else ""


def _hosts(report: Report) -> str:
    """Count the hosts, without a removed one. With --limit: those that it names, of all."""
    if report.limit:
        return f"{len(report.limit)} of {words.count(len(report.hosts), 'host')}"
    removed = report.command == "remove" and report.removed in report.hosts
    return words.count(len(report.hosts) - removed, "host")


def _evidence(report: Report) -> str:
    paired = [proof for proof in report.proofs if proof.pairs]
    parts = _all_proven(report, paired) if len(paired) > _EACH else [_pairs_proven(report, each) for each in paired]
    alone = [words.line(proof.network) for proof in report.proofs if proof.proof == "overlay" and proof.checks]
    parts += [f"a container joins {', '.join(alone)}, which has no other host"] if alone else []
    ran = [words.line(proof.name) for proof in report.proofs if proof.state in _GOOD] if left_out(report) else []
    return "; ".join(parts) or words.some(ran) or "no pairs to prove"


def _pairs_proven(report: Report, proof: ProofResult) -> str:
    seen = tally(proof, report)
    if not seen.total:
        return f"no pairs to prove on {words.line(proof.network)}"
    pairs = f"{seen.proven} of {seen.total} pairs on {words.line(proof.network)}"
    return f"{pairs} by name and address{_sizes([proof])}, converged in {words.seconds(proof.seconds, 1)}"


def _all_proven(report: Report, paired: list[ProofResult]) -> list[str]:
    """Sum up the proofs of many networks."""
    seen = [tally(proof, report) for proof in paired]
    pairs = f"{sum(each.proven for each in seen)} of {sum(each.total for each in seen)} pairs on {len(paired)} networks"
    slowest = words.seconds(max(proof.seconds for proof in paired), 1)
    return [f"{pairs} by name and address{_sizes(paired)}, each converged within {slowest}"]


def _sizes(paired: list[ProofResult]) -> str:
    found = sorted({proof.mtu for proof in paired} - {0})
    return f", full size {' to '.join(map(str, dict.fromkeys((found[0], found[-1]))))} bytes" if found else ""


def _troubles(report: Report) -> list[str]:
    failed = {outcome.host for outcome in report.outcomes if outcome.state is State.FAILED} - set(report.lost)
    drifted = hosts_that_drifted(report)
    tallies = [(proof, tally(proof, report)) for proof in report.proofs]
    short = [(proof, seen) for proof, seen in tallies if seen.proven < seen.total]
    others = [proof for proof, seen in tallies if seen.proven >= seen.total]
    texts = [
        f"{words.count(len(report.lost), 'host')} dropped out ({words.hosts(sorted(report.lost))})"
        if report.lost
        else "",
        f"a step failed on {words.hosts(sorted(failed))}" if failed else "",
        f"{words.count(len(drifted), 'host has', 'hosts have')} drifted ({_things(report)})" if drifted else "",
        *_short(short),
        *(_failure(proof) for proof in others),
        *(words.first_line(error.text) for error in report.errors),
        f"{words.count(stops(report), 'finding')} to fix" if stops(report) else "",
    ]
    return [text for text in texts if text]


def _short(short: list[tuple[ProofResult, Tally]]) -> list[str]:
    """Say which networks lack pairs."""
    if len(short) > _EACH:
        proven, total = (
            sum(numbers) for numbers in zip(*((seen.proven, seen.total) for _, seen in short), strict=True)
        )
        return [f"only {proven} of {total} pairs on {len(short)} networks"]
    return [f"only {seen.proven} of {seen.total} pairs on {words.line(proof.network)}" for proof, seen in short]


def _failure(proof: ProofResult) -> str:
    if proof.state in _GOOD or proof.state is State.SKIPPED:
        return ""
    where = f" on {words.line(proof.network)}" if proof.network else ""
    return f"{words.line(proof.proof)}{where} {proof.state.value}"


def hosts_that_drifted(report: Report) -> set[str]:
    return {outcome.host for outcome in report.outcomes if outcome.state is State.DRIFTED}


def _things(report: Report) -> str:
    drifts = [drift for outcome in report.outcomes if outcome.state is State.DRIFTED for drift in outcome.drifts]
    unknown = sum(drift.pending for drift in drifts)
    unknown += sum(max(len(outcome.drifts), 1) for outcome in report.outcomes if outcome.state is State.PENDING)
    more = f", {unknown} can't be known yet" if unknown else ""
    return words.count(sum(not drift.pending for drift in drifts), "thing") + more


def _planned(report: Report) -> str:
    states = {host: _stands(report, host) for host in report.limit or report.hosts}
    parts = []
    for state in dict.fromkeys(("would change", "can't be known yet", "settled", "failed", "not checked")):
        number = sum(stands == state for stands in states.values())
        if number:
            things = f" ({_things(report)})" if state == "would change" else ""
            parts.append(f"{number} {state}{things}")
    return f"{_hosts(report)}: {', '.join(parts) or 'nothing was checked'}"


def _stands(report: Report, host: str) -> str:
    states = {outcome.state for outcome in report.outcomes if outcome.host == host}
    if host in report.lost or State.FAILED in states:
        return "failed"
    if State.DRIFTED in states:
        return "would change"
    if State.PENDING in states:
        return "can't be known yet"
    return "settled" if states & set(_GOOD) else "not checked"


def _reached(report: Report) -> str:
    missed = [summary.host for summary in report.summaries if not summary.reached]
    missed += [host for host in report.lost if host not in {summary.host for summary in report.summaries}]
    parts = [
        f"{len(report.hosts) - len(missed)} reached, not reached: {words.hosts(missed)}" if missed else "all reached"
    ]
    return f"{_hosts(report)}: {'; '.join([*parts, *_not_running(report), *_silent(report)])}"


def _not_running(report: Report) -> list[str]:
    """List the engines that do not run, by state."""
    found: dict[str, list[str]] = {}
    for summary in report.summaries:
        if summary.engine_state in {"stopped", "starting", "stopping", "absent"}:
            found.setdefault(summary.engine_state, []).append(summary.host)
    return [
        f"{'no engine' if state == 'absent' else f'engine {state}'} on {words.hosts(hosts)}"
        for state, hosts in found.items()
    ]


def _silent(report: Report) -> list[str]:
    """List what runs but did not answer."""
    found: dict[str, list[str]] = {}
    for summary in report.summaries:
        for what in summary.silent:
            found.setdefault(what, []).append(summary.host)
    return [
        f"no answer from {'the engine' if what == 'engine' else what} on {words.hosts(hosts)}"
        for what, hosts in found.items()
    ]
