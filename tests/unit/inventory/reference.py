"""Generates inventories/schema.json and the tables of docs/inventory.md from the inventory's schema.

`python tests/unit/inventory/reference.py` writes both. A test fails if they are stale.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from provisioner.inventory import schema
from provisioner.inventory.json_schema import as_text

ROOT = Path(__file__).parents[3]
SCHEMA = ROOT / "inventories" / "schema.json"
DOCS = ROOT / "docs" / "inventory.md"
BEGIN = "<!-- from here on generated from the schema -->\n"
END = "<!-- to here -->\n"


def tables() -> str:
    """A heading and a table for the file and for each of its parts, in the order of the file."""
    whole = schema()
    parts = whole["$defs"]
    order = [
        ("The file", whole),
        ("`ssh`", parts["Ssh"]),
        ("A host", parts["Host"]),
        ("`store`", parts["Store"]),
        ("`store.tls`", parts["Tls"]),
        ("`store.discovery`", parts["Discovery"]),
        ("`store.security`", parts["Security"]),
        ("`dns`", parts["Dns"]),
        ("A plugin", parts["PluginEntry"]),
        ("`plugins.NAME.tls`", parts["PluginTls"]),
        ("`swarm`", parts["SwarmPart"]),
        ("`swarm.default_addr_pool`", parts["AddressPool"]),
        ("A network", parts["NetworkEntry"]),
    ]
    return "\n".join(_table(title, part) for title, part in order)


def _table(title: str, part: dict[str, Any]) -> str:
    lines = [f"## {title}\n", f"{part['description']}\n", "| key | default | description |", "|---|---|---|"]
    for key, entry in part["properties"].items():
        state = "required" if key in part.get("required", ()) else _default(entry)
        lines.append(f"| `{key}` | {state} | {entry['description']}{_example(entry)} |")
    return "\n".join(lines) + "\n"


def _default(entry: dict[str, Any]) -> str:
    if "default" not in entry:
        return ""
    value = entry["default"]
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def _example(entry: dict[str, Any]) -> str:
    examples = [
        value
        for value in entry.get("examples", ())
        if isinstance(value, str) and f"`{value}`" not in entry["description"]
    ]
    return f" Example: `{examples[0]}`." if examples else ""


def documentation(text: str) -> str:
    """The text of docs/inventory.md with current tables."""
    head, rest = text.split(BEGIN)
    _, tail = rest.split(END)
    return f"{head}{BEGIN}\n{tables()}\n{END}{tail}"


if __name__ == "__main__":
    SCHEMA.write_text(as_text(schema()), encoding="utf-8")
    DOCS.write_text(documentation(DOCS.read_text(encoding="utf-8")), encoding="utf-8")
