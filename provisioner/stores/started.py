"""With what a running server was started: its unit and configuration, as the unit has copied them at its start."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from provisioner.system.strict import json_object

if TYPE_CHECKING:
    from collections.abc import Collection

    from provisioner.stores.values import Service


def loaded_otherwise(loaded: str, service: Service, unread: Collection[str]) -> bool:
    """Whether a server was started with another unit or JSON configuration than its service has.

    loaded: unit and configuration as they were at its start. unread: keys that it does not read any more.
    """
    config, unit = (file.text for file in service.files)
    old_unit, old = at_its_start(loaded)
    new = json_object(config)
    return as_run(old_unit) != as_run(unit) or any(old.get(key) != new.get(key) for key in {*old, *new} - set(unread))


def as_run(unit: str) -> str:
    """What a running server can differ by: neither comments nor how the copy is made of what it was started with."""
    return re.sub(r"^(?:#|ExecStartPre=).*\n", "", unit, flags=re.MULTILINE)


def at_its_start(loaded: str) -> tuple[str, dict[str, Any]]:
    """A server's unit and JSON configuration as they were then; ("", {}) where that is not known."""
    unit, brace, config = loaded.partition("\n{")  # however the file goes on: it may have been another's
    return (unit + "\n", json_object("{" + config)) if brace else ("", {})
