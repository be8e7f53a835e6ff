"""Names that a command line can use, for shell completion.

Nothing is connected to. Of an inventory, only the keys of `hosts` and `networks` are read: its values are never evaluated, so
`!file` and `!env` do nothing. zsh evaluates what it gets, so a name with an unusual character is not offered.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provisioner import labs
from provisioner.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

VARIABLE = "PROVISIONER_INVENTORY"
SECRETS = ("gossip-key", "certificates", "tokens")
OBSERVATIONS = ("underlay", "kernel")

_DEFAULT = Path("cluster.yml")
_LARGEST = 1024 * 1024  # bytes; larger files are no inventories
_TOP = 2  # the level of an inventory's own keys; the document itself is the first
_DEEPEST = 2  # levels below it
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def default() -> Path:
    """The inventory of a command line that names none: the file of the variable, else cluster.yml. It need not exist."""
    return at_home(Path(os.environ.get(VARIABLE) or _DEFAULT))


def at_home(path: Path) -> Path:
    """A path whose `~` the shell has left as it is: in a variable's value in quotes, or in `--log=~/run.log`."""
    try:
        return path if path.exists() else path.expanduser()
    except (RuntimeError, OSError):  # no such user; no such name of a file
        return path


def keys(path: Path, part: str) -> list[str]:
    """The keys of a part of an inventory, such as `hosts`; those up to an error if the file is malformed."""
    return list(entries(path, part))


def entries(path: Path, part: str) -> dict[str, dict[str, str]]:
    """The same keys with the plain values that are written below each, such as a network's `driver`."""
    import yaml

    found: dict[str, dict[str, str]] = {}
    try:
        if stat.S_ISREG(path.stat().st_mode):  # a pipe would wait for its writer
            with path.open("rb") as file:
                text = file.read(_LARGEST)
            for name, key, value in _scalars(yaml.parse(text, Loader=getattr(yaml, "CLoader", yaml.Loader)), part):
                found.setdefault(name, {})[key] = value
    except (OSError, ValueError, yaml.YAMLError):
        pass
    return {name: values for name, values in found.items() if _SAFE.fullmatch(name)}


def _scalars(events: Iterable[Any], part: str) -> Iterator[tuple[str, str, str]]:
    """Follow the events of a parser: the keys below the key `part`, with "", and each key and value below them. Nothing is constructed."""
    import yaml

    level, latest = [0], {0: ""}  # the nodes seen so far on each level; the latest key on each
    for event in events:
        level[-1] += isinstance(event, yaml.NodeEvent)
        depth = len(level) - _TOP
        if isinstance(event, yaml.ScalarEvent) and 0 <= depth <= _DEEPEST:
            is_key, is_inside = level[-1] % 2, latest[0] == part
            if is_key:
                latest[depth] = event.value
            if is_key and is_inside and depth == 1:
                yield event.value, "", ""
            elif not is_key and is_inside and depth == _DEEPEST:
                yield latest[1], latest[depth], event.value
        if isinstance(event, yaml.CollectionStartEvent):
            level.append(0)
        elif isinstance(event, yaml.CollectionEndEvent):
            level.pop()


def _inventory(ctx: Any) -> Path:
    """The inventory of the line so far; with bash, which passes the whole line, also one behind the cursor."""
    if given := ctx.params.get("inventory"):
        return Path(given)
    words = os.environ.get("COMP_WORDS", "").split()
    return next((Path(word) for word in words if word.endswith((".yml", ".yaml")) and Path(word).is_file()), default())


def complete_hosts(ctx: Any) -> list[str]:
    return keys(_inventory(ctx), "hosts")


def complete_host_list(ctx: Any, incomplete: str) -> list[str]:
    """The last host of a list with commas, behind those that are written already."""
    written = incomplete.split(",")[:-1]
    return [",".join([*written, host]) for host in complete_hosts(ctx) if host not in written]


def complete_networks(ctx: Any) -> list[str]:
    return keys(_inventory(ctx), "networks")


def complete_proofs(ctx: Any) -> list[str]:
    """The names of the proofs of the inventory's networks, and of those that every engine has."""
    from provisioner.model import BUILTIN_NETWORKS

    path = _inventory(ctx)
    networks = entries(path, "networks")
    several, resolvers = len(keys(path, "hosts")) > 1, "servers" in keys(path, "dns")
    overlays = [
        name for name, of in networks.items() if of.get("driver", "overlay") == "overlay" or of.get("scope") == "global"
    ]
    bridges = [name for name, of in networks.items() if of.get("driver") == "bridge"]
    found = [f"builtin/{name}" for name in BUILTIN_NETWORKS]
    for name, network in networks.items():
        shared, internal = name in overlays, network.get("internal") == "true"
        alike = overlays if shared else bridges
        kinds = {
            "overlay": shared,
            "local": not shared,
            "dns": shared and resolvers and not internal,
            "encrypted": several and network.get("encrypted") == "true",
            "internal": several and internal,
            "isolation": (shared and several and not internal) or (name in alike and len(alike) > 1),
        }
        found += [f"{kind}/{name}" for kind, applies in kinds.items() if applies]
    return found


def complete_scope(ctx: Any) -> list[str]:
    """What `verify` and `doctor` can be restricted to: proofs, observations and causes."""
    from provisioner.causes import CAUSES, Kind

    causes = [name for name, cause in CAUSES.items() if cause.kind is Kind.CAUSE]
    return [*complete_proofs(ctx), *OBSERVATIONS, *causes]


def complete_secrets() -> tuple[str, ...]:
    return SECRETS


def complete_causes() -> list[str]:
    from provisioner.causes import CAUSES

    return list(CAUSES)


def complete_warnings() -> list[str]:
    """The causes that --ignore can hide."""
    from provisioner.causes import CAUSES

    return [name for name, cause in CAUSES.items() if cause.ignorable]


def complete_labs() -> list[str]:
    try:
        return labs.names()
    except LabError:  # the variable names no usable folder
        return []


def complete_lab_hosts(ctx: Any) -> list[str]:
    """The hosts of the lab that --name chooses, else of the only one."""
    found = complete_labs()
    name = ctx.params.get("name") or (found[0] if len(found) == 1 else labs.DEFAULT_NAME)
    return labs.hosts(name) if name in found else []


def complete_faults() -> list[str]:
    from provisioner.lab.faults import FAULTS

    return list(FAULTS)


def complete_images() -> list[str]:
    from provisioner.lab.recipes import RECIPES

    return list(RECIPES)


def complete_topologies() -> list[str]:
    from provisioner.lab.topology import Topology

    return list(Topology)


def complete_snapshots() -> list[str]:
    from provisioner.lab.snapshot import SETTLED

    return list(SETTLED)
