"""Check how the values of an inventory fit together: no duplicates, no overlaps, enough room, existing files.

The checks use raw values and skip invalid ones, which are already reported. So one wrong value never hides
another.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING, Any

from provisioner import labs
from provisioner.errors import LabError
from provisioner.inventory import discovery, network_checks, planes, plugins, values
from provisioner.inventory.problems import Location, code, nearest, shown
from provisioner.inventory.raw import dots as _dots
from provisioner.inventory.raw import entries as _entries
from provisioner.inventory.raw import line as _line
from provisioner.inventory.raw import literals as _literals
from provisioner.inventory.raw import part as _part
from provisioner.inventory.raw import sound as _sound
from provisioner.inventory.raw import value as _value

if TYPE_CHECKING:
    from pathlib import Path

    from provisioner.inventory.document import Document

SERVER_COUNTS = (1, 3, 5)
_SECURED = {  # kind of store -> the security settings that it supports
    "consul": ("tls", "gossip", "acls"),
    "etcd": ("tls",),
    "zookeeper": (),
}
_LONGEST_PATH = 200  # characters of a path that a message shows


def check(document: Document) -> None:
    """Add the errors between values to the document."""
    hosts = _entries(document, "hosts")
    _some(document)
    _addresses(document, hosts)
    _advertised(document, hosts)
    network_checks.check(document)
    plugins.check(document)
    _servers(document)
    dns = _part(document, "dns")
    if dns.get("check") is not None and dns.get("servers") is None:
        document.refuse(("dns", "check"), "dns.check: there is no resolver to query: name the resolvers in dns.servers")
    planes.check(document)


def check_files(document: Document, folder: Path) -> None:
    """Add an error for each missing key or binary file. folder: where relative paths start."""
    keys: list[Location] = [("ssh", "key"), *(("hosts", name, "key") for name in _entries(document, "hosts"))]
    files: list[Location] = [("store", "binary"), *(("store", "tls", name) for name in ("ca", "cert", "key"))]
    files += [("ssh", "config")] if _value(document, ("ssh", "config")) != values.NONE else []
    for location in [*keys, *files]:
        path = _sound(lambda value: values.resolved(value, folder), _value(document, location))
        if path is None:
            continue
        word = document.masked(location, shown(str(path), _LONGEST_PATH))
        if fault := unusable(path):
            advice = "" if location in document.secrets else _of_a_lab(path)
            document.refuse(location, f"{_dots(location)}: {word} {fault}{advice}")
        elif location in keys and path.suffix == ".pub":
            document.refuse(location, f"{_dots(location)}: {word} is the public key; name the private key")
    _check_archives(document, folder)


def _check_archives(document: Document, folder: Path) -> None:
    for name, entry in _entries(document, "plugins").items():
        path = _sound(lambda value: values.resolved(value, folder), entry.get("archive"))
        if path is None:
            continue
        location = ("plugins", name, "archive")
        granted, digest = (
            _sound(plugins.grant, entry.get("grant")) or (),
            _sound(values.sha256, entry.get("sha256")) or "",
        )
        fault = unusable(path) or plugins.unfit(path, granted, digest)
        if fault:
            document.refuse(
                location, f"{_dots(location)}: {document.masked(location, shown(str(path), _LONGEST_PATH))} {fault}"
            )


def _of_a_lab(key: Path) -> str:
    """What to do about a key of a lab: only root can read it, and it is removed with the lab."""
    with contextlib.suppress(LabError):  # no lab is possible where the variable says
        if lab := labs.owner(key):
            gone = f"the lab {lab} is gone; `provisioner lab up --name {lab}` makes another one"
            used = f"the hosts are in the lab {lab}: run this as root, after `provisioner lab run --name {lab} --`"
            return f"; {used if lab in labs.names() else gone}"
    return ""


def unusable(path: Path) -> str:
    """Return why a file can't be read, or "". It is not opened, because opening a named pipe would wait for its writer."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return "does not exist"
    except (OSError, ValueError) as error:
        return f"can't be read: {getattr(error, 'strerror', None) or 'no usable path'}"
    if not stat.S_ISREG(mode):
        return "is a folder, not a file" if stat.S_ISDIR(mode) else "is not an ordinary file"
    return "" if os.access(path, os.R_OK) else "can't be read: Permission denied"


def _some(document: Document) -> None:
    for key, thing in (("hosts", "host"), ("networks", "network")):
        if document.value.get(key) == {} and not any(spoilt[:1] == (key,) for spoilt in document.spoilt):
            document.refuse((key,), f"{key}: names no {thing}")


def _addresses(document: Document, hosts: dict[str, dict[str, Any]]) -> None:
    """Refuse a duplicate address and port, which would configure one machine twice."""
    port = values.whole("port", 1, 65535)
    usual = _sound(port, _part(document, "ssh").get("port")) or 22
    first: dict[tuple[str, int], str] = {}
    for name, entry in hosts.items():
        if (address := _sound(values.address, entry.get("address"))) is None:
            continue
        key = (address.lower(), _sound(port, entry.get("port")) or usual)
        if (other := first.setdefault(key, name)) != name:
            line = _line(document, ("hosts", other, "address"))
            masked = document.masked(("hosts", name, "address"), address)
            number = document.masked(("hosts", name, "port") if "port" in entry else ("ssh", "port"), key[1])
            text = f"hosts.{name}.address: {masked}, port {number}, is {code(other)} already (line {line})"
            document.refuse(("hosts", name, "address"), text)


def _advertised(document: Document, hosts: dict[str, dict[str, Any]]) -> None:
    """Refuse an advertised address for several hosts."""
    word = _sound(values.advertise, document.value.get("advertise"))
    if word and values.is_literal(word) and len(_part(document, "hosts")) > 1:
        masked = document.masked(("advertise",), word)
        text = f"advertise: {masked} can belong to one host only; name an interface, or set `advertise` in that host"
        document.refuse(("advertise",), text)
    owners = {_sound(values.address, entry.get("address")): name for name, entry in reversed(hosts.items())}
    first: dict[str, str] = {}
    for name, word in _literals(hosts):
        location: Location = ("hosts", name, "advertise")
        owner, masked = owners.get(word, name), document.masked(location, word)
        if (other := first.setdefault(word, name)) != name:
            line = _line(document, ("hosts", other, "advertise"))
            document.refuse(
                location, f"hosts.{name}.advertise: {masked} is advertised by {code(other)} already (line {line})"
            )
        elif owner != name and hosts[name].get("address") != word:
            line = _line(document, ("hosts", owner, "address"))
            document.refuse(location, f"hosts.{name}.advertise: {masked} is the address of {code(owner)} (line {line})")


def _servers(document: Document) -> None:
    """Require 1, 3 or 5 servers or managers, which are hosts and listed once."""
    _of_one_kind(document)
    _majority(document, ("store", "servers"), "servers")
    _majority(document, ("swarm", "managers"), "managers")


def _majority(document: Document, location: Location, what: str) -> None:
    servers, key = _sound(values.listed, _value(document, location)), _dots(location)
    if servers is None:
        return
    hosts = list(_part(document, "hosts"))
    for index, name in enumerate(servers):
        at: Location = (*location, index)
        masked = document.masked(at, shown(name))
        if name in servers[:index]:
            document.refuse(at, f"{key}: {masked} is named twice")
        elif hosts and name not in hosts:
            hint = "" if at in document.secrets else nearest(name, hosts)
            document.refuse(at, f"{key}: {masked} is not one of the hosts{hint}")
    if len(servers) > len(hosts) > 0:
        document.refuse(location, f"{key}: {len(servers)} {what} are more than the {len(hosts)} hosts")
    elif len(servers) not in SERVER_COUNTS:
        document.refuse(
            location,
            f"{key}: names {len(servers)} {what}; there must be 1, 3 or 5 (an odd number, so that a majority is left if one is lost);"
            f" without this key, the present {what} stay",
        )


def _of_one_kind(document: Document) -> None:
    """Refuse settings of a different kind of store, and settings that do not fit an external store."""
    store = _part(document, "store")
    kind = store.get("kind")
    if "binary" in store and kind in ("etcd", "zookeeper"):
        text = "store.binary: only Consul can be uploaded; etcd and ZooKeeper come from the hosts' package sources"
        document.refuse(("store", "binary"), text, at_key=True)
    if "sha256" in store and "binary" not in store:
        document.refuse(("store", "sha256"), "store.sha256: is the checksum of `binary`, which is missing", at_key=True)
    endpoints = _sound(values.endpoints, store.get("endpoints")) or ()
    for key in ("servers", "binary", "sha256") if endpoints else ():
        if key in store:
            text = f"store.{key}: is for a store that provisioner sets up, not for `endpoints`: remove one of the two"
            document.refuse(("store", key), text, at_key=True)
    if kind == "consul" and len(endpoints) > 1:
        text = "store.endpoints: the engine supports one endpoint of Consul: name the agent on every host, `[127.0.0.1:8500]`"
        document.refuse(("store", "endpoints"), text)
    if endpoints and "security" in store:
        text = "store.security: is for a store that provisioner sets up, not for `endpoints`: remove it; for TLS, use `store.tls`"
        document.refuse(("store", "security"), text, at_key=True)
    elif kind in _SECURED:
        _security(document, kind)
    if endpoints and "local_users" in store:
        text = "store.local_users: is for a store that provisioner sets up; access to `endpoints` is not restricted: remove it"
        document.refuse(("store", "local_users"), text, at_key=True)
    if "tls" in store and kind == "zookeeper":
        text = "store.tls: engines have no TLS for ZooKeeper: remove it, or use etcd or Consul"
        document.refuse(("store", "tls"), text, at_key=True)
    elif "tls" in store and "endpoints" not in store:
        text = "store.tls: is for an existing store; a store that provisioner sets up has its own files: remove it, or add `endpoints`"
        document.refuse(("store", "tls"), text, at_key=True)
    for index, word in enumerate(endpoints):
        if word in endpoints[:index]:
            at: Location = ("store", "endpoints", index)
            document.refuse(at, f"store.endpoints: {document.masked(at, shown(word))} is named twice")
    discovery.check(document, str(kind))


def _security(document: Document, kind: str) -> None:
    """Refuse security settings that a store does not support: it would be open, although the inventory says otherwise."""
    given = _value(document, ("store", "security"))
    for key in sorted(set(_SECURED["consul"]) & set(given if isinstance(given, dict) else ())):
        if key not in _SECURED[kind]:
            why = (
                "engines have no TLS for ZooKeeper: remove it, or use etcd or Consul"
                if key == "tls"
                else "only Consul has this setting: remove it"
            )
            document.refuse(("store", "security", key), f"store.security.{key}: {why}", at_key=True)
