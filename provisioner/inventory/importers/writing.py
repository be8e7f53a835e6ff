"""Writes an inventory as YAML text. All values are quoted if necessary, so the text always has the form of an inventory."""

from __future__ import annotations

import ipaddress
import json
import re
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING, Any, Final

from provisioner.inventory import engine_versions
from provisioner.inventory.problems import escaped

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Value = str | int
OWN_STORE: Final = "{kind: consul}"

_PLAIN = re.compile(r"(?:[A-Za-z]|~?/)[A-Za-z0-9_./-]*|[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?:/[0-9]{1,2})?")
_WORDS = frozenset(("true", "false", "null", "yes", "no", "on", "off", "y", "n"))  # the last six are for YAML 1.1
_OVERHEAD = 3  # addresses of a subnet that no container gets
_USUAL = 24  # prefix length
_POOL = 16  # prefix length
_NEAR_INGRESS = IPv4Network("10.0.0.0/16")  # a swarm takes 10.0.0.0/24; hosts beside it often have a route to it
_SECOND = (99, *range(98, 63, -1), *range(100, 256))  # N of 10.N.0.0: first the one in the docs, then its neighbours


@dataclass(frozen=True, slots=True)
class Entry:
    """A host's line, with a comment."""

    name: str
    values: Mapping[str, Value]
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Draft:
    """The content of the text. heading, left_out: lines of comments. store: the value of `store`, from flow(); "": swarm mode."""

    cluster: str
    hosts: tuple[Entry, ...]
    subnet: str
    ssh: Mapping[str, Value] = field(default_factory=dict)
    advertise: str = ""
    heading: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    store: str = ""


def heading(command: str) -> tuple[str, ...]:
    """Return the lines of comments above an inventory that `provisioner inventory COMMAND` made."""
    return (
        f"Made by `provisioner inventory {command}`. docs/inventory.md describes all keys; `provisioner --help` prints its",
        "folder. `provisioner inventory schema >schema.json` creates the schema for editors.",
    )


def store_for(engines: str) -> str:
    """Return the value of `store` for engines of these versions; "": those of today, which have none. Raises InventoryError."""
    return OWN_STORE if engine_versions.all_have_store(engines or engine_versions.TODAY) else ""


def text(draft: Draft) -> str:
    """The YAML text of an inventory with one network."""
    lines = ["# yaml-language-server: $schema=schema.json", "#", *map(comment, draft.heading), ""]
    lines += [f"cluster: {scalar(draft.cluster)}", ""]
    if draft.ssh:
        lines += ["ssh:", *(f"  {key}: {scalar(value)}" for key, value in draft.ssh.items()), ""]
    if draft.advertise:
        lines += [f"advertise: {scalar(draft.advertise)}", ""]
    lines += ["hosts:", *map(_host, draft.hosts), *(f"  {comment(line)}" for line in draft.left_out), ""]
    if draft.store:
        lines += [f"store: {draft.store}", ""]
    elif pool := _pool(draft):
        why = comment("without the hosts' own addresses, unlike 10.0.0.0/8, the default")
        lines += [f"swarm: {{default_addr_pool: {{pools: [{pool}]}}}}  {why}", ""]
    lines += ["networks:", f"  demo: {{subnet: {scalar(draft.subnet)}}}"]
    return "\n".join(lines) + "\n"


def _host(entry: Entry) -> str:
    values = ", ".join(f"{key}: {scalar(value)}" for key, value in entry.values.items())
    line = f"  {scalar(entry.name)}: {{{values}}}"
    return f"{line}  {comment(entry.comment)}" if entry.comment else line


def flow(value: Any) -> str:
    """Write mappings and lists on one line."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{scalar(key)}: {flow(item)}' for key, item in value.items())}}}"
    return f"[{', '.join(map(flow, value))}]" if isinstance(value, list) else scalar(value)


def comment(line: str) -> str:
    """Write any text as a one-line comment."""
    return f"# {escaped(line)}" if line else "#"


def scalar(value: Value) -> str:
    """Write a number as it is, and a string plain if every YAML parser reads it unchanged; otherwise in double quotes."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value)  # JSON strings are valid YAML; they are ASCII, so they contain no control characters


def _pool(draft: Draft) -> str:
    """Return the address pool of a swarm if the default would not do: its network ingress would be on the hosts' own network."""
    own = [str(host.values.get(key, "")) for host in draft.hosts for key in ("address", "advertise")]
    if not any(_is_ipv4(word) and IPv4Address(word) in _NEAR_INGRESS for word in own):
        return ""
    return str(_free([*own, draft.subnet.partition("/")[0]], _POOL))


def free_subnet(addresses: Iterable[str], hosts: int) -> str:
    """Return a subnet with room for the hosts that contains none of their addresses; 10.99.0.0/24 if possible."""
    return str(_free(addresses, min(_USUAL, 32 - (hosts + _OVERHEAD - 1).bit_length())))


def _free(addresses: Iterable[str], prefix: int) -> IPv4Network:
    own = [IPv4Address(word) for word in addresses if _is_ipv4(word)]
    nets = [IPv4Network((f"10.{second}.0.0", prefix), strict=False) for second in _SECOND]
    return next((net for net in nets if not any(address in net for address in own)), nets[0])


def _is_ipv4(word: str) -> bool:
    try:
        ipaddress.IPv4Address(word)
    except ValueError:
        return False
    return True
