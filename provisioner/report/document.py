"""The report as one JSON document, for programs. docs/json.md describes it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from provisioner import causes, wording
from provisioner.model import Check, Diagnosis, Drift, Failure, Pair, PortSeen, Problem, ProofResult
from provisioner.report import failures, words
from provisioner.report.next_steps import next_steps
from provisioner.report.verdict import proven, verdict

if TYPE_CHECKING:
    from provisioner.model import Report

_DIGITS: Mapping[type, Mapping[str, int]] = {  # decimals of numbers
    Pair: {"rtt": 6, "throughput": 1, "longest_gap": 3},
    PortSeen: {"seconds": 6},
}
VERSION = 1  # increased if a field is renamed, removed or changes its meaning; not if one is added


def to_json(report: Report) -> str:
    """Return the report as one JSON document: sorted keys, ASCII only, without secrets."""
    return json.dumps(document(report), sort_keys=True, indent=2, allow_nan=False)


def document(report: Report) -> dict[str, Any]:
    """Return the report as plain values, from which all files are made. Its fields are a contract."""
    whole = {**_fields(report), "version": VERSION, "proven": proven(report), "verdict": verdict(report)}
    steps = [dataclasses.asdict(step) for step in next_steps(report)]
    return whole | {"failures": failures.document(report), "next": steps}


def _fields(value: object) -> dict[str, object]:
    if isinstance(value, Problem):
        return _of_problem(value)
    if isinstance(value, Diagnosis):
        return of_diagnosis(value)
    if not dataclasses.is_dataclass(value):
        raise TypeError(f"{type(value).__name__} can't be part of a report")
    plain = {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Drift):
        plain |= {"what": words.block(wording.what(value)), "note": words.block(wording.note(value))}
        for name in ("found", "wanted"):
            plain[name] = "" if value.secret else words.exact(getattr(value, name))
    if isinstance(value, Pair | Check):
        plain["proven"] = value.proven
    for name, digits in _DIGITS.get(type(value), {}).items():
        measured = getattr(value, name)
        plain[name] = None if measured is None else round(measured, digits)
    if isinstance(value, ProofResult):
        plain |= {"name": words.block(value.name), "pairs_with_data": value.with_data}
    return plain


def _of_problem(problem: Problem) -> dict[str, object]:
    """Return a problem with its evidence and the catalogue's entry of its cause."""
    cause = causes.of(problem)
    return {
        "check": problem.id,
        "host": words.block(problem.host),
        "what": words.block(problem.evidence),
        "cure": words.block(causes.cure(problem)),
        "severity": causes.severity(problem).value,
        "title": cause.title,
        "why": cause.why,
        "kind": cause.kind.value,
        "fixable": causes.by_up(problem),
        "target": words.block(problem.target),
        "network": words.block(problem.network),
    }


def of_diagnosis(found: Diagnosis) -> dict[str, object]:
    """Return a found cause. Its fields are a contract: see docs/json.md."""
    cause = causes.CAUSES[found.id]
    warns = causes.warns(found)
    path = found.path
    fixable = any(
        causes.by_up(problem) or (problem.variant in cause.fixes and not problem.after) for problem in found.problems
    )
    return {
        "id": found.id,
        "severity": "warning" if warns else "error",
        "title": cause.title,
        "hosts": [words.block(name) for name in found.hosts],
        "path": {"from": words.block(path[0]), "to": words.block(path[1])} if path else None,
        "network": words.block(found.network) or None,
        "where": words.block(found.where),
        "evidence": [words.block(text) for text in found.evidence],
        "why": cause.why,
        "cure": [words.block(text) for text in cures(found)],
        "advice": [words.block(text) for text in advice(found)],
        "commands": [words.block(text) for text in commands(found)],
        "consequences": list(dict.fromkeys(problem.id for problem in found.explained)),
        "fixable": fixable,
        "explains": found.pairs or len(found.explained),
    }


def cures(found: Diagnosis) -> list[str]:
    """Return the cure of a found cause: commands if there are any, else texts."""
    return commands(found) or advice(found)


def commands(found: Diagnosis) -> list[str]:
    return list(dict.fromkeys(command for problem in found.problems for command in causes.to_run(problem)))


def advice(found: Diagnosis) -> list[str]:
    return list(dict.fromkeys(causes.cure(problem) for problem in found.problems))


def _plain(value: object) -> object:
    match value:
        case bool() | int() | None:
            return value
        case float():
            return round(value, 3)
        case str():
            return words.block(value)
        case Failure():
            return words.block(value.text)
        case Mapping():
            return {words.line(str(key)): _plain(item) for key, item in value.items()}
        case tuple() | list():
            return [_plain(item) for item in value]
    return _fields(value)
