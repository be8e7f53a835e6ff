"""Convert the findings of an importer to a valid inventory, with a note on everything that is left out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from provisioner.errors import InventoryError
from provisioner.inventory import checks
from provisioner.inventory.importers import engine_stores, names, writing
from provisioner.inventory.importers.folding import folded
from provisioner.inventory.loading import problems
from provisioner.inventory.models import Host, Ssh
from provisioner.inventory.problems import code, shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from provisioner.inventory.importers.found import Found, Machine

_SSH_PORT = 22
_FEW = 5  # renamed hosts that are reported one by one
_OF_HOST = ("address", "port", "user", "key", "jump", "advertise")
_OF_ALL = ("host_keys", "known_hosts")  # an inventory has one of each, under `ssh`


@dataclass(frozen=True, slots=True)
class Wishes:
    """The user's choices. "" means the imported or default value. engines: their versions."""

    cluster: str
    subnet: str = ""
    advertise: str = ""
    engines: str = ""


@dataclass(frozen=True, slots=True)
class Imported:
    """The inventory's text, notes about it (one line each), and its number of hosts."""

    text: str
    notes: tuple[str, ...]
    hosts: int


@dataclass(frozen=True, slots=True)
class _Sound:
    """A machine with valid values."""

    name: str
    values: dict[str, writing.Value]  # settings of the host
    ssh: dict[str, writing.Value]  # settings that an inventory has only once, for all hosts
    was: str  # its name in the source


def imported(found: Found, wishes: Wishes, kind: str) -> Imported:
    """Return the inventory of all usable hosts. kind: the tool's name in the command.

    Raises InventoryError if the wished engines name no version.
    """
    machines = [_checked(machine) for machine in found.machines]
    machines = _distinct(machines)
    kept = [machine for machine in machines if not machine.left_out]
    sound = _named(kept)
    usual = _usual(sound)
    ssh, notes = _for_all(sound)
    entries = tuple(_entry(host, usual) for host in sound)
    store = engine_stores.taken(kept)
    lost = {machine.name: machine.left_out for machine in machines if machine.left_out}
    draft = writing.Draft(
        cluster=wishes.cluster,
        hosts=entries,
        subnet=wishes.subnet or writing.free_subnet(_addresses(sound), len(sound)),
        ssh=usual | ssh,
        advertise=wishes.advertise or found.advertise,
        heading=writing.heading(f"import {kind}"),
        store=store.text or writing.store_for(wishes.engines),
        left_out=tuple(f"{name} is left out: {why}" for name, why in lost.items()),
    )
    reported = folded(((machine.name, note) for machine in machines for note in machine.notes), "hosts")
    reported += folded(((name, f"left out: {why}") for name, why in lost.items()), "hosts")
    reported += _renamed(sound)
    return Imported(writing.text(draft), (*reported, *notes, *store.notes, *found.notes), len(sound))


def refuse_unsound(text: str) -> None:
    """Raise InventoryError if the inventory is invalid, for example if the wished subnet does not fit the hosts."""
    if faults := problems(text, Path("inventory.yml")):
        raise InventoryError("inventory", tuple(f"the inventory would be invalid: {fault.text}" for fault in faults))


def _checked(machine: Machine) -> Machine:
    """Return the machine with its valid values; invalid ones become notes, from the inventory's own checks."""
    if machine.left_out:
        return machine
    if not machine.address:
        return replace(machine, left_out="its address is missing")
    values = {key: _number(text) for key in _OF_HOST if (text := getattr(machine, key))}
    options = {key: text for key in _OF_ALL if (text := getattr(machine, key))}
    bad = refused(Host, values) | refused(Ssh, options)
    if "address" in bad:
        return replace(machine, left_out=f"address: {bad['address']}")
    if "key" not in bad and machine.key and (fault := _key_fault(machine.key)):
        bad["key"] = fault
    bare: dict[str, Any] = dict.fromkeys(bad, "")
    return replace(machine, **bare).noting(*(f"{key}: {why}; not carried over" for key, why in bad.items()))


def _number(text: str) -> writing.Value:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 6 and text[0] != "0" else text  # noqa: PLR2004


def refused(model: type[BaseModel], values: Mapping[str, Any]) -> dict[str, str]:
    """Return the error of each invalid value, by key."""
    try:
        model.model_validate(values, context={"folder": Path.cwd()})
    except ValidationError as error:
        return {str(e["loc"][0]): str(e["ctx"]["text"]) for e in error.errors(include_url=False) if "ctx" in e}
    return {}


def _key_fault(path: str) -> str:
    fault = checks.unusable(Path(path).expanduser())
    if not fault and path.endswith(".pub"):
        fault = "is the public key"
    return f"{shown(path, 200)} {fault}" if fault else ""


def _distinct(machines: list[Machine]) -> list[Machine]:
    """Drop a second name for the same address and port."""
    first: dict[tuple[str, str], str] = {}
    result = []
    for machine in machines:
        place = (machine.address.lower(), machine.port or str(_SSH_PORT))
        if machine.left_out or place not in first:
            result.append(machine)
        else:
            why = f"is {code(first[place])} under a different name (same address and port)"
            result.append(replace(machine, left_out=why, notes=()))
        if not machine.left_out:
            first.setdefault(place, machine.name)
    return result


def _named(machines: list[Machine]) -> list[_Sound]:
    result = []
    for machine, name in zip(machines, names.tidied([m.name for m in machines]), strict=True):
        values: dict[str, writing.Value] = {"address": machine.address, "port": int(machine.port or _SSH_PORT)}
        values |= {key: text for key in ("user", "key", "jump", "advertise") if (text := getattr(machine, key))}
        ssh: dict[str, writing.Value] = {key: text for key in _OF_ALL if (text := getattr(machine, key))}
        result.append(_Sound(name, values, ssh, machine.name))
    return result


def _usual(hosts: list[_Sound]) -> dict[str, writing.Value]:
    """The settings for `ssh`: the most frequent user, key, port and jump hosts, if at least two hosts (or the only host) have them.

    A setting that some hosts do not have at all stays with the hosts that have it.
    """
    usual: dict[str, writing.Value] = {}
    for key in ("user", "key", "port", "jump"):
        found = [host.values[key] for host in hosts if key in host.values]
        value, times = Counter(found).most_common(1)[0] if found else ("", 0)
        if len(found) == len(hosts) and (times > 1 or len(hosts) == 1) and (key, value) != ("port", _SSH_PORT):
            usual[key] = value
    return usual


def _for_all(hosts: list[_Sound]) -> tuple[dict[str, writing.Value], list[str]]:
    """Return a setting that an inventory has once for all hosts, if all hosts agree."""
    result: dict[str, writing.Value] = {}
    notes = []
    for key in _OF_ALL:
        found = {host.ssh.get(key, "") for host in hosts}
        if len(found) == 1:
            result[key] = found.pop()
        elif found:
            notes.append(f"{key}: hosts differ, but an inventory has one value for all; the default is used")
    return {key: value for key, value in result.items() if value}, notes


def _renamed(hosts: list[_Sound]) -> list[str]:
    renamed = [host for host in hosts if host.name != host.was]
    if len(renamed) > _FEW:
        return [f"{len(renamed)} hosts have a different name in the inventory; a comment gives each original name"]
    return [f"{code(host.was)}: is called {code(host.name)} in the inventory" for host in renamed]


def _entry(host: _Sound, usual: dict[str, writing.Value]) -> writing.Entry:
    """Return a host's line, without the shared settings."""
    default = {"port": _SSH_PORT, "user": "root"} | usual
    values = {key: value for key, value in host.values.items() if key == "address" or default.get(key) != value}
    return writing.Entry(host.name, values, f"{host.was} in the source" if host.name != host.was else "")


def _addresses(hosts: Sequence[_Sound]) -> list[str]:
    return [str(host.values.get(key, "")) for host in hosts for key in ("address", "advertise")]
