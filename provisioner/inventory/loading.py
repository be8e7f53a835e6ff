"""Load an inventory: read it, check each value, check values together, and report all errors at once."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticCustomError

from provisioner.inventory import checks, plugins, values
from provisioner.inventory import document as yaml
from provisioner.inventory.engine_models import Dns, PluginEntry
from provisioner.inventory.models import Host, Inventory, InventoryFile, Ssh
from provisioner.inventory.network_models import Network, NetworkEntry
from provisioner.inventory.outside import STAND_IN
from provisioner.inventory.problems import Location, Problem, closest, code, dotted, invalid, shown
from provisioner.inventory.store_models import Discovery, Security, Store, Tls

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from pydantic_core import ErrorDetails

_FORMS = {  # the form of a part, for errors
    "hosts": "`hosts:` and under it one line for each: `node1: {address: 192.168.56.11}`",
    "networks": "`networks:` and under it one line for each: `demo: {subnet: 10.99.0.0/24}`",
    "ssh": "`ssh: {user: root}`",
    "store": "`store: {kind: consul}`",
    "dns": "`dns: {servers: [192.0.2.53]}`",
    "plugins": "`plugins:` and under it one line for each: `overnet: {address: unix:///run/overnet.sock}`",
    "settings": "`settings: {LEVEL: debug}`",
    "labels": "`labels: {team: red}`",
    "options": "`options: {com.docker.network.bridge.name: br-app}`",
    "aux_addresses": "`aux_addresses: {router: 10.99.0.5}`",
    "discovery": "`discovery: {heartbeat: 20, ttl: 60}`",
    "security": "`security: {tls: true}`",
    "tls": "`tls: {ca: files/ca.pem, cert: files/cert.pem, key: files/key.pem}`",
}
_ALL_THREE = "all three files are required; otherwise the engine would silently connect without TLS"
_ENTRIES: dict[str, tuple[str, str, Callable[[object], object]]] = {  # what a lone value is
    "hosts": ("address", "192.168.56.11", values.address),
    "plugins": ("address", "unix:///run/overnet.sock", plugins.address),
    "networks": ("subnet", "10.99.0.0/24", values.subnet),
}
_MISSING = {
    "cluster": "`cluster: lab`",
    "address": "`address: 192.168.56.11`",
    "kind": "`kind: consul`",
    "ca": f"`ca: files/ca.pem`; {_ALL_THREE}",
    "cert": f"`cert: files/cert.pem`; {_ALL_THREE}",
    "key": f"`key: files/key.pem`; {_ALL_THREE}",
}

_SHAPES: dict[str, type[BaseModel]] = {  # what may be written where
    "top level": InventoryFile,
    "ssh": Ssh,
    "hosts": Host,
    "store": Store,
    "store.discovery": Discovery,
    "store.tls": Tls,
    "store.security": Security,
    "dns": Dns,
    "plugins": PluginEntry,
    "networks": NetworkEntry,
}
_PLACES = {
    "top level": "the top level",
    "ssh": "`ssh`",
    "hosts": "a host",
    "store": "`store`",
    "store.discovery": "`store.discovery`",
    "store.tls": "`store.tls`",
    "store.security": "`store.security`",
    "dns": "`dns`",
    "plugins": "a plugin",
    "networks": "a network",
}
_OTHER_WORDS = {  # what other tools call it
    "ip": "address",
    "host": "address",
    "hostname": "address",
    "ansible_host": "address",
    "username": "user",
    "login": "user",
    "private_key": "key",
    "key_file": "key",
    "identity_file": "key",
    "cidr": "subnet",
    "nodes": "hosts",
    "name": "cluster",
    "timeout": "connect_timeout",
}


def load(path: Path, *, check_files: bool = True) -> Inventory:
    """Load the inventory in a YAML file. check_files: also check that its key and binary files exist.

    Raises InventoryError with everything that is wrong, each as `file:line:column: text`, in the order of the file.
    """
    return _loaded(path, yaml.read(path), check_files=check_files)


def load_bytes(data: bytes, path: Path, *, check_files: bool = True) -> Inventory:
    """Load the inventory in the content of `path`, which need not exist. Raises InventoryError like `load`."""
    return _loaded(path, yaml.parse_bytes(data, path.absolute().parent), check_files=check_files)


def _loaded(path: Path, document: yaml.Document, *, check_files: bool) -> Inventory:
    inventory = _checked(path, document, check_files=check_files)
    if document.problems or inventory is None:
        raise invalid(path, document.problems)
    return inventory


def problems(text: str, path: Path, *, check_files: bool = True) -> tuple[Problem, ...]:
    """Return the errors that `path` would have with this text, in the order of the text."""
    document = yaml.parse(text, path.absolute().parent)
    _checked(path, document, check_files=check_files)
    return tuple(sorted(set(document.problems)))


def schema() -> dict[str, Any]:
    """The inventory's form as JSON Schema, draft 2020-12."""
    from provisioner.inventory.json_schema import generate

    return generate()


def _checked(path: Path, document: yaml.Document, *, check_files: bool) -> Inventory | None:
    """Return the inventory, or None if the document has problems."""
    if not isinstance(document.value, dict):
        return None
    folder = path.absolute().parent
    inventory = _validated(path, document, folder)
    checks.check(document)
    if check_files:
        checks.check_files(document, folder)
    return inventory


def _validated(path: Path, document: yaml.Document, folder: Path) -> Inventory | None:
    """Check single values. Return the inventory, or None after adding problems to the document."""
    try:
        file = InventoryFile.model_validate(document.value, context={"folder": folder})
    except ValidationError as error:
        errors = _blinded_errors(document, error.errors(include_url=False), folder)
        meant = {(*e["loc"][:-1], _meant(e["loc"])) for e in errors if e["type"] == "extra_forbidden"}
        for details in errors:
            if details["loc"] not in meant:
                _refuse(document, details)
        return None
    return _of_file(file, path, document.hidden)


def of_values(found: Mapping[str, Any], path: Path) -> Inventory:
    """Return the inventory of values that come from no file. Each is checked by itself; together they may be inconsistent.

    path: what stands for the file; relative paths start at its folder. Raises pydantic's ValidationError.
    """
    return _of_file(InventoryFile.model_validate(found, context={"folder": path.absolute().parent}), path)


def _of_file(file: InventoryFile, path: Path, hidden: tuple[str, ...] = ()) -> Inventory:
    networks = {name: Network(name=name, **_fields(entry)) for name, entry in file.networks.items()}
    return Inventory(**_fields(file) | {"networks": networks, "path": path, "hidden": hidden})


def _blinded_errors(document: yaml.Document, errors: list[ErrorDetails], folder: Path) -> list[ErrorDetails]:
    """Return the same errors; those of hidden values come from a placeholder, so no message contains the value."""
    if not document.secrets:
        return errors
    try:
        InventoryFile.model_validate(document.blinded(), context={"folder": folder})
    except ValidationError as error:
        blind = {details["loc"]: details for details in error.errors(include_url=False)}
        return [blind[details["loc"]] if details["loc"] in document.secrets else details for details in errors]
    return errors


def _fields(part: BaseModel) -> dict[str, Any]:
    return {name: getattr(part, name) for name in type(part).model_fields}


def _refuse(document: yaml.Document, details: ErrorDetails) -> None:
    """Add one pydantic error to the document, with a message of this project and its line."""
    location: Location = tuple(part for part in details["loc"] if part != "[key]")
    if any(location[:end] in document.spoilt for end in range(len(location) + 1)):
        return
    kind, last = details["type"], str(location[-1])
    if kind == "extra_forbidden":
        where = dotted(location[:-1]) or "top level"
        document.refuse(location, f"{where}: unknown key {code(last)}; {_instead(location)}", at_key=True)
    elif kind == "missing":
        where = f"{dotted(location[:-1])}: " if len(location) > 1 else ""
        text = f"{where}`{last}` is missing: write {_MISSING.get(last) or _FORMS[last]}"
        document.refuse(location[:-1], text, at_key=True)
    elif kind == "refused":
        text = _named(document, location, details["ctx"]["text"])
        document.refuse(location, f"{dotted(location)}: {text}", at_key="[key]" in details["loc"])
    else:
        document.refuse(
            location, f"{dotted(location)}: {_named(document, location, _form(location, details['input']))}"
        )


def _named(document: yaml.Document, location: Location, text: str) -> str:
    """Name the source of a hidden value in its error."""
    if location not in document.secrets:
        return text
    return text.replace(shown(STAND_IN), document.masked(location, ""))


def _shape(location: Location) -> str:
    if ".".join(map(str, location[:2])) in _SHAPES and len(location) > 2:  # noqa: PLR2004
        return f"{location[0]}.{location[1]}"
    return "top level" if len(location) == 1 else str(location[0])


def _meant(location: Location) -> str:
    """Return the known key that an unknown key probably means, or nothing."""
    word, known = str(location[-1]), list(_SHAPES[_shape(location)].model_fields)
    other = _OTHER_WORDS.get(word.lower().replace("-", "_"), "")
    if other in known:
        return other
    return "" if any(word in model.model_fields for model in _SHAPES.values()) else closest(word, known)


def _instead(location: Location) -> str:
    """Return what to write instead of an unknown key."""
    if meant := _meant(location):
        return f"did you mean `{meant}`?"
    for place, model in _SHAPES.items():
        if str(location[-1]) in model.model_fields:
            return f"it belongs to {_PLACES[place]}"
    return "known are " + ", ".join(f"`{key}`" for key in _SHAPES[_shape(location)].model_fields)


def _form(location: Location, value: object) -> str:
    """Return what to write where a mapping is required, with a lone value in place if it fits."""
    word = str(location[0])
    if (
        len(location) == 1
        or word not in _ENTRIES
        or location[-1] in ("labels", "options", "aux_addresses", "settings", "tls")
    ):
        return f"must be a mapping, not {shown(value)}: write {_FORMS[str(location[-1])]}"
    key, example, check = _ENTRIES[word]
    with suppress(PydanticCustomError):  # its error is reported once it has the right form
        example = str(check(value))
    return f"must be a mapping, not {shown(value)}: write `{{{key}: {example}}}`"
