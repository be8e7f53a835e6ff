"""The checks of values under `plugins:`, and of the permissions that an archive's plugin requires."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any, Final

from provisioner.inventory import network_values, raw, values
from provisioner.inventory.problems import code, nearest, refusal, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from provisioner.inventory.document import Document

NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}")
SETTING: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
REFERENCE: Final = re.compile(  # as in docker/distribution's reference, without its longest forms
    r"(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::[0-9]{1,5})?/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*(?::[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127})?(?:@sha256:[0-9a-f]{64})?"
)
ALL: Final = "all"
TAG: Final = "latest"
"""Engines use this tag for all plugins that they run, whatever the image's tag is."""
_SOCKET = re.compile(r"unix:///[a-zA-Z0-9_.@/-]{1,100}")
_TCP = re.compile(r"tcp://([a-zA-Z0-9.-]{1,253}):([0-9]{1,5})")
_HOST_PATH = re.compile(r"/[a-zA-Z0-9_.@/-]{1,250}")
_NAMESPACES = ("host ipc namespace", "host pid namespace", "allow-all-devices")  # permissions without an argument
_NAMED = ("network", "mount", "device", "capabilities")
_SOURCES = ("address", "image", "archive")
_MANAGED = ("grant", "settings", "enabled", "sha256")
_FEW = 3  # hosts that a message names
_LARGEST_CONFIG = 1 << 20  # bytes


def address(value: object) -> str:
    """Check the address of a plugin that already runs, as in its spec file."""
    word = values.text(value)
    tcp = _TCP.fullmatch(word)
    if not _SOCKET.fullmatch(word) and not (tcp and 1 <= int(tcp[2]) <= 65535):  # noqa: PLR2004
        raise refusal(
            f"{shown(word)} is not a plugin's address: write `unix:///run/NAME.sock` or `tcp://127.0.0.1:8080`"
        )
    return word


def host_path(value: object) -> str:
    """A file on the hosts."""
    word = values.text(value)
    if not _HOST_PATH.fullmatch(word):
        raise refusal(
            f"{shown(word)} is not a path on a host: begin with `/`, and use letters, digits, `_`, `.`, `@` and `-`"
        )
    return word


def grant(value: object) -> tuple[str, ...]:
    """Check the permissions of a managed plugin: `all`, or a list in Docker's words."""
    if value == ALL:
        return (ALL,)
    if not isinstance(value, list | tuple) or not value:
        raise refusal(f"must be `all` or a list of permissions: `[network host, mount /run]`, not {shown(value)}")
    return tuple(_granted(word) for word in value)


def _granted(value: object) -> str:
    word = values.text(value)
    kind, _, rest = word.partition(" ")
    if word in _NAMESPACES or (kind in _NAMED and re.fullmatch(r"[\w/.@:*-]{1,250}", rest)):
        return word
    known = (*(f"{name} ..." for name in _NAMED), *_NAMESPACES)
    raise refusal(
        f"{shown(word)} is not a permission of plugins: {', '.join(map(code, known))}{nearest(word, _NAMESPACES)}"
    )


def setting(value: object) -> str:
    word = values.text(value)
    if not word.isprintable() or len(word) > 1000:  # noqa: PLR2004
        raise refusal(f"{shown(word)} is not a valid setting: use printable characters, at most 1000")
    return word


def check(document: Document) -> None:
    """Check that each plugin has one source, keys that fit it, and known hosts."""
    hosts = raw.part(document, "hosts")
    for name, entry in raw.entries(document, "plugins").items():
        sources = [key for key in _SOURCES if key in entry]
        if len(sources) != 1:
            what = "names none of them" if not sources else f"names {' and '.join(sources)}"
            text = f"plugins.{name}: {what}: needs exactly one of `address` (it already runs), `image` (from a registry) and `archive`"
            document.refuse(("plugins", name), text)
        elif sources == ["address"]:
            for key in [key for key in _MANAGED if key in entry]:
                text = f"plugins.{name}.{key}: is for plugins that the engine runs; one with an `address` already runs"
                document.refuse(("plugins", name, key), text)
        if "tls" in entry and not str(entry.get("address", "")).startswith("tcp://"):
            document.refuse(
                ("plugins", name, "tls"), f"plugins.{name}.tls: requires an `address` that begins with `tcp://`"
            )
        if "sha256" in entry and "archive" not in entry:
            document.refuse(
                ("plugins", name, "sha256"), f"plugins.{name}.sha256: is the checksum of an `archive`, which is missing"
            )
        for index, host in enumerate(raw.sound(values.listed, entry.get("hosts")) or ()):
            if host not in hosts:
                text = f"plugins.{name}.hosts: {shown(host)} is not one of the hosts{nearest(host, hosts)}"
                document.refuse(("plugins", name, "hosts", index), text)
        if name in network_values.SCOPES:
            document.refuse(
                ("plugins", name),
                f"plugins.{name}: the engine has a built-in driver of this name: choose another one",
                at_key=True,
            )
    for name, entry in raw.entries(document, "networks").items():
        _network(document, name, entry)


def _network(document: Document, name: str, entry: Mapping[str, Any]) -> None:
    """Check that a plugin's network uses the engines' name of the plugin, and that the plugin runs on all its hosts."""
    driver = raw.sound(network_values.driver, entry.get("driver")) or ""
    base, at = driver.partition(":")[0], ("networks", name, "driver")
    plugin = raw.entries(document, "plugins").get(base)
    if plugin is None or base in network_values.SCOPES:
        return
    masked, key = document.masked(at, code(driver)), f"networks.{name}.driver"
    known = "NAME" if at in document.secrets else base
    if "address" in plugin and driver != base:
        document.refuse(at, f"{key}: {masked} is a plugin with an `address`, so it has no tag: write `{known}`")
    elif "address" not in plugin and driver != f"{base}:{TAG}":
        document.refuse(
            at,
            f"{key}: {masked} is a plugin that the engine runs under its name and tag, `{TAG}`: write `{known}:{TAG}`",
        )
    if raw.sound(values.truth, plugin.get("enabled")) is False:
        text = f"the plugin {masked} has `enabled: false`, so no engine can create a network with it: enable it, or remove the network"
        document.refuse(at, f"{key}: {text}")
    present = raw.sound(values.listed, plugin.get("hosts"))
    on = raw.sound(values.listed, entry.get("hosts")) or tuple(raw.part(document, "hosts"))
    if present is not None and (
        missing := [host for host in on if host not in present and host in raw.part(document, "hosts")]
    ):
        others = " and others" if len(missing) > _FEW else ""
        cure = "add them to the plugin's `hosts`"
        if entry.get("scope") != "global" and (both := [host for host in present if host in on]):
            cure += f", or give the network `hosts: [{', '.join(both)}]`"
        text = f"the plugin {masked} is not on {', '.join(missing[:_FEW])}{others}, where the network should be: {cure}"
        document.refuse(at, f"{key}: {text}")


def unfit(archive: Path, granted: tuple[str, ...], digest: str = "") -> str:
    """Return what is wrong with an archive, or "". It needs config.json and rootfs/, and only granted permissions.

    digest: the expected SHA-256 checksum, or "".
    """
    from tarfile import TarError

    try:
        if digest and (found := sum_of(archive)) != digest.lower():
            return f"has the SHA-256 checksum {found}, which is not its `sha256`; download it again, or correct the checksum"
        config = _config(archive)
    except (OSError, TarError, ValueError, KeyError) as error:
        return f"is not a plugin's archive (a tar file with config.json and rootfs/): {error}"
    try:
        wants = list(dict.fromkeys(privileges(config)))
    except (TypeError, AttributeError, KeyError):
        return "has a config.json that no engine accepts"
    if granted != (ALL,) and not set(wants) <= set(granted):
        return f"requires permissions that are not granted; to grant them, write `grant: [{', '.join(wants)}]`"
    return ""


def sum_of(path: Path) -> str:
    """A file's SHA-256 checksum in hexadecimal digits. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _config(archive: Path) -> dict[str, Any]:
    import tarfile  # slow to import, and needed only for archives

    config, rootfs = None, False
    with tarfile.open(archive) as tar:
        for member in tar:
            name = member.name.removeprefix("./")
            if name.startswith(("/", "../")) or "/../" in name:
                raise ValueError(f"{shown(member.name)} points outside of the archive")
            rootfs = rootfs or name.startswith("rootfs/")
            if name == "config.json" and member.size <= _LARGEST_CONFIG and (file := tar.extractfile(member)):
                config = json.load(file)
            if config is not None and rootfs:
                break
    if not isinstance(config, dict) or not rootfs:
        raise ValueError("it has no config.json" if config is None else "it has no rootfs/")
    return config


def privileges(config: Mapping[str, Any]) -> Iterator[str]:
    """The permissions that Docker asks for before it installs a plugin (moby v20.10, plugin/backend_linux.go)."""
    network = (config.get("Network") or {}).get("Type") or ""
    if network not in ("", "null", "none", "bridge"):
        yield f"network {network}"
    for key, word in (("IpcHost", "host ipc namespace"), ("PidHost", "host pid namespace")):
        if config.get(key):
            yield word
    for mount in config.get("Mounts") or ():
        if mount.get("Source"):
            yield f"mount {mount['Source']}"
    linux = config.get("Linux") or {}
    for device in linux.get("Devices") or ():
        if device.get("Path"):
            yield f"device {device['Path']}"
    if linux.get("AllowAllDevices"):
        yield "allow-all-devices"
    for capability in linux.get("Capabilities") or ():
        yield f"capabilities {capability}"
