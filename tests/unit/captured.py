"""Facts of real hosts, captured by system/capture.py, and functions that change them for a test."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from provisioner.system.facts import Facts, parse

if TYPE_CHECKING:
    from collections.abc import Mapping

CAPTURES = Path(__file__).parent / "system" / "captures"
HOSTS = ("node1", "node2", "node3")


@cache
def capture(name: str) -> Facts:
    return parse((CAPTURES / f"{name}.txt").read_bytes())


def printed(raw: Mapping[str, str]) -> bytes:
    """Sections as `reading.script()` prints them."""
    bodies = ((name.encode(), text.encode()) for name, text in raw.items())
    sections = b"".join(b"%s %d\n%s\n" % (name, len(body), body) for name, body in bodies)
    return b"provisioner-facts\n%send %d\n" % (sections, len(sections))


def with_file(facts: Facts, path: str, text: str) -> Facts:
    """Facts with another text in a file; without the file if the text is empty."""
    kept = [line for line in facts.raw["files"].split("\n") if line and not line.startswith(f"{path}:")]
    added = [f"{path}:{line}" for line in text.removesuffix("\n").split("\n")] if text else []
    return with_raw(facts, files="\n".join([*kept, *added]) + "\n")


def with_raw(facts: Facts, **sections: str) -> Facts:
    return replace(facts, raw={**facts.raw, **sections})


def with_sum(facts: Facts, path: str, digest: str) -> Facts:
    """Facts with another SHA-256 sum of a file."""
    kept = [line for line in facts.raw.get("sums", "").split("\n") if line and not line.endswith(f"  {path}")]
    return with_raw(facts, sums="\n".join([*kept, f"{digest}  {path}"]) + "\n")


def with_http(facts: Facts, name: str, answer: object) -> Facts:
    """Facts with another answer of the engine or Consul. answer: a raw text, or a value for JSON with code 200."""
    text = answer if isinstance(answer, str) else f"200 {json.dumps(answer)}"
    return replace(facts, raw={**facts.raw, f"http:{name}": text})


def container(name: str, *networks: str, **more: object) -> dict[str, object]:
    """A container on these networks, as an engine lists it."""
    return {"Id": name * 3, "Names": [f"/{name}"], "NetworkSettings": {"Networks": {n: {} for n in networks}}, **more}


def endpoint(name: str, host: str, network: str = "") -> dict[str, str]:
    """An endpoint, as in Consul. host: the address that its host advertises. network: an ID, by default demo's."""
    value = json.dumps({"name": name, "locator": host, "id": "e1"})
    key = f"docker/network/v1.0/endpoint/{network or capture('settled-node1').networks['demo']['Id']}/e1/"
    return {"Key": key, "Value": base64.b64encode(value.encode()).decode()}


def with_info(facts: Facts, **keys: object) -> Facts:
    return with_http(facts, "info", {**facts.engine, **keys})


def with_system(facts: Facts, key: str, value: str | None) -> Facts:
    """Facts with another value in the section `system`; without the line if the value is None."""
    lines = facts.raw["system"].split("\n")
    kept = [line for line in lines if not line.startswith(key)]
    return with_raw(facts, system="\n".join([*([] if value is None else [key + value]), *kept]))


def with_unit(facts: Facts, unit: str, **keys: str) -> Facts:
    """Facts with other properties of a unit. keys: systemctl's names."""
    blocks = facts.raw["units"].split("\n\n")
    at = next(
        number for number, block in enumerate(blocks) if re.search(rf"^Id={re.escape(unit)}$", block, re.MULTILINE)
    )
    for key, value in keys.items():
        old = re.compile(rf"^{key}=.*$", re.MULTILINE)
        if not old.search(blocks[at]):
            raise AssertionError(f"{unit} has no {key}")
        blocks[at] = old.sub(lambda _, line=f"{key}={value}": line, blocks[at])
    return with_raw(facts, units="\n\n".join(blocks))
