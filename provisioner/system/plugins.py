"""Plugins of the engine: files of ours that tell of them, and what the engine says of those that it manages. Pure.

Sources: Docker's documentation of legacy plugins (spec files in /etc/docker/plugins) and of managed ones; tried with 20.10.5:
networks name a managed plugin with its tag, `overnet:latest`, also where it is known as `overnet` otherwise.
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
OWNED = Owned(
    files=(f"{ORIGINS}/*", f"{_ARCHIVES}*.tar"), folders=(_FOLDER, ORIGINS)
)  # and the specs of an inventory's plugins


def spec(name: str, plugin: PluginEntry) -> dict[str, str]:
    """Path -> text of what tells the engine where a plugin listens; nothing for one that it runs itself.

    With `tcp://` the engine would leave TLS out, without a word (moby's pkg/plugins/client.go; seen with 20.10.5).
    """
    if not plugin.address:
        return {}
    if not plugin.tls:
        return {f"{_FOLDER}/{name}.spec": f"{plugin.address}\n"}
    tls = {"InsecureSkipVerify": False, "CAFile": plugin.tls.ca, "CertFile": plugin.tls.cert, "KeyFile": plugin.tls.key}
    value = {"Name": name, "Addr": plugin.address.replace("tcp://", "https://", 1), "TLSConfig": tls}
    return {f"{_FOLDER}/{name}.json": json.dumps(value, indent=2) + "\n"}


def other_spec(name: str, plugin: PluginEntry) -> str:
    """The path of the other kind of file: the engine takes the first that it finds of the two."""
    return f"{_FOLDER}/{name}.{'spec' if plugin.tls else 'json'}"


def origin(name: str) -> str:
    """The file of ours that says which archive or image a plugin was made of."""
    return f"{ORIGINS}/{name}"


def files(inventory: Inventory) -> tuple[str, ...]:
    """What is read of plugins; nothing where there are none."""
    found: dict[str, None] = {}
    for name, plugin in inventory.plugins.items():
        found |= dict.fromkeys([*spec(name, plugin), other_spec(name, plugin)] if plugin.address else [origin(name)])
    return tuple(found)


def managed(facts: Facts) -> dict[str, dict[str, Any]] | None:
    """Name with tag -> what the engine says of it; None where it does not answer."""
    body = facts.http("plugins").body
    return {plugin["Name"]: plugin for plugin in body} if isinstance(body, list) else None


def settings(plugin: dict[str, Any]) -> dict[str, str]:
    found = (plugin.get("Settings") or {}).get("Env") or ()
    return dict(entry.partition("=")[::2] for entry in found)
