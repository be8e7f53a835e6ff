"""The checks of a network's values: drivers, options, IPv6, and per-host values."""

from __future__ import annotations

import ipaddress
import re
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeVar

from pydantic_core import PydanticCustomError

from provisioner.inventory import values
from provisioner.inventory.outside import Outside
from provisioner.inventory.problems import code, refusal, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")
SCOPES: Final = MappingProxyType({"overlay": "global", "bridge": "local", "macvlan": "local", "ipvlan": "local"})
"""The engine's built-in drivers and where their networks are created: `global` ones once, `local` ones on each host."""
MODES_OF: Final = MappingProxyType(
    {"macvlan": ("bridge", "private", "vepa", "passthru"), "ipvlan": ("l2", "l3", "l3s")}
)
MODES: Final = (*MODES_OF["macvlan"], *MODES_OF["ipvlan"])
EVERY_HOST: Final = ""
"""The key of a value that is the same on all hosts, in a mapping of per-host values."""
DRIVER = re.compile(r"(?=.{1,128}\Z)[a-zA-Z0-9][a-zA-Z0-9_.-]*(?:[:/][a-zA-Z0-9_][a-zA-Z0-9_.-]*)*")
OPTION = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_./-]{0,127}")
_MADE_BY_DOCKER = ("host", "none", "null")
_SPECIAL = {
    IPv6Network("::/8"): "reserved",
    IPv6Network("fe80::/10"): "link-local",
    IPv6Network("ff00::/8"): "multicast",
}
_FEWEST = 126  # bits of a prefix that leave addresses for the gateway and two containers


def driver(value: object) -> str:
    rule = "a driver's name has letters, digits, `_`, `.` and `-`, for a plugin also `/` and `:` between its parts, and at most 128 characters"
    name = values.matching(DRIVER, rule)(value)
    if name in _MADE_BY_DOCKER:
        raise refusal(f"`{name}` is a built-in network of Docker, one on each host")
    return name


def option_value(value: object) -> str:
    """Check a driver's option, which the engine receives as a string. Booleans and numbers may be unquoted."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    return values.label_value(value)


def per_host(check: Callable[[object], T]) -> Callable[[object], Mapping[str, T]]:
    """Return a check for one value for all hosts, or a mapping with one per host."""

    def checked(value: object) -> Mapping[str, T]:
        if isinstance(value, MappingProxyType):  # already checked
            return value
        if not isinstance(value, dict):
            return MappingProxyType({EVERY_HOST: check(value)})
        if not value:
            raise refusal("is an empty mapping: write one value, or one for each host: `{node1: ..., node2: ...}`")
        found = {}
        for name, item in value.items():
            if not isinstance(name, str) or not values.LABEL.fullmatch(name):
                raise refusal(f"{shown(name)} is not a host's name")
            try:
                found[name] = check(item)
            except PydanticCustomError as error:
                reason = "the external value is not allowed here" if isinstance(item, Outside) else error.message()
                raise refusal(f"for {code(name)}: {reason}") from None
        return MappingProxyType(found)

    return checked


def interface(value: object) -> str:
    """A host's interface: a network card, or one of its VLANs (`eth1.50`)."""
    word = values.text(value)
    if word == "lo":
        raise refusal("`lo` is the loopback interface: no packet leaves the host through it")
    if not values.INTERFACE.fullmatch(word):
        raise refusal(
            f"{shown(word)} is not an interface: use at most 15 letters, digits, `_`, `.` and `-`, as in `eth1` or `eth1.50`"
        )
    return word


def cidr6(value: object) -> IPv6Network:
    if isinstance(value, IPv6Network):
        return value
    word = values.text(value)
    if "/" not in word:
        raise refusal(f"{shown(word)} has no prefix length; write it as `fd99::/64`")
    try:
        net = IPv6Network(word, strict=False)
    except ValueError:
        raise refusal(f"{shown(word)} is not an IPv6 subnet; write it like `fd99::/64`") from None
    address, _, length = word.partition("/")
    if not length.isdigit() or ipaddress.IPv6Address(address.partition("%")[0]) != net.network_address or "%" in word:
        raise refusal(f"{shown(word)} has bits set behind its prefix length; did you mean `{net}`?")
    return net


def subnet6(value: object) -> IPv6Network:
    net = cidr6(value)
    for special, name in _SPECIAL.items():
        if net.overlaps(special):
            raise refusal(f"{net} can't be a subnet: {special} is {name}; private ranges are in fd00::/8")
    if net.prefixlen > _FEWEST:
        raise refusal(f"{net} has too few addresses; take a /64")
    return net


def ipv6(value: object) -> IPv6Address:
    if isinstance(value, IPv6Address):
        return value
    word = values.text(value)
    try:
        address = IPv6Address(word)
    except ValueError:
        raise refusal(f"{shown(word)} is no IPv6 address") from None
    if address.scope_id is not None:
        raise refusal(f"{shown(word)} is not allowed: an address with a zone (`%`) is not supported")
    return address


def either(value: object) -> IPv4Address | IPv6Address:
    """An IPv4 or IPv6 address."""
    if isinstance(value, IPv4Address | IPv6Address):
        return value
    return ipv6(value) if ":" in values.text(value) else values.ipv4(value)
