"""Texts about a drift, for people only. Code decides by `Drift.kind` and `Drift.action`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.model import Action, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provisioner.model import Drift

_THINGS: Mapping[Kind, str] = {
    Kind.FILE: "{target}",
    Kind.CONFIDENTIAL: "{target}",
    Kind.MODE: "mode of {target}",
    Kind.FOLDER: "the folder {target}",
    Kind.DATA: "{target}",
    Kind.PACKAGE: "package {target}",
    Kind.UPLOAD: "{target}, from {of}",
    Kind.USER: "user {target}",
    Kind.GROUP: "group {target}",
    Kind.RECORD: "{target}",
    Kind.RULES: "rules of {target}",
    Kind.UNIT: "{target}",
    Kind.BOOT: "{target} at boot",
    Kind.PORT: "{of} on {target}",
    Kind.ENGINE: "the engine",
    Kind.ENGINE_USES: "the running engine's {target}",
    Kind.ENGINE_LEAVES: "the running engine's {target}",
    Kind.GOSSIP: "the engine's gossip",
    Kind.SERVER: "the running {of}",
    Kind.STORE: "{of}'s {target}",
    Kind.RIGHTS: "the engine's rights in {of}",
    Kind.MEMBER: "{of} on {target}",
    Kind.NETWORK: "network {target}",
    Kind.NETWORK_OPTION: "network {of}: {target}",
    Kind.PLUGIN: "plugin {target}",
    Kind.CONTAINER: "container {target}",
    Kind.ENDPOINT: "{target} on {of}",
    Kind.SWARM: "the swarm",
    Kind.LABEL: "the label of the swarm",
    Kind.OWN_ROLE: "its role in the swarm",
    Kind.ROLE: "the role of {target} in the swarm",
    Kind.SERVICES: "services on {target}",
    Kind.NODE: "node {target} of {of}",
    Kind.STALE_NODE: "the former node of {target}",
    Kind.UNKNOWN: "",
}
_TAKES: Mapping[Action, str] = {
    Action.START: "start",
    Action.RELOAD: "reload",
    Action.RESTART: "restart",
    Action.WAIT: "wait",
    Action.FOUND: "init",
    Action.JOIN: "join",
    Action.REJOIN: "leave and join",
    Action.NAME: "label",
    Action.PROMOTE: "promotion",
    Action.DEMOTE: "demotion",
    Action.FORGET: "removal",
    Action.ROTATE: "rotation",
}
_TAKES_FOR: Mapping[tuple[Kind, Action], str] = {  # has precedence over _TAKES
    (Kind.CONFIDENTIAL, Action.RELOAD): "reload of {of}",
    (Kind.CONFIDENTIAL, Action.RESTART): "restart of {of}",
    (Kind.SERVER, Action.RESTART): "restart of {of}",
    (Kind.ENGINE_LEAVES, Action.RESTART): "restart of the engine; containers keep running",
    (Kind.NETWORK, Action.REMOVE): "removal",
    (Kind.NETWORK, Action.RECREATE): "up --recreate {target}",
    (Kind.NETWORK_OPTION, Action.RECREATE): "up --recreate {of}",
    (Kind.PLUGIN, Action.INSTALL): "install",
    (Kind.PLUGIN, Action.REPLACE): "reinstall",
    (Kind.PLUGIN, Action.CONFIGURE): "new settings",
    (Kind.PLUGIN, Action.SWITCH): "enable or disable",
}


def what(drift: Drift) -> str:
    """Name the thing that differs ("/etc/docker/daemon.json", "package docker.io")."""
    return _filled(_THINGS[drift.kind], drift)


def note(drift: Drift) -> str:
    """Say what resolving the drift takes ("reload", "restart of Consul"); "" if it disturbs nothing."""
    words = _TAKES_FOR.get((drift.kind, drift.action), _TAKES.get(drift.action, ""))
    return _filled(words, drift)


def _filled(words: str, drift: Drift) -> str:
    return words.format(target=drift.target, of=drift.of)
