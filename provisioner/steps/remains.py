"""What we have put on a host, and which daemon.json it had before. Pure. `remove` and `down` use it."""

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
    """Return what we have put on a host, from the section "owned" and from files that other sections contain."""
    probed = owned.parse(facts.raw.get("owned", ""), OWNED)
    read = {*facts.files, *facts.secrets, *(path for path in OWNED.files if facts.sum(path))}
    files = {path for path in read if any(fnmatchcase(path, place) for place in OWNED.files)}
    units = {unit for unit in OWNED.units if facts.files.get(f"{UNITS}/{unit}", "").startswith(MARK)}
    there = {**probed.there, "file": probed.of("file") | files, "unit": probed.of("unit") | units}
    there["data"] = probed.of("data") | {data.folder for data in OWNED.data if data.config in there["file"]}
    for kind, state in (("enabled", "enabled"), ("active", "up")):
        there[kind] = probed.of(kind) | {unit for unit in there["unit"] if getattr(facts.unit(unit), state)}
    return replace(probed, there=there)


@dataclass(frozen=True)
class Before:
    """The daemon.json to restore.

    Attributes:
        text: its content. Empty without a backup: the file is to be removed.
        backup: path of the saved copy whose bytes, mode and owner are restored, or "".
        copies: paths of saved copies that are no longer needed.
    """

    text: str
    backup: str = ""
    copies: tuple[str, ...] = ()


def before(host: str, facts: Facts, resolving: Dns) -> Before:
    """Return daemon.json without our keys. If a saved copy has the same settings, its bytes are restored.

    resolving: the inventory's `dns`. Raises StepFailed if daemon.json is not valid JSON.
    """
    text, copies, dns = facts.files.get(DAEMON_JSON, ""), found(facts).backups, resolvers.settings(resolving)
    settings = parse(host, text)
    left = {key: value for key, value in settings.items() if key not in _CLUSTER and dns.get(key) != value}
    cleaned = render.text("daemon.json.j2", settings=left) if left else ""
    now = Before(text if left == settings else cleaned)
    if left != settings or text == cleaned:  # the second: an earlier run was interrupted before it restored the bytes
        same = (copy for copy in copies if _has(copy, {k: v for k, v in left.items() if k not in dns}, dns))
        now = next((Before(copy.text, copy.path) for copy in same), now)
    spent = [copy.path for copy in copies if _is_ours(copy) and (copy.text == now.text or _has(copy, None, dns))]
    return replace(now, copies=tuple(spent))


def _is_ours(copy: Backup) -> bool:
    """Return whether the copy is named after its content. Only we name copies so."""
    return copy.path.endswith(f".{hashlib.sha256(copy.text.encode()).hexdigest()[:8]}.bak")


def _has(copy: Backup, wanted: Mapping[str, Any] | None, dns: Mapping[str, Any]) -> bool:
    """Return whether a copy has exactly these settings and none of the cluster's keys. None: whether it has such a key."""
    try:
        settings = parse("", copy.text)
    except StepFailed:
        return False
    if set(settings) & set(_CLUSTER):
        return wanted is None
    return wanted is not None and {key: value for key, value in settings.items() if key not in dns} == wanted
