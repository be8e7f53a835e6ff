"""Check how the values of networks fit together: keys of the driver, enough room, no overlaps."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from itertools import combinations
from typing import TYPE_CHECKING, Any

from provisioner.inventory import network_values, raw, values
from provisioner.inventory.network_options import check_options
from provisioner.inventory.network_values import EVERY_HOST, MODES_OF, SCOPES
from provisioner.inventory.problems import Location, code, nearest, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provisioner.inventory.document import Document

_OVERHEAD = 3  # addresses of a subnet that no container gets: the network address, the gateway, the broadcast address
_NAMED = 3  # hosts that a message lists before "and N more"
_PROBES = 2  # containers for which a local network needs room on each host, so that it can be proven
_V4, _V6 = ("subnet", "gateway", "ip_range"), ("subnet6", "gateway6", "ip_range6")
_CHECKS = {
    "subnet": values.subnet,
    "gateway": values.ipv4,
    "ip_range": network_values.per_host(values.cidr),
    "subnet6": network_values.subnet6,
    "gateway6": network_values.ipv6,
    "ip_range6": network_values.per_host(network_values.cidr6),
}
_ONLY_PARENT = "is only for `macvlan` and `ipvlan`"
_NO_IPV6 = (  # tested with engines 20.10.5 and 26.1.5, see docs/decisions/overlay-addresses.md
    "an overlay has no working IPv6: on an external store, its IPv6 addresses don't answer on other hosts although names"
    " resolve to them first; in swarm mode, no container starts on it"
)
_DOCKER_CHOICE = (
    "`subnet` is missing: write `subnet: 10.99.0.0/24`; Docker can't choose it, because its choice may overlap networks that"
    " the hosts use"
)


@dataclass(frozen=True)
class _Net:
    """One network in the file. on: its hosts, in the order of the inventory."""

    document: Document
    name: str
    entry: dict[str, Any]
    driver: str
    on: tuple[str, ...]

    @property
    def is_global(self) -> bool:
        return SCOPES.get(self.driver, self.entry.get("scope")) == "global"

    @property
    def on_parent(self) -> bool:
        return self.driver in MODES_OF

    def sound(self, key: str) -> Any:
        return raw.sound(_CHECKS[key], self.entry.get(key))

    def masked(self, key: str) -> str:
        return self.document.masked(self.at(key), self.entry.get(key))

    def at(self, key: str) -> Location:
        return ("networks", self.name, key)

    def refuse(self, key: str, text: str, *, at_key: bool = False) -> None:
        self.document.refuse(self.at(key), f"networks.{self.name}.{key}: {text}", at_key=at_key)


def check(document: Document) -> None:
    """Add the errors between the networks' values to the document."""
    names = tuple(raw.part(document, "hosts"))
    nets = [_net(document, name, entry, names) for name, entry in raw.entries(document, "networks").items()]
    for net in nets:
        _kind(net)
        _hosts(net, names)
        _ranges(net)
        _apart(net)
        _aux(net)
        _parent(net)
        check_options(net.document, net.name, net.entry, net.driver)
        for keys in (_V4, _V6):
            _inside(net, keys)
        if subnet := net.sound("subnet"):
            _room(net, subnet)
    for key in ("subnet", "subnet6"):
        _overlaps(document, {net.name: net for net in nets}, key)
    _underlay(document, nets)


def _net(document: Document, name: str, entry: dict[str, Any], hosts: tuple[str, ...]) -> _Net:
    driver = raw.sound(network_values.driver, entry.get("driver", "overlay")) or ""
    wanted = raw.sound(values.listed, entry.get("hosts"))
    return _Net(document, name, entry, driver, tuple(host for host in hosts if wanted is None or host in wanted))


def _kind(net: _Net) -> None:
    """Refuse keys that the driver does not have, and require those that it needs. Invalid drivers are skipped."""
    if not net.driver:
        return
    if net.driver not in SCOPES:
        if "scope" not in net.entry:
            word = net.document.masked(net.at("driver"), code(net.driver))
            hint = "" if net.at("driver") in net.document.secrets else nearest(net.driver, SCOPES)
            net.refuse(
                "driver",
                f"{word} is not one of the engine's own drivers{hint or '; they are ' + ', '.join(map(code, SCOPES)) + '.'} For a"
                " plugin's driver, say where its networks are created: `scope: local`, on each host, or `scope: global`, once",
            )
    elif "scope" in net.entry:
        net.refuse(
            "scope",
            f"is for plugins' drivers; that of `{net.driver}` is {SCOPES[net.driver]}: remove it",
            at_key=True,
        )
    if (net.is_global and net.driver in SCOPES) or net.on_parent:
        where: Location = ("networks", net.name)
        if "subnet" not in net.entry and net.at("subnet") not in net.document.spoilt:
            net.document.refuse(where, f"networks.{net.name}: {_DOCKER_CHOICE}", at_key=True)
    for key in (*_V6, *(["hosts"] if net.is_global else [])):
        if net.driver == "overlay" and key in _V6 and key in net.entry:
            net.refuse(key, _NO_IPV6, at_key=True)
        elif key == "hosts" and key in net.entry:
            net.refuse(key, "is for local networks; this one is created once and exists on all hosts", at_key=True)
    if "mtu" in net.entry and net.driver not in ("overlay", "bridge"):
        own = "its parent's" if net.on_parent else "chosen by its driver; see `options`"
        net.refuse("mtu", f"is for `overlay` and `bridge`; that of `{net.driver}` is {own}", at_key=True)
    _of_swarms(net)


def _of_swarms(net: _Net) -> None:
    """Refuse settings that only networks of a swarm have. Other networks would ignore or misuse them."""
    if raw.sound(values.truth, net.entry.get("encrypted")) and net.driver != "overlay":
        cure = "remove it" if net.driver in SCOPES else "a plugin has its own `options`: remove it"
        net.refuse(
            "encrypted", f"is for `overlay`; nothing would encrypt the packets of this network: {cure}", at_key=True
        )
    local = not net.is_global and (net.driver in SCOPES or "scope" in net.entry)
    if local and raw.sound(values.truth, net.entry.get("attachable")) is False:
        text = "is for networks that are created once for all hosts; any container may join a local network: remove it"
        net.refuse("attachable", text, at_key=True)


def _hosts(net: _Net, hosts: tuple[str, ...]) -> None:
    wanted = raw.sound(values.listed, net.entry.get("hosts"))
    if wanted is None or net.is_global:
        return
    if not wanted:
        net.refuse("hosts", "names no host; remove it for all hosts")
    for index, name in enumerate(wanted):
        at: Location = (*net.at("hosts"), index)
        masked = net.document.masked(at, shown(name))
        if name in wanted[:index]:
            net.document.refuse(at, f"networks.{net.name}.hosts: {masked} is named twice")
        elif hosts and name not in hosts:
            hint = "" if at in net.document.secrets else nearest(name, hosts)
            net.document.refuse(at, f"networks.{net.name}.hosts: {masked} is not one of the hosts{hint}")


def _ranges(net: _Net) -> None:
    """Check that per-host values name exactly the hosts of the network."""
    for key in ("ip_range", "ip_range6", "parent"):
        value = net.entry.get(key)
        if not isinstance(value, dict) or not value:
            continue
        if net.is_global:
            net.refuse(
                key, "has one value for each host, but this network is created once for all hosts: write one value"
            )
            continue
        for name in value:
            if name not in net.on and isinstance(name, str):
                net.refuse(key, f"{code(name)} is not one of the hosts of this network{nearest(name, net.on)}")
        if missing := [name for name in net.on if name not in value]:
            net.refuse(key, f"has none for {_some(missing)}")


def _apart(net: _Net) -> None:
    """Require a separate range for each host on a shared network, because engines assign addresses independently."""
    if not net.on_parent or len(net.on) < 2:  # noqa: PLR2004
        return
    for key, subnet in (("ip_range", "subnet"), ("ip_range6", "subnet6")):
        found: Mapping[str, Any] = net.sound(key) or {}
        if subnet in net.entry and (key not in net.entry or EVERY_HOST in found):
            text = "each engine assigns addresses independently, so each host needs its own range; otherwise two"
            net.document.refuse(
                net.at(key if key in net.entry else subnet),
                f"networks.{net.name}.{key}: {text} containers can get the same address: write `{key}: {{{net.on[0]}: ..., {net.on[1]}: ...}}`",
            )
        for one, other in combinations(found, 2):
            if found[one].overlaps(found[other]):
                net.refuse(
                    key,
                    f"{_shown(net, key, found[one])} of {code(one)} overlaps {_shown(net, key, found[other])} of {code(other)}",
                )


def _shown(net: _Net, key: str, value: object) -> str:
    """Return a part of a value, or "" if some of it is hidden."""
    secret = any(place[:3] == net.at(key) for place in net.document.secrets)
    return "that" if secret else str(value)


def _aux(net: _Net) -> None:
    given = net.entry.get("aux_addresses")
    seen: dict[Any, str] = {}
    for name, word in given.items() if isinstance(given, dict) else ():
        address = raw.sound(network_values.either, word)
        at: Location = (*net.at("aux_addresses"), name)
        if address is None:
            continue
        key = "subnet" if isinstance(address, IPv4Address) else "subnet6"
        subnet, gateway = net.sound(key), net.sound("gateway" if key == "subnet" else "gateway6")
        text = ""
        if key not in net.entry:
            text = f"needs `{key}`, whose address it is"
        elif subnet and (address not in subnet or address in _ends(subnet)):
            text = f"is not an address of the subnet {net.masked(key)}"
        elif address == gateway:
            text = "is the gateway's address, which no container gets anyway"
        elif (other := seen.setdefault(address, name)) != name:
            text = f"is {code(other)} already"
        if text:
            net.document.refuse(at, f"networks.{net.name}.aux_addresses.{name}: {net.document.masked(at, word)} {text}")


def _ends(subnet: IPv4Network | IPv6Network) -> tuple[object, ...]:
    """Return the addresses that no interface can use. IPv6 has no broadcast address."""
    return (subnet.network_address, subnet.broadcast_address) if subnet.version == 4 else (subnet.network_address,)  # noqa: PLR2004


def _parent(net: _Net) -> None:
    for key in ("parent", "mode"):
        if key in net.entry and not net.on_parent:
            net.refuse(key, _ONLY_PARENT, at_key=True)
    if not net.on_parent:
        return
    if "parent" not in net.entry:
        text = "`parent` is missing: write the hosts' interface for the containers: `parent: eth1`"
        net.document.refuse(("networks", net.name), f"networks.{net.name}: {text}", at_key=True)
    mode, known = net.entry.get("mode"), MODES_OF[net.driver]
    if isinstance(mode, str) and mode in network_values.MODES and mode not in known:
        net.refuse("mode", f"`{mode}` is not a mode of {net.driver}: choose one of {', '.join(map(code, known))}")


def _inside(net: _Net, keys: tuple[str, str, str]) -> None:
    """Check that the gateway and the containers' ranges are in the subnet."""
    subnet_key, gateway_key, range_key = keys
    for key in (gateway_key, range_key):
        if key in net.entry and subnet_key not in net.entry:
            net.refuse(key, f"needs `{subnet_key}`, which contains it", at_key=True)
    subnet, gateway = net.sound(subnet_key), net.sound(gateway_key)
    if subnet is None:
        return
    if gateway and gateway not in subnet:
        net.refuse(gateway_key, f"{net.masked(gateway_key)} is outside the subnet {net.masked(subnet_key)}")
    elif gateway in _ends(subnet):
        net.refuse(
            gateway_key, f"{net.masked(gateway_key)} is the subnet's first or last address, which no interface can use"
        )
    for host, pool in (net.sound(range_key) or {}).items():
        whose = f" of {code(host)}" if host else ""
        masked = _shown(net, range_key, pool) if host else net.masked(range_key)
        if not pool.subnet_of(subnet):
            net.refuse(range_key, f"{masked}{whose} is outside the subnet {net.masked(subnet_key)}")
        elif isinstance(pool, IPv4Network) and pool != subnet:
            _enough(net, pool, subnet, gateway, f"{masked}{whose}")


def _enough(net: _Net, pool: IPv4Network, subnet: IPv4Network, gateway: IPv4Address | None, masked: str) -> None:
    taken = {subnet.network_address, subnet.broadcast_address} | ({gateway} if gateway else set())
    # If the gateway is not set, Docker takes its address from the range, too.
    room = pool.num_addresses - sum(address in pool for address in taken) - (gateway is None)
    need = len(net.on) if net.is_global else _PROBES
    if room < need:
        whose = f"{need} hosts need {need}" if net.is_global else f"a local network needs {need}, to be proven"
        net.refuse("ip_range", f"{masked} has {room} addresses for containers, and {whose}")


def _room(net: _Net, subnet: IPv4Network) -> None:
    containers = len(net.on) if net.is_global else _PROBES
    need = containers + _OVERHEAD
    if subnet.num_addresses < need:
        whose = (
            f"{containers} hosts need {need} (one each,"
            if net.is_global
            else f"a local network needs {need} (two containers',"
        )
        net.refuse(
            "subnet",
            f"{net.masked('subnet')} has {subnet.num_addresses} addresses, and {whose}"
            f" the gateway's, the network's and the last): take a /{32 - (need - 1).bit_length()} or larger",
        )


def _overlaps(document: Document, nets: dict[str, _Net], key: str) -> None:
    """Refuse overlapping subnets of networks that share a host.

    CIDR ranges are either disjoint or nested. So, sorted by address, each is compared only with the ranges around it.
    """
    subnets = {name: net.sound(key) for name, net in nets.items()}
    order = [name for name, subnet in subnets.items() if subnet]
    around: list[str] = []
    for name in sorted(
        order, key=lambda name: (subnets[name].network_address, subnets[name].prefixlen, order.index(name))
    ):
        while around and not subnets[around[-1]].overlaps(subnets[name]):
            around.pop()
        on = set(nets[name].on)
        clash = next((other for other in around if on & set(nets[other].on)), None)
        around.append(name)
        if clash is not None:
            earlier, later = sorted((clash, name), key=order.index)
            line = raw.line(document, ("networks", earlier, key))
            one, two = (document.masked(("networks", each, key), subnets[each]) for each in (later, earlier))
            text = f"networks.{later}.{key}: {one} overlaps {two} of {code(earlier)} (line {line})"
            document.refuse(("networks", later, key), text)


def _underlay(document: Document, nets: list[_Net]) -> None:
    """Refuse subnets that contain a host's address: the host would lose its route to the other hosts.

    macvlan and ipvlan share the hosts' network, so only their `ip_range` is checked.
    """
    hosts = raw.entries(document, "hosts")
    literals = dict(raw.literals(hosts))
    known = dict(literals)
    for name, entry in hosts.items():
        known.setdefault(name, raw.sound(values.address, entry.get("address")) or "")
    owned = sorted((int(ip), name) for name, word in known.items() if (ip := raw.sound(values.ipv4, word)))
    numbers = [number for number, _ in owned]
    for net in nets:
        key = "ip_range" if net.on_parent else "subnet"
        found = net.sound(key)
        for host, pool in found.items() if net.on_parent and found else [("", found)] if found else []:
            first, last = int(pool.network_address), int(pool.broadcast_address)
            held = [name for _, name in owned[bisect_left(numbers, first) : bisect_right(numbers, last)]]
            if held:
                own = {
                    n: document.masked(("hosts", n, "advertise" if n in literals else "address"), known[n])
                    for n in held
                }
                word = _shown(net, key, pool) if host else net.masked(key)
                net.refuse(key, f"{word} contains the hosts' own addresses: {_some([f'{n} ({own[n]})' for n in held])}")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
