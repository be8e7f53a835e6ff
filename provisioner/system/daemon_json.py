"""The engine's configuration file, read the way the engine reads it."""

from __future__ import annotations

import json
from typing import Any

from provisioner.errors import StepFailed
from provisioner.system.reading import DAEMON_JSON


def parse(host: str, text: str) -> dict[str, Any]:
    """daemon.json as an object; an absent or empty file is {}. Raises StepFailed on what the engine could not read."""
    if not text.strip():
        return {}
    try:
        value = json.loads(text, object_pairs_hook=_unique)
    except ValueError as error:
        raise StepFailed(
            f"{DAEMON_JSON} is not valid JSON: {error}",
            host=host,
            cure=f"mend it by hand (python3 -m json.tool {DAEMON_JSON}); it was not touched",
        ) from None
    if not isinstance(value, dict):
        raise StepFailed(f"{DAEMON_JSON} is not an object", host=host, cure="mend it by hand; it was not touched")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    if twice := sorted({key for key in keys if keys.count(key) > 1}):
        raise ValueError(f"{twice[0]} is there twice")
    return dict(pairs)
