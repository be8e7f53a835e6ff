"""The tables of gossip of a swarm's engines (libnetwork's networkdb), for `doctor --deep`.

An engine from 18.09 on shows them on 127.0.0.1 if daemon.json has `network-diagnostic-port` and was read again since the start.
templates/tables.pl reads them on the host, in the same round trip as the kernel. Entries come from all engines: each value is
parsed strictly here. Sources: libnetwork's networkdb/networkdbdiagnostic.go, agent.proto, drivers/overlay/overlay.proto.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Address, IPv4Interface
from typing import TYPE_CHECKING, Any

from provisioner.errors import Malformed
from provisioner.system import strict
from provisioner.system.reading import DAEMON_JSON
from provisioner.system.strict import understood

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from provisioner.controlplane import Site
    from provisioner.system.facts import Facts

KEY = "network-diagnostic-port"  # in daemon.json
_EXAMPLE = 2000  # a port for it
_MOST_NETWORKS, _MOST_ENTRIES = 50, 20_000  # of one host; of one table
_LONGEST, _SHOWN = 1000, 60  # bytes of a text in an entry; characters of a name, which may be any alias
_NETWORK = re.compile(r"[a-z0-9]{10,64}", re.ASCII)
_LINE = re.compile(
    r"answer (clusterpeers|networkpeers|endpoint_table|overlay_peer_table) (-|[a-z0-9]{10,64}) (.*)", re.ASCII
)
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", re.ASCII)
_OFF = (
    f'its engine does not show its gossip tables: to compare them, add "{KEY}": {_EXAMPLE} to {DAEMON_JSON} and run systemctl'
    " reload docker; afterwards, remove the key and reload again"
)


@dataclass(frozen=True, slots=True)
class Name:
    """An entry of a network's endpoint_table: a container's name and address. owner: the gossip name of the engine that announces it."""

    name: str
    address: str
    owner: str


@dataclass(frozen=True, slots=True)
class Place:
    """An entry of a network's overlay_peer_table: the host that takes the packets for an address, by its own address."""

    address: str
    mac: str
    host: str


@dataclass(frozen=True)
class Table:
    """What an engine knows of one network. peers: the addresses of the engines that take part in it."""

    peers: frozenset[str] = frozenset()
    names: tuple[Name, ...] = ()
    places: tuple[Place, ...] = ()

    @cached_property
    def _named(self) -> frozenset[str]:
        return frozenset(name.address for name in self.names)

    @cached_property
    def _at(self) -> Mapping[str, tuple[Place, ...]]:
        found: dict[str, tuple[Place, ...]] = {}
        for place in self.places:
            found[place.address] = (*found.get(place.address, ()), place)
        return found

    def named(self, address: str) -> bool:
        return address in self._named

    def at(self, address: str) -> tuple[Place, ...]:
        return self._at.get(address, ())


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables of one engine.

    members: the gossip name of each engine of the swarm -> its address. networks: ID of a network -> its table.
    why: why they could not be read, or "".
    """

    members: Mapping[str, str] = field(default_factory=dict)
    networks: Mapping[str, Table] = field(default_factory=dict)
    why: str = ""


def asked(site: Site, host: str) -> list[str]:
    """Return the arguments of templates/tables.pl on a host; [] if its engine is in no swarm or does not show its tables."""
    facts = site.facts[host]
    if not _in_swarm(site, host) or not (port := _port(facts)):
        return []
    overlays = (
        found for found in facts.networks.values() if found.get("Driver") == "overlay" and not found.get("Ingress")
    )
    ids = [str(found.get("Id", "")) for found in overlays]
    return [str(port), *[number for number in ids if _NETWORK.fullmatch(number)][:_MOST_NETWORKS]]


def unread(site: Site, host: str, found: Tables) -> str:
    """Return why the tables of a host are not compared; "" if they are, or if its engine has none. found: what was read there."""
    if not _in_swarm(site, host):
        return ""
    if not (port := _port(site.facts[host])):
        return _OFF
    if found.why.startswith("nothing listens"):
        return f"its gossip tables: {found.why}, although {DAEMON_JSON} has {KEY}: {port}; run systemctl reload docker"
    return f"its gossip tables: {found.why}" if found.why else ""


def _in_swarm(site: Site, host: str) -> bool:
    return site.control == "swarm" and site.plane.joined(site.facts[host])


def _port(facts: Facts) -> int:
    found = strict.json_object(facts.files.get(DAEMON_JSON, "")).get(KEY)
    return found if isinstance(found, int) and not isinstance(found, bool) and 0 < found < 1 << 16 else 0


def parse(text: str) -> Tables:
    """Parse the output of templates/tables.pl. A malformed answer is a reason, too: it says nothing about the kernel."""
    try:
        with understood("an answer of the engine's diagnostic server", ""):
            return _parsed(text.rstrip("\n").split("\n"))
    except Malformed as error:
        return Tables(why=error.what)


def _parsed(lines: list[str]) -> Tables:
    if lines[0].startswith("none "):
        return Tables(why=strict.shown(lines[0].removeprefix("none ")))
    if lines[-1] != "end":
        return Tables(why="the program that reads them did not end")
    found: dict[tuple[str, str], list[Any]] = {}
    for line in lines[:-1]:
        if not (match := _LINE.fullmatch(line)):
            raise ValueError(f"unexpected line {strict.shown(line, 40)!r}")
        found[match[1], match[2]] = _entries(match[3])
    if ("clusterpeers", "-") not in found:
        raise ValueError("it lacks the engines of the swarm")
    networks = sorted({number for _, number in found} - {"-"})
    return Tables(dict(map(_peer, found["clusterpeers", "-"])), {number: _table(found, number) for number in networks})


def _table(found: Mapping[tuple[str, str], list[Any]], number: str) -> Table:
    peers, names, places = (
        found.get((kind, number), []) for kind in ("networkpeers", "endpoint_table", "overlay_peer_table")
    )
    return Table(
        frozenset(address for _, address in map(_peer, peers)),
        tuple(name for entry in names for name in _name(entry)),
        tuple(place for entry in places for place in _place(entry)),
    )


def _entries(text: str) -> list[Any]:
    """Return the entries of one answer."""
    answer = strict.value(text)
    if not isinstance(answer, dict) or answer.get("message") != "OK":
        said = answer.get("message") if isinstance(answer, dict) else answer
        raise ValueError(f"it is {strict.shown(str(said), 60)!r}")
    entries = strict.inside(answer, "details").get("entries") or []
    if not isinstance(entries, list) or len(entries) > _MOST_ENTRIES:
        raise ValueError(f"it is not a list of at most {_MOST_ENTRIES} entries")
    return entries


def _peer(entry: object) -> tuple[str, str]:
    """Return the gossip name and the address of an engine; the address is "" if this engine does not know it."""
    known = strict.inside({"entry": entry}, "entry")
    name, address = str(known.get("-=name", known.get("name", ""))), str(known.get("ip", ""))
    return name, str(IPv4Address(address)) if ":" not in address and address != "unknown" else ""


def _name(entry: object) -> Iterator[Name]:
    """Yield the name of a container, unless it is a service's that is being stopped, or has no IPv4 address."""
    known = strict.inside({"entry": entry}, "entry")
    fields = _fields(str(known.get("value", "")))
    name, address = strict.shown(_text(fields, 1), _SHOWN), _text(fields, 5)
    if not fields.get(9) and address and ":" not in address:
        yield Name(name, str(IPv4Address(address)), str(known.get("owner", "")))


def _place(entry: object) -> Iterator[Place]:
    fields = _fields(str(strict.inside({"entry": entry}, "entry").get("value", "")))
    address, mac, host = (_text(fields, number) for number in (1, 2, 3))
    if ":" in address or ":" in host:
        return
    if not _MAC.fullmatch(mac):
        raise ValueError(f"{strict.shown(mac, 40)!r} is not a MAC address")
    yield Place(str(IPv4Interface(address).ip), mac, str(IPv4Address(host)))


# -- protocol buffers ------------------------------------------------------------------------------------------------------

_VARINT, _BYTES = 0, 2  # types of fields in the entries: protobuf's encoding, "Message Structure"


def _fields(encoded: str) -> dict[int, int | bytes]:
    """Return the fields of a message in Base64 by number; of a repeated field, the last one. Raises ValueError."""
    data, at = base64.b64decode(encoded, validate=True), 0
    found: dict[int, int | bytes] = {}
    while at < len(data):
        key, at = _varint(data, at)
        if key & 7 == _VARINT:
            found[key >> 3], at = _varint(data, at)
        elif key & 7 == _BYTES:
            size, at = _varint(data, at)
            if at + size > len(data):
                raise ValueError("an entry is cut off")
            found[key >> 3], at = data[at : at + size], at + size
        else:
            raise ValueError(f"an entry has a field of type {key & 7}")
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number of at most 64 bits, and where it ends."""
    found = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise ValueError("an entry is cut off")
        found |= (data[at] & 127) << shift
        at += 1
        if data[at - 1] < 128:  # noqa: PLR2004 - the last byte of a number
            return found, at
    raise ValueError("an entry has a number of more than 64 bits")


def _text(fields: Mapping[int, int | bytes], number: int) -> str:
    found = fields.get(number, b"")
    if not isinstance(found, bytes) or len(found) > _LONGEST:
        raise ValueError(f"field {number} of an entry is not a text of at most {_LONGEST} bytes")
    return found.decode("utf-8")
