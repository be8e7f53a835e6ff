"""The report as JUnit XML, which CI systems show: a test case for each cause, proof, step and error. Pure: made from the document.

A test case fails only if the run's exit code is not 0: warnings pass, with their text as output. A skipped one has its reason.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_FORBIDDEN = re.compile("[^\\t\\n\\r\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")  # in XML 1.0, section 2.2
_EVENTS = {
    "name": "name not resolved",
    "address": "address not reached",
    "by_name": "not reached by name",
    "alias": "alias not resolved",
    "full": "no packet of full size",
}
_TRANSFERS = {"corrupt": "data changed on the way", "stalled": "transfer stalled", "dropped": "connection dropped"}
_GOOD = ("settled", "converged")


@dataclass(frozen=True, slots=True)
class Case:
    """One test case. kind: "", "failure", "error" or "skipped". message: one line. text: all that is known; of a good case, too."""

    group: str
    name: str
    kind: str = ""
    message: str = ""
    text: str = ""
    seconds: float = 0.0
    type: str = ""


def to_junit(document: Mapping[str, Any]) -> str:
    """Return the document of a run (document.py) as JUnit XML."""
    suites = {
        "run": [_verdict(document), *_errors(document)],
        "causes": list(_causes(document)),
        "fixes": list(_fixes(document)),
        "checks": [*_findings(document), *_looked_at(document)],
        "steps": list(_steps(document)),
    }
    for proof in document["proofs"]:
        suites[f"proof {proof['name']}"] = list(_proof(proof))
    root = ET.Element("testsuites", name=_xml(f"provisioner {document['command']}"))
    _count(root, [case for cases in suites.values() for case in cases], document["seconds"])
    for name, cases in suites.items():
        if cases:
            root.append(_suite(name, cases))
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


# -- test cases --------------------------------------------------------------------------------------------------------


def _verdict(document: Mapping[str, Any]) -> Case:
    code, verdict = document["exit_code"], document["verdict"]
    kind = "failure" if code else ""
    return Case(
        "run", document["command"], kind, verdict, f"{verdict}\nexit code: {code}", document["seconds"], "verdict"
    )


def _errors(document: Mapping[str, Any]) -> Iterator[Case]:
    """The errors that belong to no step: of hosts that dropped out, and of the whole run."""
    for failed in document["failures"]:
        if not failed["step"]:
            text = _lines(failed["what"], why=failed["why"], cure=failed["cure"])
            yield Case(
                "run", failed["host"] or "whole run", "error", _first(failed["what"]), text, type=failed["check"]
            )


def _causes(document: Mapping[str, Any]) -> Iterator[Case]:
    for cause in document["causes"]:
        place = place_of(cause)
        text = _lines(
            *(f"seen: {seen}" for seen in cause["evidence"]),
            where=cause["where"],
            why=cause["why"],
            cure="\n  ".join(cause["cure"]),
        )
        warns = cause["severity"] == "warning"
        message = f"{cause['title']}: {place}"
        yield Case("causes", f"{cause['id']}: {place}", "" if warns else "failure", message, text, type=cause["id"])


def place_of(cause: Mapping[str, Any]) -> str:
    """Return where a cause is: a path, hosts, or the whole cluster; and the network."""
    path = cause["path"]
    place = f"{path['from']} > {path['to']}" if path else ", ".join(cause["hosts"]) or "the whole cluster"
    return f"{place} (network {cause['network']})" if cause["network"] else place


def _fixes(document: Mapping[str, Any]) -> Iterator[Case]:
    for fix in document["fixes"]:
        kind = {"converged": "", "failed": "failure"}.get(fix["state"], "skipped")
        text = _lines(fix["error"] or fix["reason"], commands="\n  ".join(fix["commands"]))
        name = f"{fix['cause']}: {fix['host'] or 'the whole cluster'}"
        yield Case("fixes", name, kind, _first(fix["error"] or fix["reason"]), text, type=fix["cause"])


def _findings(document: Mapping[str, Any]) -> Iterator[Case]:
    """The findings of checks that are not among the causes."""
    known = {(cause["id"], host) for cause in document["causes"] for host in (cause["hosts"] or [""])}
    for found in document["findings"]:
        if (found["check"], found["host"]) not in known:
            text = _lines(found["what"], why=found["why"], cure=found["cure"])
            kind = "" if found["severity"] == "warning" else "failure"
            name = f"{found['check']}: {found['host'] or 'the whole cluster'}"
            yield Case("checks", name, kind, _first(found["what"]), text, type=found["check"])


def _looked_at(document: Mapping[str, Any]) -> Iterator[Case]:
    """What was observed without a finding. The measurements are the output, so that the name is always the same."""
    for text in document["looked_at"]:
        name, _, rest = text.partition(": ")
        yield Case("checks", name, text=rest)


def _steps(document: Mapping[str, Any]) -> Iterator[Case]:
    for outcome in document["outcomes"]:
        state = outcome["state"]
        kind = "" if state in _GOOD else "skipped" if state == "skipped" else "failure"
        differs = [
            f"differs: {drift['what']}" + (f" ({drift['note']})" if drift["note"] else "")
            for drift in outcome["drifts"]
        ]
        said = outcome["error"] or outcome["reason"]
        text = _lines(said, *(differs if kind else ()))
        message = _first(said or "; ".join(differs) or state)
        group = f"steps.{outcome['step']}"
        yield Case(
            group, outcome["host"], kind, message, text if kind else "", outcome["seconds"], outcome["check"] or state
        )


def _proof(proof: Mapping[str, Any]) -> Iterator[Case]:
    """The pairs and checks of a proof. The proof itself is a case if it has none, or failed as a whole."""
    group = f"proofs.{proof['name']}"
    cases = [*(_pair(group, pair) for pair in proof["pairs"]), *(_check(group, check) for check in proof["checks"])]
    failed = proof["state"] == "failed"
    if not cases or (failed and not any(case.kind for case in cases)):
        kind = "failure" if failed else "skipped" if proof["state"] == "skipped" else ""
        said = proof["error"] or proof["reason"] or proof["state"]
        causes = [_lines(found["what"], why=found["why"], cure=found["cure"]) for found in proof["problems"]]
        cases.insert(
            0, Case(group, proof["name"], kind, _first(said), _lines(said, *causes), proof["seconds"], "proof")
        )
    yield from cases


def _pair(group: str, pair: Mapping[str, Any]) -> Case:
    failed = failures_of(pair)
    message = ", ".join(failed)
    times = [pair[event] for event in _EVENTS if pair[event] is not None]
    text = _lines(message, pair["detail"]) if failed else ""
    return Case(
        group,
        f"{pair['source']} > {pair['target']}",
        "failure" if failed else "",
        message,
        text,
        max(times, default=0.0),
        "pair",
    )


def failures_of(pair: Mapping[str, Any]) -> list[str]:
    """Return what failed between two hosts, in words. What follows from another failure is left out."""
    failed = [event for event in _EVENTS if pair[event] is None]
    follows = {"by_name": {"name", "address"}, "alias": {"name"}}
    found = [_EVENTS[event] for event in failed if not follows.get(event, set()) & set(failed)]
    transfer = _TRANSFERS.get(pair.get("transfer", ""))
    found += [transfer] if transfer else []
    return found or ([] if pair["proven"] else ["not proven"])


def _check(group: str, check: Mapping[str, Any]) -> Case:
    place = f"{check['host']} > {check['target']}" if check["target"] else check["host"]
    kind, detail = ("", "") if check["proven"] else ("failure", check["detail"] or "not seen")
    return Case(group, f"{check['what']}: {place}", kind, _first(detail), detail, check["seconds"] or 0.0, "check")


# -- XML ---------------------------------------------------------------------------------------------------------------


def _suite(name: str, cases: list[Case]) -> ET.Element:
    suite = ET.Element("testsuite", name=_xml(name))
    _count(suite, cases, sum(case.seconds for case in cases))
    for case in cases:
        element = ET.SubElement(
            suite, "testcase", classname=_xml(case.group), name=_xml(case.name) or "-", time=f"{case.seconds:.3f}"
        )
        if case.kind == "skipped":
            ET.SubElement(element, "skipped", message=_xml(case.message))
        elif case.kind:
            ET.SubElement(element, case.kind, message=_xml(case.message), type=_xml(case.type)).text = _xml(case.text)
        elif case.text:
            ET.SubElement(element, "system-out").text = _xml(case.text)
    return suite


def _count(element: ET.Element, cases: list[Case], seconds: float) -> None:
    element.set("tests", str(len(cases)))
    for name, kind in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        element.set(name, str(sum(case.kind == kind for case in cases)))
    element.set("time", f"{seconds:.3f}")


def _xml(text: str) -> str:
    """Return the text without the characters that XML can't contain. ElementTree escapes the others."""
    return _FORBIDDEN.sub("\ufffd", text)


def _lines(*texts: str, **labelled: str) -> str:
    return "\n".join([*filter(None, texts), *(f"{label}: {text}" for label, text in labelled.items() if text)])


def _first(text: str) -> str:
    return next(iter(text.strip().splitlines()), "")
