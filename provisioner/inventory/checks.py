"""What the values of an inventory must be together: no two alike, no overlap, room enough, files that are there.

These look at the raw values and skip what is no sound value by itself (that is told already), so one wrong
value never hides another.
"""

from __future__ import annotations

import os
import stat
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic_core import PydanticCustomError

from provisioner.inventory import values
from provisioner.inventory.problems import Location, code, nearest, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from ipaddress import IPv4Address, IPv4Network
    from pathlib import Path

    from provisioner.inventory.document import Document

T = TypeVar("T")
_SERVER_COUNTS = (1, 3, 5)
_TTL_FACTOR = 3  # of the engine's, where only one of heartbeat and ttl is given
_CONSUL_TTL = 20  # seconds
_LONGEST_PATH = 200  # characters of a path that a message shows
_NAMED = 3  # hosts that a message names before it says how many more there are
_OVERHEAD = 3  # addresses of a subnet that no container gets: the network's, the gateway's, the last


def check(document: Document) -> None:
    """Add to the document what is wrong between its values."""
    hosts, networks = _entries(document, "hosts"), _entries(document, "networks")
    _some(document)
    _addresses(document, hosts)
    _advertised(document, hosts)
    subnets = {name: net for name, entry in networks.items() if (net := _sound(values.subnet, entry.get("subnet")))}
    _overlaps(document, subnets)
    _underlay(document, hosts, subnets)
    for name, net in subnets.items():
        _room(document, name, net, len(_part(document, "hosts")))
        _inside(document, name, net, networks[name], len(_part(document, "hosts")))
    _servers(document)


def check_files(document: Document, folder: Path) -> None:
    """Add the key and binary files that are named and not there. folder: where relative paths start."""
    keys: list[Location] = [("ssh", "key"), *(("hosts", name, "key") for name in _entries(document, "hosts"))]
    files: list[Location] = [("store", "binary"), *(("store", "tls", name) for name in ("ca", "cert", "key"))]
    for location in [*keys, *files]:
        path = _sound(lambda value: values.resolved(value, folder), _value(document, location))
        if path is None:
            continue
        word = document.told(location, shown(str(path), _LONGEST_PATH))
        if fault := unusable(path):
            document.refuse(location, f"{_dots(location)}: {word} {fault}")
        elif location in keys and path.suffix == ".pub":
            document.refuse(location, f"{_dots(location)}: {word} is the public key; name the private one")


def unusable(path: Path) -> str:
    """Why a file can't be read, or nothing. It is not opened: a named pipe would wait for its writer."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return "does not exist"
    except (OSError, ValueError) as error:
        return f"can't be read: {getattr(error, 'strerror', None) or 'no usable path'}"
    if not stat.S_ISREG(mode):
        return "is a folder, not a file" if stat.S_ISDIR(mode) else "is not an ordinary file"
    return "" if os.access(path, os.R_OK) else "can't be read: Permission denied"


def _dots(location: Location) -> str:
    return ".".join(str(part) for part in location)


def _part(document: Document, key: str) -> dict[str, Any]:
    part = document.value.get(key)
    return part if isinstance(part, dict) else {}


def _entries(document: Document, key: str) -> dict[str, dict[str, Any]]:
    """The hosts or networks that are mappings, by name."""
    return {name: entry for name, entry in _part(document, key).items() if isinstance(entry, dict)}


def _value(document: Document, location: Location) -> Any:
    value = document.value
    for part in location:
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _sound(check: Callable[[object], T], value: object) -> T | None:
    """The checked value, or None where it is not there or told to be wrong already."""
    try:
        return None if value is None else check(value)
    except PydanticCustomError:
        return None


def _line(document: Document, location: Location) -> int:
    return document.place(location).key[0]


def _some(document: Document) -> None:
    for key, thing in (("hosts", "host"), ("networks", "network")):
        if document.value.get(key) == {} and not any(spoilt[:1] == (key,) for spoilt in document.spoilt):
            document.refuse((key,), f"{key}: names no {thing}")


def _addresses(document: Document, hosts: dict[str, dict[str, Any]]) -> None:
    """The same address and port twice would build one machine twice."""
    port = values.whole("port", 1, 65535)
    usual = _sound(port, _part(document, "ssh").get("port")) or 22
    first: dict[tuple[str, int], str] = {}
    for name, entry in hosts.items():
        if (address := _sound(values.address, entry.get("address"))) is None:
            continue
        key = (address.lower(), _sound(port, entry.get("port")) or usual)
        if (other := first.setdefault(key, name)) != name:
            line = _line(document, ("hosts", other, "address"))
            told = document.told(("hosts", name, "address"), address)
            number = document.told(("hosts", name, "port") if "port" in entry else ("ssh", "port"), key[1])
            text = f"hosts.{name}.address: {told}, port {number}, is {code(other)} already (line {line})"
            document.refuse(("hosts", name, "address"), text)


def _literals(hosts: dict[str, dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """The hosts that advertise an address of their own, with it."""
    for name, entry in hosts.items():
        word = _sound(values.advertise, entry.get("advertise"))
        if word and values.is_literal(word):
            yield name, word


def _advertised(document: Document, hosts: dict[str, dict[str, Any]]) -> None:
    """An address that is advertised is that of one host."""
    word = _sound(values.advertise, document.value.get("advertise"))
    if word and values.is_literal(word) and len(_part(document, "hosts")) > 1:
        told = document.told(("advertise",), word)
        text = f"advertise: {told} can be the address of one host only; name an interface, or advertise it in that host"
        document.refuse(("advertise",), text)
    owners = {_sound(values.address, entry.get("address")): name for name, entry in reversed(hosts.items())}
    first: dict[str, str] = {}
    for name, word in _literals(hosts):
        location: Location = ("hosts", name, "advertise")
        owner, told = owners.get(word, name), document.told(location, word)
        if (other := first.setdefault(word, name)) != name:
            line = _line(document, ("hosts", other, "advertise"))
            document.refuse(
                location, f"hosts.{name}.advertise: {told} is advertised by {code(other)} already (line {line})"
            )
        elif owner != name and hosts[name].get("address") != word:
            line = _line(document, ("hosts", owner, "address"))
            document.refuse(location, f"hosts.{name}.advertise: {told} is the address of {code(owner)} (line {line})")


def _overlaps(document: Document, subnets: dict[str, IPv4Network]) -> None:
    """CIDR ranges are apart or one holds the other, so in order of address each is compared with the last that is open."""
    order = list(subnets)
    around: str | None = None
    for name in sorted(
        order, key=lambda name: (subnets[name].network_address, subnets[name].prefixlen, order.index(name))
    ):
        if around is None or not subnets[around].overlaps(subnets[name]):
            around = name
            continue
        earlier, later = sorted((around, name), key=order.index)
        line = _line(document, ("networks", earlier, "subnet"))
        one, two = (document.told(("networks", name, "subnet"), subnets[name]) for name in (later, earlier))
        text = f"networks.{later}.subnet: {one} overlaps {two} of {code(earlier)} (line {line})"
        document.refuse(("networks", later, "subnet"), text)


def _underlay(document: Document, hosts: dict[str, dict[str, Any]], subnets: dict[str, IPv4Network]) -> None:
    """A host inside an overlay's subnet would lose the way to the others."""
    literals = dict(_literals(hosts))
    known = dict(literals)
    for name, entry in hosts.items():
        known.setdefault(name, _sound(values.address, entry.get("address")) or "")
    owned = sorted((int(ip), name) for name, word in known.items() if (ip := _sound(values.ipv4, word)))
    numbers = [number for number, _ in owned]
    for network, subnet in subnets.items():
        first, last = int(subnet.network_address), int(subnet.broadcast_address)
        held = [name for _, name in owned[bisect_left(numbers, first) : bisect_right(numbers, last)]]
        if held:
            told = ", ".join(f"{name} ({_own(document, name, known[name], literals)})" for name in held[:_NAMED])
            more = f" and {len(held) - _NAMED} more" if len(held) > _NAMED else ""
            word = document.told(("networks", network, "subnet"), subnet)
            text = f"networks.{network}.subnet: {word} holds the hosts' own addresses: {told}{more}"
            document.refuse(("networks", network, "subnet"), text)


def _own(document: Document, name: str, address: str, literals: dict[str, str]) -> str:
    """A host's own address, as a message shows it: the one that it advertises, or where SSH goes."""
    return document.told(("hosts", name, "advertise" if name in literals else "address"), address)


def _room(document: Document, name: str, subnet: IPv4Network, hosts: int) -> None:
    need = hosts + _OVERHEAD
    if subnet.num_addresses < need:
        text = (
            f"networks.{name}.subnet: {document.told(('networks', name, 'subnet'), subnet)}"
            f" has {subnet.num_addresses} addresses, and {hosts} hosts need {need}"
            f" (one each, the gateway's, the network's and the last): take a /{32 - (need - 1).bit_length()} or larger"
        )
        document.refuse(("networks", name, "subnet"), text)


def _inside(document: Document, name: str, subnet: IPv4Network, entry: dict[str, Any], hosts: int) -> None:
    """The gateway and the range that containers get addresses from belong to the subnet."""
    gateway = _sound(values.ipv4, entry.get("gateway"))
    at = f"networks.{name}"
    word, first, range_ = (
        document.told(("networks", name, key), entry.get(key)) for key in ("subnet", "gateway", "ip_range")
    )
    if gateway and gateway not in subnet:
        document.refuse(("networks", name, "gateway"), f"{at}.gateway: {first} is outside the subnet {word}")
    elif gateway in (subnet.network_address, subnet.broadcast_address):
        text = f"{at}.gateway: {first} is the subnet's first or last address, which no interface can have"
        document.refuse(("networks", name, "gateway"), text)
    pool = _sound(values.cidr, entry.get("ip_range"))
    if pool is None:
        return
    location: Location = ("networks", name, "ip_range")
    if not pool.subnet_of(subnet):
        document.refuse(location, f"{at}.ip_range: {range_} is outside the subnet {word}")
    elif pool != subnet and (room := _usable(pool, subnet, gateway)) < hosts:
        document.refuse(
            location, f"{at}.ip_range: {range_} has {room} addresses for containers, and {hosts} hosts need {hosts}"
        )


def _usable(pool: IPv4Network, subnet: IPv4Network, gateway: IPv4Address | None) -> int:
    """Addresses for containers. A gateway that is not chosen is taken from the range too."""
    taken = {subnet.network_address, subnet.broadcast_address} | ({gateway} if gateway else set())
    return pool.num_addresses - sum(address in pool for address in taken) - (gateway is None)


def _servers(document: Document) -> None:
    """As many servers as keep a majority when one is lost, all of them hosts, none twice."""
    _of_one_kind(document)
    location: Location = ("store", "servers")
    servers = _sound(values.listed, _value(document, location))
    if servers is None:
        return
    hosts = list(_part(document, "hosts"))
    for index, name in enumerate(servers):
        at: Location = (*location, index)
        told = document.told(at, shown(name))
        if name in servers[:index]:
            document.refuse(at, f"store.servers: {told} is named twice")
        elif hosts and name not in hosts:
            hint = "" if at in document.secrets else nearest(name, hosts)
            document.refuse(at, f"store.servers: {told} is not one of the hosts{hint}")
    if len(servers) > len(hosts) > 0:
        document.refuse(location, f"store.servers: {len(servers)} servers are more than the {len(hosts)} hosts")
    elif len(servers) not in _SERVER_COUNTS:
        document.refuse(
            location,
            f"store.servers: {len(servers)} servers are named; it must be 1, 3 or 5 (an odd number, so that a majority is left when one is lost)",
        )


def _of_one_kind(document: Document) -> None:
    """What only one kind of store can do, and what does not go together with an external one."""
    store = _part(document, "store")
    kind = store.get("kind")
    if "binary" in store and kind in ("etcd", "zookeeper"):
        text = "store.binary: only Consul is uploaded; etcd and ZooKeeper come from the hosts' package sources"
        document.refuse(("store", "binary"), text, at_key=True)
    if "sha256" in store and "binary" not in store:
        document.refuse(("store", "sha256"), "store.sha256: is the sum of `binary`, which is not given", at_key=True)
    endpoints = _sound(values.endpoints, store.get("endpoints")) or ()
    for key in ("servers", "binary", "sha256") if endpoints else ():
        if key in store:
            text = f"store.{key}: says how a store is set up; with `endpoints` nothing is: leave out one of the two"
            document.refuse(("store", key), text, at_key=True)
    if kind == "consul" and len(endpoints) > 1:
        text = "store.endpoints: the engine takes one endpoint of Consul: name the agent on every host, `[127.0.0.1:8500]`"
        document.refuse(("store", "endpoints"), text)
    if "tls" in store and kind == "zookeeper":
        text = "store.tls: engines speak to ZooKeeper without TLS only: leave it out, or use etcd or Consul"
        document.refuse(("store", "tls"), text, at_key=True)
    elif "tls" in store and "endpoints" not in store:
        text = "store.tls: names the files for a store that others look after; one that is set up here has its own: leave it out, or add `endpoints`"
        document.refuse(("store", "tls"), text, at_key=True)
    for index, word in enumerate(endpoints):
        if word in endpoints[:index]:
            at: Location = ("store", "endpoints", index)
            document.refuse(at, f"store.endpoints: {document.told(at, shown(word))} is named twice")
    _discovery(document, str(kind))


def _discovery(document: Document, kind: str) -> None:
    """The engine's own rules (moby v20.10, daemon/discovery) and Consul's, whose sessions live ttl/2 and 10 s at least."""
    location: Location = ("store", "discovery")
    seconds = values.whole("number of seconds", 1, 86400)
    asked = {key: _sound(seconds, _value(document, (*location, key))) for key in ("heartbeat", "ttl")}
    given = {key: number for key, number in asked.items() if number}
    if not given:
        return
    ttl = given.get("ttl") or _TTL_FACTOR * given["heartbeat"]
    heartbeat = given.get("heartbeat") or ttl // _TTL_FACTOR
    what, key = ("ttl", "ttl") if "ttl" in given else ("the ttl, three times the heartbeat,", "heartbeat")
    told = document.told((*location, key), f"{ttl} s")
    if ttl <= heartbeat or heartbeat < 1:
        beat = document.told((*location, "heartbeat" if "heartbeat" in given else key), f"{heartbeat} s")
        text = f"store.discovery.ttl: {told} is not more than the heartbeat of {beat}: every engine would count as gone"
        document.refuse((*location, key), f"{text}; three times the heartbeat is usual")
    elif kind == "consul" and ttl < _CONSUL_TTL:
        text = f"store.discovery.{key}: {what} is {told}; Consul needs {_CONSUL_TTL} at least (its sessions live half of it, and 10 s)"
        document.refuse((*location, key), text)
