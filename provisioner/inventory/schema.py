"""The inventory's form as JSON Schema, for editors."""

from __future__ import annotations

from typing import Any

from provisioner.inventory.models import InventoryFile


def generate() -> dict[str, Any]:
    """JSON Schema, draft 2020-12."""
    return InventoryFile.model_json_schema()
