"""A check for each kind of value, with its error message.

Values that reach a host (names, users, addresses, interfaces, prefixes, label names) are limited to a small set of
characters. So quoting is never the only protection between an inventory and a shell.
"""

from __future__ import annotations

import ipaddress
import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from provisioner.inventory.outside import typed
from provisioner.inventory.problems import code, nearest, refusal, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import ValidationInfo

LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
CLUSTER = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
NETWORK = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}")
USER = re.compile(r"[a-zA-Z_][a-zA-Z0-9_.-]{0,31}")
HOSTNAME = re.compile(
    r"(?=.{1,253}\Z)[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*"
)
_ADDRESS_NAME = re.compile(HOSTNAME.pattern.replace("[a-zA-Z0-9-]", "[a-zA-Z0-9_-]"))  # resolvers and SSH accept `_`
INTERFACE = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,14}")  # Linux: IFNAMSIZ is 16 with its final NUL
PREFIX = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,63}(?:/[a-zA-Z0-9][a-zA-Z0-9_-]{0,63}){0,7}")
LABEL_KEY = re.compile(r"(?=.{1,128}\Z)[a-zA-Z0-9]+(?:[._/-][a-zA-Z0-9]+)*")
SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_NUMBERS = re.compile(r"[0-9.]+")
_WITH_GAPS = re.compile(r"(?=.*[0-9])(?=.*[a-z?*])(?:(?:[0-9]+|x+|n+|y+|z+|\?+|\*+)(?:\.|\Z)){4}", re.IGNORECASE)
_IN_BRACKETS = re.compile(r"\[([0-9a-fA-F:.]*:[0-9a-fA-F:.]*)\]")
_IPV6 = re.compile(r"[0-9a-fA-F]{0,4}:[0-9a-fA-F:.]*:[0-9a-fA-F:.%]*")
_WITH_PORT = re.compile(r"(.+):([0-9]{1,5})")
_TARGET = re.compile(  # the form of other tools: ssh://user@host:22/
    r"(?:[a-z]+://)?(?:(?P<user>[^@/]+)@)?(?P<host>[^@:/]+|\[[0-9a-fA-F:]+\])(?::(?P<port>[0-9]+))?/?"
)
_BROADCAST = "255.255.255.255"
NONE = "none"
_NO_IPV4 = "is not an IPv4 address: four numbers from 0 to 255 without leading zeros"
_UNREACHABLE = "no other host can reach it, and the engine accepts it silently"
RESERVED_NETWORKS: Final = ("bridge", "host", "none", "ingress", "docker_gwbridge")
_DOCKER_BRIDGES = ("docker0", "docker_gwbridge")
LONGEST_LABEL = 256  # characters
_SPECIAL = {  # ranges that no network of containers can use, and their names
    IPv4Network("127.0.0.0/8"): "loopback",
    IPv4Network("224.0.0.0/4"): "multicast",
    IPv4Network("169.254.0.0/16"): "link-local",
    IPv4Network("0.0.0.0/8"): "reserved",
    IPv4Network("240.0.0.0/4"): "reserved",
}


def text(value: object) -> str:
    """Check for a string. Errors ask for quotes around numbers, and for one value instead of mappings and lists."""
    if isinstance(value, str):
        return str(value)  # also converts an external string
    if isinstance(value, bool | int | float):
        raise refusal(f'must be text; write it in quotes: `"{shown(value)}"`')
    raise refusal(f"must be text, not {shown(value)}")


def matching(pattern: re.Pattern[str], rule: str) -> Callable[[object], str]:
    """Return a check that a string matches `pattern`; `rule` describes it."""

    def check(value: object) -> str:
        word = text(value)
        if pattern.fullmatch(word):
            return word
        better = _tidied(word, pattern)
        raise refusal(f"{shown(word)} is not allowed: {rule}{f'; did you mean {code(better)}?' if better else ''}")

    return check


def _tidied(word: str, pattern: re.Pattern[str]) -> str:
    """Return the string with case, separators and ends adapted to the pattern, or "" if that does not help."""
    bare = word.strip(" /")
    for better in (bare, bare.lower(), re.sub(r"[_. ]+", "-", bare.lower())):
        if pattern.fullmatch(better) and (pattern is not USER or better == bare):  # no other user is suggested
            return better
    return ""


def whole(name: str, lowest: int, highest: int) -> Callable[[object], int]:
    """A check for a whole number from `lowest` to `highest`."""

    def check(value: object) -> int:
        value = typed(value)
        if isinstance(value, str) and re.fullmatch(r"[1-9][0-9]{0,8}", value):
            raise refusal(f"must be a number; write it without quotes: `{value}`")
        if isinstance(value, str) and re.fullmatch(r"0[0-9]{1,8}", value):
            raise refusal(f"must be a number; write it without leading zeros: `{int(value)}`")
        if isinstance(value, bool) or not isinstance(value, int):
            raise refusal(f"must be a whole number from {lowest} to {highest}, not {shown(value)}")
        if not lowest <= value <= highest:
            raise refusal(f"{value} is not a valid {name}: must be from {lowest} to {highest}")
        return value

    return check


def seconds(value: object) -> float:
    value = typed(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise refusal(f"must be a number of seconds, not {shown(value)}")
    if not 1 <= value <= 600:  # noqa: PLR2004  explained in the text
        raise refusal(f"{value} seconds are not allowed: must be from 1 to 600")
    return float(value)


def truth(value: object) -> bool:
    value = typed(value)
    if not isinstance(value, bool):
        note = (
            " (in YAML 1.2: yes, no, on and off are plain words)"
            if str(value).lower() in ("yes", "no", "on", "off")
            else ""
        )
        raise refusal(f"must be `true` or `false`, not {shown(value)}{note}")
    return value


def one_of(*known: str, note: str = "") -> Callable[[object], str]:
    """A check that a text is one of the known words."""

    def check(value: object) -> str:
        if value not in known:
            words = " or ".join(f"`{word}`" for word in known)
            hint = nearest(value, known) if isinstance(value, str) else ""
            raise refusal(f"must be {words}, not {shown(value)}{note}{hint}")
        return str(value)

    return check


def network_name(value: object) -> str:
    rule = "a network name has letters, digits, `_`, `.` and `-`, begins with a letter or digit, and has at most 63 characters"
    name = matching(NETWORK, rule)(value)
    if name in RESERVED_NETWORKS:
        raise refusal(f"`{name}` is one of Docker's own networks; choose another name")
    return name


def address(value: object) -> str:
    """An address for SSH: an IP address (in the form of `ipaddress`) or a host name (RFC 1123, or with `_` inside)."""
    word = text(value)
    try:
        ip = ipaddress.ip_address(word)
    except ValueError:
        return _hostname(word)
    if ip.is_unspecified or ip.is_multicast or word == _BROADCAST:
        raise refusal(f"{word} is not a host's address")
    if isinstance(ip, IPv6Address) and ip.scope_id is not None:
        raise refusal(f"{shown(word)} is not allowed: an address with a zone (`%`) is not supported")
    return str(ip)


class Hop(NamedTuple):
    """A jump host in the file. Default: the user of the host behind it (""), and port 22 (0)."""

    user: str
    address: str
    port: int


def jump(value: object) -> tuple[Hop, ...]:
    """Check jump hosts in OpenSSH's ProxyJump form, first hop first. Empty: a direct connection."""
    word = text(value)
    return () if word == NONE else tuple(_hop(part) for part in word.split(","))


def _hop(word: str) -> Hop:
    match = _TARGET.fullmatch(word)
    if not match or "/" in word:
        raise refusal(f"{shown(word)} is not a jump host: write `user@host:port`; user and port are optional")
    user, port = match["user"] or "", int(match["port"] or 0)
    if user and not USER.fullmatch(user):
        raise refusal(f"{shown(user)} is not a user's name")
    if match["port"] and not 1 <= port <= 65535:  # noqa: PLR2004
        raise refusal(f"{port} is not a valid port: must be from 1 to 65535")
    return Hop(user, address(match["host"].strip("[]")), port)


def _hostname(word: str) -> str:
    if match := _IN_BRACKETS.fullmatch(word):
        raise refusal(f"{shown(word)}: write the IPv6 address without brackets: {code(match[1])}")
    if (match := _TARGET.fullmatch(word)) and word != match["host"]:
        parts = [code(f"{key}: {match[key]}") for key in ("user", "port") if match[key]]
        parts.insert(0, code(f"address: {match['host'].strip('[]')}"))
        raise refusal(f"{shown(word)} contains more than an address: write {', '.join(parts)}")
    if _NUMBERS.fullmatch(word):
        raise refusal(f"{shown(word)} {_NO_IPV4}")
    if _WITH_GAPS.fullmatch(word):
        raise refusal(f"{shown(word)} is not an address: write the numbers in place of the placeholders")
    if not _ADDRESS_NAME.fullmatch(word):
        raise refusal(
            f"{shown(word)} is not an address: write an IP address or a host name (letters, digits, `-`, `_` and `.`)"
        )
    return word


def advertise(value: object) -> str:
    """An interface's name or an IPv4 address that other hosts can reach."""
    word = text(value)
    if _NUMBERS.fullmatch(word) or _IPV6.fullmatch(word):
        return _literal(word)
    if "://" in word:
        raise refusal(
            f"{shown(word)} is not allowed: a scheme like `tcp://` crashes the engine (moby/moby#19344);"
            " write only the interface or the IPv4 address"
        )
    if match := _WITH_PORT.fullmatch(word):
        raise refusal(f"{shown(word)} is not allowed: write it without the port: {code(match[1])}")
    if word == "lo":
        raise refusal(f"`lo` is the loopback interface: {_UNREACHABLE}")
    if word in _DOCKER_BRIDGES:
        raise refusal(f"`{word}` is a built-in bridge of Docker: every host has it, with the same address")
    if not INTERFACE.fullmatch(word):
        raise refusal(f"{shown(word)} is neither an interface (`eth1`, at most 15 characters) nor an IPv4 address")
    return word


def _literal(word: str) -> str:
    try:
        ip = ipaddress.ip_address(word)
    except ValueError:
        raise refusal(f"{shown(word)} {_NO_IPV4}") from None
    if isinstance(ip, IPv6Address):
        raise refusal(f"{word} is IPv6: overlays use IPv4 between the engines")
    if ip.is_loopback:
        raise refusal(f"{word} is a loopback address: {_UNREACHABLE}")
    if ip.is_unspecified:
        raise refusal(f"{word} means all addresses: name the one that other hosts reach, or its interface")
    if ip.is_multicast or word == _BROADCAST:
        raise refusal(f"{word} is not a host's address")
    return str(ip)


def is_literal(word: str) -> bool:
    """Whether the advertised value is an address, not an interface."""
    return bool(_NUMBERS.fullmatch(word))


def subnet(value: object) -> IPv4Network:
    net = cidr(value)
    for special, name in _SPECIAL.items():
        if net.overlaps(special):
            raise refusal(
                f"{net} can't be a subnet: {special} is {name};"
                " private ranges are 10.0.0.0/8, 172.16.0.0/12 and 192.168.0.0/16"
            )
    return net


def cidr(value: object) -> IPv4Network:
    if isinstance(value, IPv4Network):
        return value
    word = text(value)
    if re.fullmatch(r"[0-9a-fA-F:.]*:[0-9a-fA-F:.]*(/[0-9]{1,3})?", word):
        raise refusal(
            f"{shown(word)} is IPv6, which has its own key (`subnet6`); write an IPv4 subnet like `10.99.0.0/24`"
        )
    if "/" not in word:
        raise refusal(f"{shown(word)} has no prefix length; write it as `10.99.0.0/24`")
    if not re.fullmatch(r"[0-9.]+/(0|[1-9][0-9]?)", word):
        raise refusal(f"{shown(word)} is not an IPv4 subnet; write it like `10.99.0.0/24`")
    try:
        net = IPv4Network(word, strict=False)
    except ValueError:
        raise refusal(
            f"{shown(word)} is not an IPv4 subnet: four numbers from 0 to 255 without leading zeros, `/` and 0 to 32"
        ) from None
    if str(net) != word:
        raise refusal(f"{shown(word)} has bits set behind its prefix length; did you mean `{net}`?")
    return net


def ipv4(value: object) -> IPv4Address:
    if isinstance(value, IPv4Address):
        return value
    word = text(value)
    try:
        return IPv4Address(word)
    except ValueError:
        raise refusal(f"{shown(word)} {_NO_IPV4}") from None


def path(value: object, info: ValidationInfo) -> Path:
    """An absolute path. A relative path starts at the inventory's folder, which is `folder` in pydantic's context."""
    return resolved(value, (info.context or {}).get("folder", Path()))


def resolved(value: object, folder: Path) -> Path:
    """Make a path of the inventory absolute: ~ is the user's home, and a relative path starts at `folder`."""
    word = str(value) if isinstance(value, Path) else text(value)
    if not word or not word.isprintable():
        raise refusal(f"{shown(word)} is not a path")
    try:
        return Path(folder, Path(word).expanduser()).absolute()
    except RuntimeError:
        raise refusal(f"{shown(word)}: this home folder does not exist") from None


def ssh_config(value: object, info: ValidationInfo) -> str:
    """`none`, or the absolute path of OpenSSH's configuration."""
    word = text(value)
    return word if word == NONE else str(path(word, info))


def label_value(value: object) -> str:
    word = text(value)
    if len(word) > LONGEST_LABEL or not word.isprintable():
        raise refusal(f"{shown(word)} is not a label: use printable characters, at most {LONGEST_LABEL}")
    return word


def sha256(value: object) -> str:
    word = text(value)
    if not SHA256.fullmatch(word):
        raise refusal(
            f"{shown(word)} is not a SHA-256 checksum: 64 characters of 0-9 and a-f, as printed by `sha256sum FILE`"
        )
    return word.lower()


_MOST_ENDPOINTS = 9


def endpoints(value: object) -> tuple[str, ...]:
    """`store.endpoints`: a list of ADDRESS:PORT."""
    example = "`[192.0.2.21:2379, 192.0.2.22:2379]`"
    if not isinstance(value, list | tuple) or not value or len(value) > _MOST_ENDPOINTS:
        raise refusal(f"must be a list of 1 to {_MOST_ENDPOINTS} addresses with ports: {example}, not {shown(value)}")
    return tuple(_endpoint(word, example) for word in value)


def _endpoint(value: object, example: str) -> str:
    word = text(value)
    if match := re.fullmatch(r"[a-z]+://(.+?)/?", word):
        raise refusal(f"{shown(word)} is not allowed: write it without the scheme: {code(match[1])}")
    match = _WITH_PORT.fullmatch(word)
    if not match or not 1 <= int(match[2]) <= 65535:  # noqa: PLR2004  explained in the text
        raise refusal(f"{shown(word)} is not an address with a port from 1 to 65535: write {example}")
    host = match[1]
    if not (HOSTNAME.fullmatch(host) if not _NUMBERS.fullmatch(host) else ipv4(host)):
        raise refusal(f"{shown(word)} is not an address: write an IPv4 address or a host name, and the port")
    return f"{host}:{int(match[2])}"


_GOSSIP = 7946
_MOST_POOLS = 16


def data_port(value: object) -> int:
    """The port of VXLAN, as a swarm accepts it."""
    port = whole("data path port", 1024, 49151)(value)
    if port == _GOSSIP:
        raise refusal(f"{port} is the port of the engines' gossip; choose another one")
    return port


def pools(value: object) -> tuple[IPv4Network, ...]:
    """`swarm.default_addr_pool.pools`: a list of CIDR ranges."""
    if not isinstance(value, list | tuple) or not value or len(value) > _MOST_POOLS:
        raise refusal(f"must be a list of 1 to {_MOST_POOLS} ranges: `[10.20.0.0/16]`, not {shown(value)}")
    return tuple(subnet(word) for word in value)


LOCAL_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}|[0-9]{1,9}")


def local_users(value: object) -> tuple[str, ...]:
    """`store.local_users`: users of the hosts, by name or by number."""
    rule = "must be a list of users of the hosts: `[prometheus]`"
    if not isinstance(value, list | tuple) or any(isinstance(user, bool) for user in value):
        raise refusal(f"{rule}, not {shown(value)}")
    found = tuple(str(user) if isinstance(user, int | str) else "" for user in value)
    for user, written in zip(found, value, strict=True):
        if not LOCAL_USER.fullmatch(user):
            raise refusal(
                f"{rule}; {shown(written)} is not a user: a name has lower-case letters, digits, `_` and `-`; write other users as numbers"
            )
    return tuple(dict.fromkeys(found))


def listed(value: object) -> tuple[str, ...]:
    """Check a list of host names, such as `store.servers`. checks.py checks their number and whether the hosts exist."""
    if not isinstance(value, list | tuple):
        raise refusal(f"must be a list of host names: `[node1, node2, node3]`, not {shown(value)}")
    if not all(isinstance(name, str) for name in value):
        raise refusal("must be a list of host names: `[node1, node2, node3]`")
    return tuple(map(str, value))
