"""The report as one HTML page, without scripts and without anything from the network. Pure: made from the document.

templates/report.html.j2 is the page, templates/report.css its style. Every value is escaped, and stripped of characters that reorder
or hide text. The page's Content-Security-Policy allows this style alone.
"""

from __future__ import annotations

import base64
import difflib
import hashlib
from functools import cache
from typing import TYPE_CHECKING, Any

import jinja2

from provisioner import render
from provisioner.report import words
from provisioner.report.drawing import cut, drawing
from provisioner.report.grids import grids
from provisioner.report.junit import place_of

if TYPE_CHECKING:
    from collections.abc import Mapping

_LONGEST_NAME = 40  # characters of a host's name in a table
_LONGEST_DIFF = 200  # lines
_BAD = ("failed", "drifted", "pending")
_FACTS = {
    "address": "address",
    "system": "system",
    "engine": "engine",
    "advertise": "advertises",
    "store": "store",
    "store_role": "role",
    "leader": "leader",
    "containers": "running containers",
}


def to_html(document: Mapping[str, Any]) -> str:
    """Return the document of a run (document.py) as an HTML page."""
    clean: dict[str, Any] = harmless(document)
    style = (render.folder() / "report.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    causes = [{**cause, "place": place_of(cause)} for cause in clean["causes"]]
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            report=clean,
            style=style,
            digest=digest,
            mood=_mood(clean),
            causes=causes,
            drawing=drawing(clean),
            grids=grids(clean),
            steps=_steps(clean),
            hosts=[_host(clean, name) for name in clean["hosts"]],
        )
    )


def harmless(value: Any) -> Any:
    """Return a value of the document without control characters, escapes, and characters that reorder or hide text."""
    if isinstance(value, str):
        return words.block(value)
    if isinstance(value, dict):
        return {words.block(str(key)): harmless(item) for key, item in value.items()}
    return [harmless(item) for item in value] if isinstance(value, list) else value


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(render.folder()),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=True,
    )
    environment.filters |= {
        "name": lambda text: cut(text, _LONGEST_NAME),
        "seconds": words.seconds,
        "moment": words.moment,
    }
    return environment


def _mood(document: Mapping[str, Any]) -> str:
    """Return "bad", "warn" or "good", for the colour of the verdict."""
    if document["exit_code"]:
        return "bad"
    return "good" if document["proven"] and not document["causes"] else "warn"


def _steps(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return for each step how many hosts are in which state."""
    found: dict[str, dict[str, list[str]]] = {}
    for outcome in document["outcomes"]:
        found.setdefault(outcome["step"], {}).setdefault(outcome["state"], []).append(outcome["host"])
    everyone = document["hosts"]
    return [
        {
            "name": step,
            "states": [(state, words.hosts(hosts, everyone), state in _BAD) for state, hosts in states.items()],
        }
        for step, states in found.items()
    ]


def _host(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return everything about one host: facts, the numbers of its causes, and how it differs from the inventory."""
    summary = next((each for each in document["summaries"] if each["host"] == name), None)
    numbers = [number for number, cause in enumerate(document["causes"], start=1) if name in cause["hosts"]]
    outcomes = [
        each for each in document["outcomes"] if each["host"] == name and each["state"] not in ("settled", "converged")
    ]
    return {
        "name": name,
        "lost": document["lost"].get(name, ""),
        "line": ", ".join(filter(None, (summary["address"], summary["system"], _engine(summary)))) if summary else "",
        "facts": _facts(summary) if summary else [],
        "networks": summary["all_networks"] if summary else [],
        "numbers": numbers,
        "outcomes": [{**each, "drifts": [_drift(drift) for drift in each["drifts"]]} for each in outcomes],
        "findings": [each for each in document["findings"] if each["host"] == name],
    }


def _engine(summary: Mapping[str, Any]) -> str:
    return f"engine {summary['engine']}" if summary["engine"] else ""


def _facts(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the facts of a host. An empty one is "none", or "unknown" if nobody answered."""
    rows = []
    for field, label in _FACTS.items():
        value = str(summary[field])
        if field in summary["unknown"]:
            value = "unknown"
        elif field in summary["absent"]:
            value = "none"
        if value:
            rows.append((label, value))
    return [*rows, *(("no answer from", what) for what in summary["silent"])]


def _drift(drift: Mapping[str, Any]) -> dict[str, Any]:
    shown = drift["is_file"] and not drift["secret"] and (drift["found"] or drift["wanted"])
    found, wanted = drift["found"].splitlines(), drift["wanted"].splitlines()
    lines = list(difflib.unified_diff(found, wanted, "found", "wanted", lineterm=""))
    more = [f"and {len(lines) - _LONGEST_DIFF} more lines"] if len(lines) > _LONGEST_DIFF else []
    return {
        "what": drift["what"],
        "note": drift["note"],
        "diff": "\n".join(lines[:_LONGEST_DIFF] + more) if shown else "",
    }
