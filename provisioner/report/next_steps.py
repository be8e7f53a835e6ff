"""The next steps after a run, as commands that can be typed. Pure. One function for each reason, in the order of `_REASONS`."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text

from provisioner import causes
from provisioner.causes.proofs import SYMPTOMS
from provisioner.model import Action, Kind, State
from provisioner.report import words
from provisioner.report.paper import HEAD, QUIET, widest
from provisioner.report.plan import is_repairable, is_summed_up
from provisioner.report.verdict import hosts_that_drifted, proven, stopped, stops, tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from provisioner.model import Drift, ProofResult, Report

_DEAD = frozenset({"host-unreachable", "ssh-closed", "address-unresolved", "connection-lost", "timed-out"})
_NO_MAJORITY = frozenset(
    {"quorum-lost", "no-host-left", "swarm-may-exist"}
)  # errors with which no command can change anything
_VAGUE = SYMPTOMS | {"unexplained"}
_LIMITED = ("plan", "up", "verify", "doctor")  # the commands that have --limit
_FAILED = 1
_WIDEST = 70  # columns of a command, beyond which the comment of another one does not move


@dataclass(frozen=True, slots=True)
class NextStep:
    """run: a command. why: what it does, or when it is the right one."""

    run: str
    why: str


def next_steps(report: Report) -> tuple[NextStep, ...]:
    """Return the next steps; () if nothing is left to do, or if the findings and errors alone say what to do."""
    if report.call.manager:
        return tuple(_imported(report))
    if not report.call.inventory:
        return ()
    reasons = (_again,) if {error.check for error in report.errors} & _NO_MAJORITY else _REASONS
    found = [step for reason in reasons for step in reason(report)]
    return tuple({step.run: step for step in reversed(found)}.values())[::-1]


def shown(report: Report) -> list[Text]:
    """Return the section of next steps. A command is never broken, so that it can be copied; its comment may be copied, too."""
    steps = next_steps(report)
    width = widest((step.run for step in steps), _WIDEST)
    lines = [Text.assemble(f"  {words.line(step.run).ljust(width)}", (f"  # {step.why}", QUIET)) for step in steps]
    return [Text(), Text("next", HEAD), *lines] if lines else []


def _command(report: Report, *parts: str) -> str:
    call = report.call
    limit = ["--limit", shlex.quote(",".join(report.limit))] if report.limit and parts[0] in _LIMITED else []
    beyond = bool(limit) and (_too_narrow(report) or "--recreate" in parts)
    command = ["provisioner", *parts, *([] if beyond else limit), *call.options, shlex.quote(call.inventory)]
    return " ".join([*_within(report), *command])


def _within(report: Report) -> list[str]:
    name = report.call.lab_name
    return ["provisioner", "lab", "run", "--name", shlex.quote(name), "--"] if name else []


def _too_narrow(report: Report) -> bool:
    """Whether `--limit` leaves out hosts that the changes need."""
    return any(error.check == "beyond-limit" for error in report.errors)


def _planned(report: Report) -> Iterator[NextStep]:
    makes = report.call.makes
    if report.command != "plan" or not makes:
        return
    if _too_narrow(report):
        yield NextStep(_command(report, "plan"), "shows the changes of all hosts")
    elif hosts_that_drifted(report) and not stopped(report):
        yield NextStep(_command(report, makes), "makes these changes")
    elif report.exit_code == 0 and makes == "up":
        yield NextStep(_command(report, "verify"), "proves the networks")
    if is_summed_up(report) and not report.call.diff:
        again = "plan" if makes == "up" else f"{makes} --plan"
        yield NextStep(_command(report, again, "--diff"), "shows whole files and rules")


def _repaired(report: Report) -> Iterator[NextStep]:
    """`up` repairs drift. Where it explains what failed, look no further."""
    if report.command not in ("verify", "doctor", "remove"):
        return
    drifts = [drift for outcome in report.outcomes if outcome.state is State.DRIFTED for drift in outcome.drifts]
    pairs = sum(found.pairs for found in report.causes if found.id == "drift")
    failed = words.count(pairs, "failed pair or check", "failed pairs and checks")
    if is_repairable(report):
        yield NextStep(_command(report, "up"), f"repairs what differs{f', which explains {failed}' if pairs else ''}")
    for network in dict.fromkeys(_network(drift) for drift in drifts if drift.held):
        yield NextStep(_command(report, "up", "--recreate", network), "recreates the network, if no container uses it")


def _network(drift: Drift) -> str:
    return shlex.quote(drift.target if drift.kind is Kind.NETWORK else drift.of)


def _fixed(report: Report) -> Iterator[NextStep]:
    if report.fixes or not report.causes:
        return
    from provisioner.explain import fixes  # takes a while to import

    if fixes.plan(report.causes):
        yield NextStep(_command(report, "doctor", "--fix"), "runs the cures that are safe, each after a question")


def _unknown(report: Report) -> Iterator[NextStep]:
    """If a proof failed, nothing explains it, and the paths were not observed, `doctor` is the next step."""
    failed = any(proof.state is State.FAILED for proof in report.proofs)
    known = any(found.pairs for found in report.causes if found.id not in _VAGUE)
    if report.command != "doctor" and failed and not known and not report.paths:
        yield NextStep(_command(report, "doctor"), "observes hosts and paths, and names the cause")


def _imported(report: Report) -> Iterator[NextStep]:
    """Some cures need an inventory, which a swarm that somebody else built does not have."""
    cures = [causes.cure(problem) for found in report.causes for problem in found.problems]
    if any("inventory" in cure.lower() for cure in cures):
        command = [
            "provisioner",
            "inventory",
            "import",
            "swarm",
            report.call.manager,
            *report.call.options,
            ">cluster.yml",
        ]
        yield NextStep(" ".join([*_within(report), *command]), "writes the inventory that cures name")


def _silent(report: Report) -> Iterator[NextStep]:
    if report.command != "status":
        return
    states = {each.engine_state for each in report.summaries if each.reached}
    begun = any(network.wanted for each in report.summaries for network in each.all_networks)
    if states - {"running", "absent", ""} or any(each.silent for each in report.summaries if each.reached):
        yield NextStep(_command(report, "doctor"), "names the cause")
    elif report.exit_code == 0 and begun and "absent" not in states:
        yield NextStep(_command(report, "verify"), "proves the networks")
    elif report.exit_code == 0:
        yield NextStep(_command(report, "plan"), "shows what `up` would set up")


def _dead(report: Report) -> Iterator[NextStep]:
    if report.command in ("down", "remove") or report.removed or report.lost.keys() >= set(report.hosts):
        return  # without another host, nobody can remove it
    for host, why in report.lost.items():
        if why.check in _DEAD and len(report.hosts) > 1:
            name = shlex.quote(host)
            yield NextStep(_command(report, "remove", name), f"only if {words.line(host)} is gone for good")


def _again(report: Report) -> Iterator[NextStep]:
    """`up` continues where it stopped."""
    if report.command == "up" and report.exit_code == _FAILED and (report.errors or report.lost or stops(report)):
        yield NextStep(_command(report, "up"), "continues, once this is fixed")


def _used(report: Report) -> Iterator[NextStep]:
    """After the first `up`: containers on a network that this run created and proved."""
    if report.command != "up" or not proven(report) or report.call.lab:
        return
    drifts = [drift for outcome in report.outcomes if outcome.state is State.CONVERGED for drift in outcome.drifts]
    created = {drift.target for drift in drifts if (drift.kind, drift.action) == (Kind.NETWORK, Action.CREATE)}
    proof = next((each for each in report.proofs if each.proof == "overlay" and each.network in created), None)
    if proof:
        yield from _containers(proof, report)


def _containers(proof: ProofResult, report: Report) -> Iterator[NextStep]:
    network = shlex.quote(proof.network)
    first, *others = tally(proof, report).hosts or [check.host for check in proof.checks]
    yield NextStep(f"docker run -d --name web --network {network} nginx", f"on {words.line(first)}: a first container")
    for other in others[:1]:
        why = f"on {words.line(other)}: reaches it by name"
        yield NextStep(f"docker run --rm --network {network} alpine ping -c 3 web", why)


_REASONS: tuple[Callable[[Report], Iterator[NextStep]], ...] = (
    _planned,
    _repaired,
    _fixed,
    _unknown,
    _silent,
    _dead,
    _again,
    _used,
)
