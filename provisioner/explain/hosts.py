"""Causes that concern whole hosts: hosts that dropped out, hosts that differ from the inventory, unexplained failures."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from provisioner import causes, wording
from provisioner.explain.base import few
from provisioner.model import Problem, Severity, State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provisioner.explain.base import Seen

_ENGINES = "engines"  # the step that installs missing engines
_NO_PROBE = "probe-failed"
_SHOWN = 3  # most failures of a proof that are listed


def lost(seen: Seen) -> Iterator[Problem]:
    """Report hosts that dropped out, unless a finding gives the reason."""
    stopped = {problem.host for problem in seen.findings if causes.severity(problem) is Severity.STOP}
    for name, why in seen.lost.items():
        if name not in stopped:
            first, _, rest = why.text.partition("\n")
            cure = next((line.partition("next:")[2].strip() for line in rest.split("\n") if "next:" in line), "")
            evidence = f"{first.removeprefix(f'{name}: ')} ({why.check})"
            yield Problem("host-lost", name, evidence, {"cure": cure, "check": why.check}, "told" if cure else "")


def leaderless(seen: Seen) -> Iterator[Problem]:
    """Report that no majority of the store's servers, or of the swarm's managers, is left, if probes do not start on other hosts.

    Servers of hosts that dropped out may still run, so without such a probe, nothing is wrong.
    """
    site = seen.site
    gone = [name for name in site.servers if name in seen.lost]
    fails = any(problem.id == _NO_PROBE for result in seen.proofs for problem in result.problems)
    if gone and fails and len(site.servers) - len(gone) < site.quorum:
        of, what = site.plane.majority
        evidence = f"the {of} has no majority: {len(gone)} of {len(site.servers)} {what} are on hosts that dropped out: {few(gone)}"
        yield site.plane.leaderless("", evidence)


def drift(seen: Seen) -> Iterator[Problem]:
    """Report differences from the inventory, by step and host. Those that can follow from a cause are reported one by one."""
    explainable = {name for cause in causes.CAUSES.values() for name in cause.drifts} | {"engine-uses", "engine-leaves"}
    for outcome in seen.outcomes:
        if outcome.state is not State.DRIFTED:
            continue
        missing = _ENGINES if outcome.step == _ENGINES else ""
        rest = [each for each in outcome.drifts if not {each.kind, each.target} & explainable]
        alone = [each for each in outcome.drifts if each not in rest]
        for drifts in (*([each] for each in alone), *([rest] if rest else [])):
            names = list(dict.fromkeys(map(wording.what, drifts)))
            evidence = f"{outcome.host}: {outcome.step}: {few(names)}"
            kind, target = (drifts[0].kind.value, drifts[0].target) if drifts is not rest else (missing, "")
            values = {"kind": kind, "target": target}
            yield Problem("drift", outcome.host, evidence, values, where=f"step {outcome.step}")


def unexplained(seen: Seen) -> Iterator[Problem]:
    """Report failed proofs without a known cause."""
    for result in seen.proofs:
        if result.state is State.FAILED and not result.problems:
            hosts: dict[str, list[str]] = defaultdict(list)
            for pair in result.pairs:
                if not pair.proven:
                    hosts[pair.source].append(f"{pair.source} > {pair.target}: {pair.detail}")
            for check in result.checks:
                if not check.proven:
                    hosts[check.host].append(f"{check.way}: {check.detail}")
            failures = [text for texts in hosts.values() for text in texts]
            evidence = (
                f"{result.proof} on {result.network} failed: {'; '.join(failures[:_SHOWN]) or result.error[:300]}"
            )
            yield Problem("unexplained", next(iter(hosts)) if len(hosts) == 1 else "", evidence, network=result.network)


DETECTORS = (lost, leaderless, drift, unexplained)
