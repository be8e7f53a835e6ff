"""What a running server was started with: its unit and configuration, which the unit copies at every start."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from provisioner.system.strict import json_object

if TYPE_CHECKING:
    from collections.abc import Collection

    from provisioner.stores.values import Service


def needs_restart(loaded: str, service: Service, unread: Collection[str]) -> bool:
    """Whether a server was started with another unit or JSON configuration than its service has.

    loaded: unit and configuration at its start. unread: keys that the running server ignores.
    """
    config, unit = (file.text for file in service.files)
    old_unit, old = split_copy(loaded)
    new = json_object(config)
    return effective(old_unit) != effective(unit) or any(
        old.get(key) != new.get(key) for key in {*old, *new} - set(unread)
    )


def effective(unit: str) -> str:
    """Remove the lines that don't affect a running server: comments, and the commands that make the copy."""
    return re.sub(r"^(?:#|ExecStartPre=).*\n", "", unit, flags=re.MULTILINE)


def split_copy(loaded: str) -> tuple[str, dict[str, Any]]:
    """Split the copy into the server's unit and JSON configuration; ("", {}) if it is not such a copy."""
    unit, brace, config = loaded.partition("\n{")  # the JSON may have any layout: somebody else may have written it
    return (unit + "\n", json_object("{" + config)) if brace else ("", {})
