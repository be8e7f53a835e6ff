"""The schema for editors: it is current, accepts every example, and refuses what a schema can refuse."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import reference
import yaml

from provisioner import inventory

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = sorted((Path(__file__).parents[3] / "inventories").glob("*.yml"))
TYPES = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool}
SILENT = {"title", "description", "examples", "default", "$schema", "$defs", "required", "propertyNames", "format"}


def faults(value: Any, form: dict[str, Any], at: str = "") -> Iterator[str]:
    """The errors of a value by the schema. Supports the keywords that the schema uses, and fails on all others."""
    for keyword, rule in form.items():
        if keyword == "$ref":
            yield from faults(value, schema()["$defs"][rule.rsplit("/", 1)[1]], at)
        elif keyword in ("properties", "patternProperties", "additionalProperties"):
            continue
        elif keyword not in SILENT and not HOLDS[keyword](value, rule):
            yield f"{at}: {keyword} {rule}"
    if isinstance(value, dict):
        yield from object_faults(value, form, at)
    for index, item in enumerate(value if isinstance(value, list) and "items" in form else ()):
        yield from faults(item, form["items"], f"{at}[{index}]")


def object_faults(value: dict[str, Any], form: dict[str, Any], at: str) -> Iterator[str]:
    for key in form.get("required", ()):
        if key not in value:
            yield f"{at}: {key} is required"
    for key, inner in value.items():
        yield from faults(key, form.get("propertyNames", {}), f"{at}.{key} (name)")
        shapes = [form["properties"][key]] if key in form.get("properties", {}) else []
        shapes += [s for p, s in form.get("patternProperties", {}).items() if re.search(p, key)]
        if not shapes and form.get("additionalProperties") is False:
            yield f"{at}.{key}: additionalProperties"
        for shape in shapes:
            yield from faults(inner, shape, f"{at}.{key}")


HOLDS: dict[str, Any] = {
    "type": lambda value, rule: isinstance(value, TYPES[rule]) and (rule == "boolean" or not isinstance(value, bool)),
    "enum": lambda value, rule: value in rule,
    "pattern": lambda value, rule: not isinstance(value, str) or re.search(rule, value) is not None,
    "minLength": lambda value, rule: not isinstance(value, str) or len(value) >= rule,
    "maxLength": lambda value, rule: not isinstance(value, str) or len(value) <= rule,
    "minimum": lambda value, rule: not isinstance(value, int | float) or value >= rule,
    "maximum": lambda value, rule: not isinstance(value, int | float) or value <= rule,
    "minItems": lambda value, rule: len(value) >= rule,
    "maxItems": lambda value, rule: len(value) <= rule,
    "uniqueItems": lambda value, _: len(set(value)) == len(value),
    "minProperties": lambda value, rule: len(value) >= rule,
    "not": lambda value, rule: bool(list(faults(value, rule))),
    "anyOf": lambda value, rule: any(not list(faults(value, form)) for form in rule),
    "items": lambda _value, _rule: True,
}

schema = functools.cache(inventory.schema)  # generating it takes longer than all checks of it


def objects(part: Any) -> Iterator[dict[str, Any]]:
    if isinstance(part, dict):
        if part.get("type") == "object":
            yield part
        for key, inner in part.items():
            if key != "examples":
                yield from objects(inner)


def read(text: str) -> Any:
    return yaml.safe_load(text)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_accepts_every_example(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# yaml-language-server: $schema=schema.json\n")
    assert list(faults(read(text), schema())) == []


@pytest.mark.parametrize(
    "change",
    [
        {"colour": "red"},
        {"cluster": "Lab"},
        {"cluster": None},
        {"hosts": {}},
        {"hosts": ["192.0.2.1"]},
        {"hosts": {"Node": {"address": "192.0.2.1"}}},
        {"hosts": {"node": {"adress": "192.0.2.1"}}},
        {"hosts": {"node": {"address": "192.0.2.1", "port": 0}}},
        {"hosts": {"node": {"address": "192.0.2.1", "port": "22"}}},
        {"hosts": {"node": {"address": "192.0.2.1", "advertise": "tcp://192.0.2.1"}}},
        {"ssh": {"host_keys": "no"}},
        {"store": {}},
        {"store": {"kind": "redis"}},
        {"store": {"kind": "consul", "servers": "node1"}},
        {"networks": {}},
        {"networks": {"bridge": {"subnet": "10.99.0.0/24"}}},
        {"networks": {"demo": {}}},
        {"networks": {"demo": {"subnet": "fd00::/64"}}},
        {"networks": {"demo": {"driver": "macvlan", "parent": "eth1"}}},
        {"networks": {"demo": {"subnet": "10.99.0.0/24", "driver": "a b"}}},
        {"networks": {"demo": {"subnet": "10.99.0.0/24", "ip_range": {"Node": "10.99.0.0/25"}}}},
        {"networks": {"demo": {"subnet": "10.99.0.0/24", "options": {"a": ["x"]}}}},
        {"networks": {"demo": {"subnet": "10.99.0.0/24", "labels": {"a": 5}}}},
        {"networks": {"demo": {"subnet": "10.99.0.0/24", "labels": {"a=b": "x"}}}},
    ],
    ids=str,
)
def test_refuses_what_it_can(change: dict[str, Any]) -> None:
    sound = {
        "cluster": "lab",
        "hosts": {"node1": {"address": "192.0.2.1"}},
        "store": {"kind": "consul"},
        "networks": {"demo": {"subnet": "10.99.0.0/24"}},
    }
    assert list(faults(sound, schema())) == []
    assert list(faults(sound | change, schema()))


def test_has_its_draft_and_allows_no_unknown_keys() -> None:
    assert schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    for part in objects(schema()):
        assert part["additionalProperties"] is False


def test_everything_is_described() -> None:
    for part in objects(schema()):
        assert part["description"]
        for key, entry in part.get("properties", {}).items():
            assert entry["description"].endswith("."), key


def test_the_committed_schema_is_current() -> None:
    text = reference.SCHEMA.read_text(encoding="utf-8")
    assert text == reference.as_text(schema()), "run: python tests/unit/inventory/reference.py"


def test_the_documentation_is_current() -> None:
    text = reference.DOCS.read_text(encoding="utf-8")
    assert text == reference.documentation(text), "run: python tests/unit/inventory/reference.py"
