"""Every error of a run, with its place and the id of its entry in the catalogue of causes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from provisioner import causes
from provisioner.errors import with_inventory
from provisioner.model import Failure, State
from provisioner.report import words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provisioner.model import Report


@dataclass(frozen=True, slots=True)
class Failed:
    """One error. host: "" if it concerns the whole run. step: "" if no step raised it."""

    host: str
    step: str
    why: Failure
    lost: bool = False


def failures(report: Report) -> Iterator[Failed]:
    """Yield the errors of steps, of lost hosts, and of the whole run. Proofs have problems instead."""
    for outcome in report.outcomes:
        if outcome.state is State.FAILED:
            text = outcome.error or outcome.reason or "no reason given"
            yield Failed(outcome.host, outcome.step, Failure(text, outcome.check))
    for host, why in report.lost.items():
        yield Failed(host, "", why, lost=True)
    for why in report.errors:
        yield Failed("", "", why)


def document(report: Report) -> list[dict[str, object]]:
    """Return each error once, for the JSON document. A host that dropped out for a failed step has only its error."""
    found = list(failures(report))
    of_steps = {(each.host, each.why.check) for each in found if each.step}
    return [
        _entry(each, report.call.inventory)
        for each in found
        if not (each.lost and (each.host, each.why.check) in of_steps)
    ]


def _entry(failed: Failed, inventory: str) -> dict[str, object]:
    cause = causes.CAUSES.get(failed.why.check)
    return {
        "check": words.line(failed.why.check),
        "host": words.block(failed.host),
        "step": words.block(failed.step),
        "what": words.block(failed.why.text),
        "title": cause.title if cause else "",
        "why": cause.why if cause else "",
        "cure": words.block(with_inventory(causes.template(cause.cure), inventory)) if cause else "",
        "kind": cause.kind.value if cause else "",
    }
