"""Writes the inventory of a swarm as YAML text, with a note on everything that an inventory can't have."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from provisioner.errors import InventoryError, ProvisionerError
from provisioner.inventory.checks import SERVER_COUNTS
from provisioner.inventory.importers import writing
from provisioner.inventory.loading import problems
from provisioner.inventory.problems import code

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from provisioner.inventory.importers.swarm import Swarm

_EXAMPLE = "demo"


def written(swarm: Swarm, ssh: Mapping[str, Any], address: str, cluster: str = "") -> tuple[str, tuple[str, ...]]:
    """Return the text and the notes. ssh, address: how the manager was reached. cluster: its name; default: the label's.

    Raises InventoryError if the inventory would be invalid, and ProvisionerError if the swarm has no leader.
    """
    if not swarm.led:
        what = "the swarm has no leader, so the manager lists neither nodes nor networks"
        cure = "find out why: provisioner doctor --manager; then import again"
        raise ProvisionerError(what, cause="swarm-leaderless", host=swarm.me, cure=cure)
    found = swarm.document(ssh, address, [node.name for node in swarm.nodes])
    found["cluster"] = cluster or found["cluster"]
    for host in found["hosts"].values():
        if host.get("advertise") == host["address"]:
            del host["advertise"]
    notes = [*swarm.notes, *_down(swarm), *_managers(found), *_networks(found), *_changes(swarm, found["cluster"])]
    result = _text(found, swarm.notes)
    if faults := _faults(found):
        raise InventoryError("inventory", tuple(f"the inventory would be invalid: {fault}" for fault in faults))
    return result, tuple(notes)


def _down(swarm: Swarm) -> Iterable[str]:
    for node in swarm.nodes:
        if node.down:
            yield f"node {code(node.name)} is down: `plan` will not reach it, or it has left the swarm"


def _managers(found: dict[str, Any]) -> Iterable[str]:
    """Leave out managers of which there are not 1, 3 or 5. The present ones stay."""
    count = len(found["swarm"]["managers"])
    if count not in SERVER_COUNTS:
        del found["swarm"]["managers"]
        yield f"the swarm has {count} managers, and an inventory names 1, 3 or 5: they stay, and `plan` shows whether it promotes others"
    if not found["swarm"]:
        del found["swarm"]


def _networks(found: dict[str, Any]) -> Iterable[str]:
    """Leave out networks with which the inventory would be invalid."""
    kept: dict[str, Any] = {}
    for name, entry in found["networks"].items():
        if faults := _faults(found | {"networks": {name: entry}}):
            yield f"network {code(name)} is left out: {faults[0]}"
        else:
            kept[name] = entry
    if not kept:
        addresses = [host.get("advertise", host["address"]) for host in found["hosts"].values()]
        kept[_EXAMPLE] = {"subnet": writing.free_subnet(addresses, len(addresses))}
        yield f"the inventory has no network of the swarm; {code(_EXAMPLE)} is an example, which `plan` will show as new"
    found["networks"] = kept


def _changes(swarm: Swarm, cluster: str) -> Iterable[str]:
    if not swarm.labelled:
        yield (
            "provisioner did not create this swarm: for each host, `plan` shows the files, firewall rules and units that `up`"
            " would add; the swarm and its networks stay as they are"
        )
    elif swarm.cluster != cluster:
        yield f"the swarm has the label {code(swarm.cluster)}: `plan` refuses it as another cluster's"


def _faults(found: Mapping[str, Any]) -> list[str]:
    return [fault.text for fault in problems(_text(found, ()), Path("inventory.yml"))]


def _text(found: Mapping[str, Any], left_out: Iterable[str]) -> str:
    lines = ["# yaml-language-server: $schema=schema.json", "#", *map(writing.comment, writing.heading("import swarm"))]
    for key, value in found.items():
        if isinstance(value, dict) and value:
            lines += ["", f"{key}:", *(f"  {writing.scalar(name)}: {writing.flow(of)}" for name, of in value.items())]
        elif value:
            lines += ["", f"{key}: {writing.scalar(value)}"]
    return "\n".join([*lines, *(["", *map(writing.comment, left_out)] if left_out else [])]) + "\n"
