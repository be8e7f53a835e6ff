"""The inventory's form as JSON Schema, for editors."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pydantic.json_schema import GenerateJsonSchema

from provisioner.inventory.models import InventoryFile

if TYPE_CHECKING:
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import core_schema


class _Generator(GenerateJsonSchema):
    """Optional keys are omitted, never null. So the schema has no null and no null defaults."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        if schema.get("default", ...) is None:
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        """Require names to match their pattern."""
        return super().dict_schema(schema) | {"additionalProperties": False}


def generate() -> dict[str, Any]:
    """Return the schema, draft 2020-12. It can't check values against one another; `inventory check` does."""
    schema = InventoryFile.model_json_schema(schema_generator=_Generator)
    return {"$schema": _Generator.schema_dialect, **schema, "title": "Inventory of provisioner"}


def as_text(schema: dict[str, Any]) -> str:
    """Return the schema as in inventories/schema.json."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
