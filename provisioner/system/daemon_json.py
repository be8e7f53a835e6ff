"""The engine's configuration file, parsed as the engine parses it."""

from __future__ import annotations

from typing import Any

from provisioner.errors import StepFailed
from provisioner.system import strict
from provisioner.system.reading import DAEMON_JSON


def parse(host: str, text: str) -> dict[str, Any]:
    """Parse daemon.json; an absent or empty file is {}. Raises StepFailed if the engine could not parse it."""
    if not text.strip():
        return {}
    try:
        value = strict.value(text)
    except ValueError as error:
        raise StepFailed(
            f"{DAEMON_JSON} is not valid JSON: {error}",
            cause="daemon-json-broken",
            host=host,
            cure=f"repair it by hand (python3 -m json.tool {DAEMON_JSON}); the run did not touch it",
        ) from None
    if not isinstance(value, dict):
        raise StepFailed(
            f"{DAEMON_JSON} is not a JSON object",
            cause="daemon-json-broken",
            host=host,
            cure="repair it by hand; the run did not touch it",
        )
    return value
