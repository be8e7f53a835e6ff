"""The checks of values under `dns:`, each with its error message."""

from __future__ import annotations

import ipaddress
import re
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, TypeVar

from provisioner.inventory.problems import nearest, refusal, shown
from provisioner.inventory.values import HOSTNAME, text

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
MOST_SERVERS = 3  # the limit of engines (libnetwork v20.10, resolver.go: maxExtDNS) and of programs (resolv.conf(5))
MOST_DOMAINS = 6  # resolv.conf(5), of glibc before 2.26
_IPV4 = 4
# The options of resolv.conf(5): with a number and its maximum, and without.
_NUMBERED = {"ndots": 15, "timeout": 30, "attempts": 5}
_PLAIN = (
    "debug", "rotate", "no-check-names", "inet6", "edns0", "single-request", "single-request-reopen", "no-tld-query",
    "use-vc", "no-reload", "trust-ad", "no-aaaa",
)  # fmt: skip


def servers(value: object) -> tuple[IPv4Address | IPv6Address, ...]:
    """`dns.servers`: addresses that containers can reach, in order of preference."""
    found = _listed(value, _server, "addresses", "`[192.0.2.53]`", MOST_SERVERS)
    if not any(server.version == _IPV4 for server in found):
        raise refusal("has only IPv6 addresses: the engine forwards only to IPv4 resolvers, so at least one is needed")
    return found


def _server(value: object) -> IPv4Address | IPv6Address:
    if isinstance(value, IPv4Address | IPv6Address):
        return value
    word = text(value)
    try:
        found = ipaddress.ip_address(word)
    except ValueError:
        raise refusal(
            f"{shown(word)} is not an IP address; a resolver must be given by address, because its name could not be resolved"
        ) from None
    if found.is_loopback:
        raise refusal(
            f"{found} is a loopback address, which in a container means the container itself; write the host's address"
        )
    link_local = isinstance(found, IPv6Address) and (found.is_link_local or found.scope_id)
    if found.is_unspecified or found.is_multicast or link_local or word == "255.255.255.255":
        raise refusal(f"{shown(word)} is not an address of a resolver that containers can reach")
    return found


def search(value: object) -> tuple[str, ...]:
    """`dns.search`: a list of domains."""
    return _listed(value, domain, "domains", "`[example.net]`", MOST_DOMAINS)


def domain(value: object) -> str:
    """The name of a domain or host, without a final dot."""
    word = text(value)
    if not HOSTNAME.fullmatch(word) or re.fullmatch(r"[0-9.]+", word):
        raise refusal(
            f"{shown(word)} is not a DNS name: use letters, digits and `-`, with single dots between the parts"
        )
    return word.lower()


def options(value: object) -> tuple[str, ...]:
    """`dns.options`: options of resolv.conf(5)."""
    return _listed(value, _option, "options", "`[timeout:2]`", len(_PLAIN) + len(_NUMBERED))


def _option(value: object) -> str:
    word = text(value)
    name, colon, number = word.partition(":")
    known = (*(f"{name}:N" for name in _NUMBERED), *_PLAIN)
    if name in _NUMBERED:
        if not re.fullmatch(r"[0-9]{1,2}", number) or int(number) > _NUMBERED[name]:
            raise refusal(f"{shown(word)}: write `{name}:N` with a number from 0 to {_NUMBERED[name]}")
    elif name not in _PLAIN or colon:
        raise refusal(f"{shown(word)} is not an option of resolv.conf{nearest(word, known)}")
    return word


def _listed(value: object, check: Callable[[object], T], things: str, example: str, most: int) -> tuple[T, ...]:
    if not isinstance(value, list | tuple) or not value or len(value) > most:
        raise refusal(f"must be a list of 1 to {most} {things}: {example}, not {shown(value)}")
    found = tuple(check(word) for word in value)
    if twice := [word for word in found if found.count(word) > 1]:
        raise refusal(f"names `{twice[0]}` twice")
    return found
