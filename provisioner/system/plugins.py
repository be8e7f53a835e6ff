"""The engine's plugins: the spec files that we write, and the engine's answers about managed plugins. Pure.

Sources: Docker's documentation of legacy plugins (spec files in /etc/docker/plugins) and of managed plugins. Tested with
20.10.5: networks name a managed plugin with its tag (`overnet:latest`), even if it is called `overnet` elsewhere.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from provisioner.system.owned import Owned

if TYPE_CHECKING:
    from provisioner.inventory import Inventory, PluginEntry
    from provisioner.system.facts import Facts

_FOLDER = "/etc/docker/plugins"
ORIGINS = "/etc/provisioner/plugins"
_ARCHIVES = "/var/lib/provisioner-plugin-"
# The spec files of an inventory's plugins are owned too; their names are not known here.
OWNED = Owned(files=(f"{ORIGINS}/*", f"{_ARCHIVES}*.tar"), folders=(_FOLDER, ORIGINS))


def spec(name: str, plugin: PluginEntry) -> dict[str, str]:
    """Return path -> text of the file that tells the engine where a plugin listens; {} for a managed plugin.

    With `tcp://` the engine would silently not use TLS (moby's pkg/plugins/client.go; seen with 20.10.5).
    """
    if not plugin.address:
        return {}
    if not plugin.tls:
        return {f"{_FOLDER}/{name}.spec": f"{plugin.address}\n"}
    tls = {"InsecureSkipVerify": False, "CAFile": plugin.tls.ca, "CertFile": plugin.tls.cert, "KeyFile": plugin.tls.key}
    value = {"Name": name, "Addr": plugin.address.replace("tcp://", "https://", 1), "TLSConfig": tls}
    return {f"{_FOLDER}/{name}.json": json.dumps(value, indent=2) + "\n"}


def other_spec(name: str, plugin: PluginEntry) -> str:
    """Return the path of the other kind of spec file. The engine uses the first of the two that it finds."""
    return f"{_FOLDER}/{name}.{'spec' if plugin.tls else 'json'}"


def origin(name: str) -> str:
    """Return the path of our file that records from which archive or image a plugin was created."""
    return f"{ORIGINS}/{name}"


def files(inventory: Inventory) -> tuple[str, ...]:
    """Return the files to read about the inventory's plugins."""
    found: dict[str, None] = {}
    for name, plugin in inventory.plugins.items():
        found |= dict.fromkeys([*spec(name, plugin), other_spec(name, plugin)] if plugin.address else [origin(name)])
    return tuple(found)


def managed(facts: Facts) -> dict[str, dict[str, Any]] | None:
    """Return name with tag -> the engine's entry for the plugin; None if the engine does not answer."""
    body = facts.http("plugins").body
    return {plugin["Name"]: plugin for plugin in body} if isinstance(body, list) else None


def settings(plugin: dict[str, Any]) -> dict[str, str]:
    found = (plugin.get("Settings") or {}).get("Env") or ()
    return dict(entry.partition("=")[::2] for entry in found)
