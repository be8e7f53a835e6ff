"""Machines from a store of docker-machine: `machines/NAME/config.json`, ConfigVersion 3."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from provisioner.errors import InventoryError
from provisioner.inventory.importers.found import EngineStore, Found, Machine, cant, is_folder, is_there, text_of
from provisioner.inventory.problems import code, shown

_CONFIG = "config.json"
_LOCAL_FORWARD = ("virtualbox",)  # drivers whose SSHPort is a forwarded port of this machine; IPAddress has port 22


def default_store() -> Path:
    """Return the store that docker-machine itself uses."""
    return Path(os.environ.get("MACHINE_STORAGE_PATH") or Path.home() / ".docker" / "machine")


def machines(path: Path) -> Found:
    """The machines of a store, of its folder `machines`, of one machine's folder or of one config.json.

    Raises InventoryError if there is none. Unreadable machines are left out and reported.
    """
    files = _configs(path)
    if not files:
        raise cant(path, "contains no machine: name a store, the folder that contains `machines/NAME/config.json`")
    return Found(tuple(_read(file) for file in files))


def _configs(path: Path) -> list[Path]:
    if not is_folder(path):
        return [path] if is_there(str(path)) else []
    if is_there(str(path / _CONFIG)):
        return [path / _CONFIG]
    folder = path / "machines" if is_folder(path / "machines") else path
    try:
        return [entry / _CONFIG for entry in sorted(folder.iterdir()) if _is_machine(entry)]
    except OSError as error:
        raise cant(folder, f"can't be read: {error.strerror}") from None


def _is_machine(folder: Path) -> bool:
    """Whether a folder has a config.json, or can't be searched for one; reading it then reports why."""
    try:
        return (folder / _CONFIG).is_file()
    except PermissionError:
        return True
    except OSError:
        return False


def _read(file: Path) -> Machine:
    name = file.absolute().parent.name
    try:
        return machine(json.loads(text_of(file)), file.absolute().parent)
    except InventoryError as error:
        return Machine(name, left_out=error.problems[0])
    except ValueError as error:
        return Machine(name, left_out=f"its config.json is not JSON: {error}")
    except RecursionError:
        return Machine(name, left_out="its config.json is nested too deep")


def machine(config: Any, folder: Path) -> Machine:
    """Return one machine from its config.json. folder: the folder of that file, which may also contain the key."""
    driver = _part(config, "Driver")
    kind = _text(config, "DriverName")
    name = _text(config, "Name") or _text(driver, "MachineName") or folder.name
    address = _text(driver, "IPAddress")
    if not address:
        return Machine(name, left_out=f"has no IPAddress in the store: {_why(kind, name)}")
    port = "22" if kind in _LOCAL_FORWARD else _text(driver, "SSHPort")
    key, key_notes = _key(driver, folder)
    options = _part(config, "HostOptions")
    return Machine(
        name,
        address=address,
        port="" if port == "0" else port,
        user=_text(driver, "SSHUser") or "root",
        key=key,
        advertise=_advertised(_flags(options)),
        addresses=tuple(filter(None, [_text(driver, "PrivateIPAddress")])),
        store=_store(_flags(options)),
        notes=(*key_notes, *_notes(driver, options)),
    )


def _why(kind: str, name: str) -> str:
    if kind == "none":
        return "docker-machine knows only its Docker port, no SSH login"
    return f"it is stopped, or its creation did not finish; {code(f'docker-machine start {name}')}, then import again"


def _key(driver: dict[str, Any], folder: Path) -> tuple[str, list[str]]:
    """Return the key path from the store. In a store that was moved, the key is next to config.json, under its old name."""
    named = _text(driver, "SSHKeyPath")
    moved = [str(folder / name) for name in (Path(named).name, "id_rsa") if name]
    for path in (*([str(Path(named).absolute())] if named else []), *moved):
        if is_there(path):
            return path, []
    return "", [f"its key {shown(named)} does not exist and is left out"] if named else []


def _flags(options: dict[str, Any]) -> list[tuple[str, str]]:
    """The engine's flags from --engine-opt: pairs of name and value."""
    flags = _part(options, "EngineOptions").get("ArbitraryFlags")
    pairs = (
        (flag.lstrip("-").partition("=") for flag in flags or () if isinstance(flag, str))
        if isinstance(flags, list)
        else ()
    )
    return [(key, value) for key, _, value in pairs]


def _advertised(flags: list[tuple[str, str]]) -> str:
    """The value of `advertise`: that of `cluster-advertise=eth1:2376` without the port."""
    return dict(flags).get("cluster-advertise", "").rpartition(":")[0]


def _store(flags: list[tuple[str, str]]) -> EngineStore | None:
    options = (word.partition("=") for key, word in flags if key == "cluster-store-opt")
    url = dict(flags).get("cluster-store", "")
    return EngineStore(url, tuple(sorted((name, value) for name, _, value in options))) if url else None


def _notes(driver: dict[str, Any], options: dict[str, Any]) -> list[str]:
    notes = []
    if "Boot2DockerURL" in driver:
        notes.append("runs boot2docker, which has no systemd; provisioner needs Debian or Ubuntu")
    if _part(options, "SwarmOptions").get("IsSwarm") is True:
        notes.append("was part of a standalone Swarm, which is not imported")
    return notes


def _part(value: Any, key: str) -> dict[str, Any]:
    part = value.get(key) if isinstance(value, dict) else None
    return part if isinstance(part, dict) else {}


def _text(value: Any, key: str) -> str:
    """A string or whole number of a mapping, as a string; "" for anything else."""
    found = value.get(key) if isinstance(value, dict) else None
    return str(found) if isinstance(found, str | int) and not isinstance(found, bool) else ""
