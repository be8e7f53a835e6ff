"""From a file to an inventory: read, check each value, check what they are together, tell all that is wrong at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ValidationError

from provisioner.errors import InventoryError
from provisioner.inventory import document as yaml
from provisioner.inventory.checks import check
from provisioner.inventory.models import ConsulStore, Host, Inventory, InventoryFile, Network, NetworkEntry, Ssh
from provisioner.inventory.problems import Location, code, dotted, escaped, nearest, shown

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic_core import ErrorDetails

_FORMS = {  # how a part is written, for whoever wrote it otherwise
    "hosts": "`hosts:` and under it one line for each: `node1: {address: 192.168.56.11}`",
    "networks": "`networks:` and under it one line for each: `demo: {subnet: 10.99.0.0/24}`",
    "ssh": "`ssh: {user: root}`",
    "store": "`store: {kind: consul}`",
    "labels": "`labels: {team: red}`",
}
_MISSING = {
    "cluster": "`cluster: lab`",
    "address": "`address: 192.168.56.11`",
    "kind": "`kind: consul`",
    "subnet": "`subnet: 10.99.0.0/24`; Docker is not left to choose, because its choice may overlap what the hosts reach",
}


def load(path: Path, *, check_files: bool = True) -> Inventory:
    """The inventory in a YAML file. check_files: also look whether the key and binary files that it names are there.

    Raises InventoryError with everything that is wrong, each as `file:line:column: text`, in the order of the file.
    """
    document = yaml.read(path)
    inventory = None
    if isinstance(document.value, dict):
        inventory = _validated(path, document)
        check(document, inventory if check_files else None)
    if document.problems or inventory is None:
        name = escaped(str(path))
        raise InventoryError(name, tuple(problem.told(name) for problem in sorted(set(document.problems))))
    return inventory


def schema() -> dict[str, Any]:
    """The inventory's form as JSON Schema, draft 2020-12."""
    from provisioner.inventory.schema import generate  # noqa: PLC0415  it costs more than loading an inventory

    return generate()


def _validated(path: Path, document: yaml.Document) -> Inventory | None:
    """The inventory as far as single values go, or None and the problems in the document."""
    try:
        file = InventoryFile.model_validate(document.value, context={"folder": path.absolute().parent})
    except ValidationError as error:
        for details in error.errors(include_url=False):
            _refuse(document, details)
        return None
    networks = {name: Network(name=name, **_fields(entry)) for name, entry in file.networks.items()}
    return Inventory(**_fields(file) | {"networks": networks, "path": path})


def _fields(part: BaseModel) -> dict[str, Any]:
    return {name: getattr(part, name) for name in type(part).model_fields}


def _refuse(document: yaml.Document, details: ErrorDetails) -> None:
    """One error of pydantic as a problem of the document, in our words and at its line."""
    location: Location = tuple(part for part in details["loc"] if part != "[key]")
    if any(location[:end] in document.spoilt for end in range(len(location) + 1)):
        return
    kind, last = details["type"], str(location[-1])
    if kind == "extra_forbidden":
        known = _keys(location[:-1])
        told = nearest(last, known) or "; known are " + ", ".join(f"`{key}`" for key in known)
        document.refuse(
            location, f"{dotted(location[:-1]) or 'top level'}: unknown key {code(last)}{told}", at_key=True
        )
    elif kind == "missing":
        text = f"{_subject(location[:-1])}`{last}` is missing: write {_MISSING.get(last) or _FORMS[last]}"
        document.refuse(location[:-1], text, at_key=True)
    elif kind == "refused":
        document.refuse(location, f"{dotted(location)}: {details['ctx']['text']}", at_key="[key]" in details["loc"])
    else:
        document.refuse(location, f"{dotted(location)}: {_form(location, details['input'])}")


def _subject(location: Location) -> str:
    return f"{dotted(location)}: " if location else ""


def _keys(location: Location) -> list[str]:
    """The keys that may be written at a place."""
    shapes: dict[tuple[object, int], type[BaseModel]] = {
        ("hosts", 2): Host,
        ("networks", 2): NetworkEntry,
        ("ssh", 1): Ssh,
        ("store", 1): ConsulStore,
    }
    model = shapes[location[0], len(location)] if location else InventoryFile
    return list(model.model_fields)


def _form(location: Location, value: object) -> str:
    """What to write where a mapping is wanted; a lone value is put into the form where it is clear."""
    key: Literal["address", "subnet"] | None = {"hosts": "address", "networks": "subnet"}.get(str(location[0]))  # type: ignore[assignment]
    if len(location) == 1 or key is None or location[-1] == "labels":
        return f"must be a mapping, not {shown(value)}: write {_FORMS[str(location[-1])]}"
    example = "192.168.56.11" if key == "address" else "10.99.0.0/24"
    given = value if isinstance(value, str) and value.isprintable() else example
    return f"must be a mapping, not {shown(value)}: write `{{{key}: {shown(given).strip(chr(39))}}}`"
