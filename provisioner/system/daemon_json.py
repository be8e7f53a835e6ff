"""The engine's configuration file, read the way the engine reads it."""

from __future__ import annotations

from typing import Any

from provisioner.errors import StepFailed
from provisioner.system import strict
from provisioner.system.reading import DAEMON_JSON


def parse(host: str, text: str) -> dict[str, Any]:
    """daemon.json as an object; an absent or empty file is {}. Raises StepFailed on what the engine could not read."""
    if not text.strip():
        return {}
    try:
        value = strict.value(text)
    except ValueError as error:
        raise StepFailed(
            f"{DAEMON_JSON} is not valid JSON: {error}",
            host=host,
            cure=f"mend it by hand (python3 -m json.tool {DAEMON_JSON}); it was not touched",
        ) from None
    if not isinstance(value, dict):
        raise StepFailed(f"{DAEMON_JSON} is not an object", host=host, cure="mend it by hand; it was not touched")
    return value
