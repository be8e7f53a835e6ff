"""What of ours is on a host, and what its daemon.json was before. Pure; for what `remove` and `down` take away."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from provisioner import render
from provisioner.errors import StepFailed
from provisioner.steps import OWNED, resolvers
from provisioner.system import owned
from provisioner.system.daemon_json import parse
from provisioner.system.owned import MARK, UNITS
from provisioner.system.reading import DAEMON_JSON

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provisioner.inventory import Dns
    from provisioner.system.facts import Facts
    from provisioner.system.owned import Backup, Found

_CLUSTER = tuple(key for key in OWNED.keys if key.startswith("cluster-"))


def found(facts: Facts) -> Found:
    """What a host has. Beside the section that tells it, files that were read anyway count."""
    told = owned.parse(facts.raw.get("owned", ""), OWNED)
    read = {*facts.files, *facts.secrets, *(path for path in OWNED.files if facts.sum(path))}
    files = {path for path in read if any(fnmatchcase(path, place) for place in OWNED.files)}
    units = {unit for unit in OWNED.units if facts.files.get(f"{UNITS}/{unit}", "").startswith(MARK)}
    there = {**told.there, "file": told.of("file") | files, "unit": told.of("unit") | units}
    there["data"] = told.of("data") | {data.folder for data in OWNED.data if data.config in there["file"]}
    for kind, state in (("enabled", "enabled"), ("active", "up")):
        there[kind] = told.of(kind) | {unit for unit in there["unit"] if getattr(facts.unit(unit), state)}
    return replace(told, there=there)


@dataclass(frozen=True)
class Before:
    """What daemon.json is to be again. backup: the copy whose bytes, mode and owner return; "" if there is none.

    text: "" without a backup means that there is to be no file. copies: backups that are of no use any more.
    """

    text: str
    backup: str = ""
    copies: tuple[str, ...] = ()


def before(host: str, facts: Facts, asked: Dns) -> Before:
    """daemon.json without our keys. If a copy from before says the same, its bytes return. Raises StepFailed."""
    text, copies, dns = facts.files.get(DAEMON_JSON, ""), found(facts).backups, resolvers.settings(asked)
    settings = parse(host, text)
    left = {key: value for key, value in settings.items() if key not in _CLUSTER and dns.get(key) != value}
    mended = render.text("daemon.json.j2", settings=left) if left else ""
    now = Before(text if left == settings else mended)
    if left != settings or text == mended:  # also if an earlier run was interrupted before the bytes returned
        same = (copy for copy in copies if _says(copy, {k: v for k, v in left.items() if k not in dns}, dns))
        now = next((Before(copy.text, copy.path) for copy in same), now)
    spent = [copy.path for copy in copies if _is_ours(copy) and (copy.text == now.text or _says(copy, None, dns))]
    return replace(now, copies=tuple(spent))


def _is_ours(copy: Backup) -> bool:
    """Named after its content, as only we do."""
    return copy.path.endswith(f".{hashlib.sha256(copy.text.encode()).hexdigest()[:8]}.bak")


def _says(copy: Backup, wanted: Mapping[str, Any] | None, dns: Mapping[str, Any]) -> bool:
    """Whether a copy has these settings and no key of the cluster's; with None, whether it has such a key."""
    try:
        settings = parse("", copy.text)
    except StepFailed:
        return False
    if set(settings) & set(_CLUSTER):
        return wanted is None
    return wanted is not None and {key: value for key, value in settings.items() if key not in dns} == wanted
