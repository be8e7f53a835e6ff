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

_DEFAULT = Path("cluster.yml")
_LARGEST = 1024 * 1024  # bytes; larger files are no inventories
_TOP = 2  # the level of an inventory's own keys; the document itself is the first
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def default() -> Path:
    """The inventory of a command line that names none: the file of the variable, else cluster.yml. It need not exist."""
    return Path(os.environ.get(VARIABLE) or _DEFAULT)


def keys(path: Path, part: str) -> list[str]:
    """The keys of a part of an inventory, such as `hosts`; those up to an error if the file is malformed."""
    import yaml

    found: list[str] = []
    try:
        if stat.S_ISREG(path.stat().st_mode):  # a pipe would wait for its writer
            with path.open("rb") as file:
                text = file.read(_LARGEST)
            found.extend(_keys(yaml.parse(text, Loader=getattr(yaml, "CLoader", yaml.Loader)), part))
    except (OSError, ValueError, yaml.YAMLError):
        pass
    return [name for name in found if _SAFE.fullmatch(name)]


def _keys(events: Iterable[Any], part: str) -> Iterator[str]:
    """Follow the events of a parser: what is written at the second level below the key `part`. Nothing is constructed."""
    import yaml

    level, within = [0], ""  # the nodes seen so far on each level; the latest key of the top
    for event in events:
        level[-1] += isinstance(event, yaml.NodeEvent)
        if isinstance(event, yaml.ScalarEvent) and level[-1] % 2:  # a key
            if len(level) == _TOP:
                within = event.value
            elif len(level) == _TOP + 1 and within == part:
                yield event.value
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
