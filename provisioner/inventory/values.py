"""What one value may be: a type for each kind of field, with the text of every refusal.

Whatever reaches a host (names, users, addresses, interfaces, prefixes, label names) is held to a small set of
characters here, so no quoting further down is the only thing between an inventory and a shell.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable  # noqa: TC003  beside types that are read at run time
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import PlainValidator, ValidationInfo, WithJsonSchema

from provisioner.inventory.problems import code, nearest, refusal, shown

LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_CLUSTER = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_NETWORK = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}")
_USER = re.compile(r"[a-zA-Z_][a-zA-Z0-9_.-]{0,31}")
_HOSTNAME = re.compile(
    r"(?=.{1,253}\Z)[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*"
)
_INTERFACE = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,14}")  # Linux: IFNAMSIZ is 16 with its final NUL
_PREFIX = re.compile(r"[a-zA-Z0-9_-]{1,64}(?:/[a-zA-Z0-9_-]{1,64}){0,7}")
_LABEL_KEY = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9._/-]{0,126}[a-zA-Z0-9])?")
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_NUMBERS = re.compile(r"[0-9.]+")
_WITH_PORT = re.compile(r"(.+):([0-9]{1,5})")
RESERVED_NETWORKS: Final = ("bridge", "host", "none", "ingress", "docker_gwbridge")
_DOCKER_BRIDGES = ("docker0", "docker_gwbridge")
_LONGEST_LABEL = 256  # characters
_SPECIAL = {  # what no overlay can use, and how it is called
    IPv4Network("127.0.0.0/8"): "loopback",
    IPv4Network("224.0.0.0/4"): "multicast",
    IPv4Network("169.254.0.0/16"): "link-local",
    IPv4Network("0.0.0.0/8"): "reserved",
    IPv4Network("240.0.0.0/4"): "reserved",
}


def text(value: object) -> str:
    """A string; numbers and the like are told to be quoted, mappings and lists to be one value."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        raise refusal(f'must be text; write it in quotes: `"{shown(value)}"`')
    raise refusal(f"must be text, not {shown(value)}")


def _matching(pattern: re.Pattern[str], rule: str) -> Callable[[object], str]:
    """A check that a text is made as `pattern` says; `rule` says it in words."""

    def check(value: object) -> str:
        word = text(value)
        if not pattern.fullmatch(word):
            better = _tidied(word, pattern)
            raise refusal(
                f"{shown(word)} is not allowed: {rule}" + (f"; did you mean {code(better)}?" if better else "")
            )
        return word

    return check


def _tidied(word: str, pattern: re.Pattern[str]) -> str:
    """The nearest text that the pattern takes: lower case, - for what does not fit; "" when that is no help."""
    if not word.isprintable() or len(word) > 63:  # noqa: PLR2004  no cure for these is worth telling
        return ""
    for better in (word.strip(), word.strip().lower(), re.sub(r"[_. ]+", "-", word.strip().lower())):
        if pattern.fullmatch(better):
            return better
    return ""


def whole(name: str, lowest: int, highest: int) -> Callable[[object], int]:
    """A check for a whole number from `lowest` to `highest`."""

    def check(value: object) -> int:
        if isinstance(value, str) and re.fullmatch(r"[1-9][0-9]{0,8}", value):
            raise refusal(f"must be a number; write it without quotes: `{value}`")
        if isinstance(value, bool) or not isinstance(value, int):
            raise refusal(f"must be a whole number from {lowest} to {highest}, not {shown(value)}")
        if not lowest <= value <= highest:
            raise refusal(f"{value} is no {name}: must be from {lowest} to {highest}")
        return value

    return check


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise refusal(f"must be a number of seconds, not {shown(value)}")
    if not 1 <= value <= 600:  # noqa: PLR2004  told in the text
        raise refusal(f"{value} seconds are not allowed: must be from 1 to 600")
    return float(value)


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        note = (
            " (YAML 1.2: yes, no, on and off are plain words)"
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


def _network_name(value: object) -> str:
    rule = "a network name has letters, digits, `_`, `.` and `-`, begins with a letter or digit, and has at most 63 characters"
    name = _matching(_NETWORK, rule)(value)
    if name in RESERVED_NETWORKS:
        raise refusal(f"`{name}` is one of Docker's own networks; choose another name")
    return name


def _address(value: object) -> str:
    word = text(value)
    if "://" in word:
        raise refusal(
            f"{shown(word)} is no address: write the name or IP alone, without `{code(word.split('://')[0]).strip('`')}://`"
        )
    if "@" in word:
        user, _, rest = word.rpartition("@")
        raise refusal(
            f"{shown(word)} is no address: the user goes into `user: {_safe(user)}`, here stays `{_safe(rest)}`"
        )
    try:
        ip = ipaddress.ip_address(word)
    except ValueError:
        return _hostname(word)
    if ip.is_unspecified or ip.is_multicast or word == "255.255.255.255":
        raise refusal(f"{word} is the address of no host")
    if isinstance(ip, IPv6Address) and ip.scope_id is not None:
        raise refusal(f"{shown(word)} is no address: a zone (%) is not supported")
    return str(ip)


def _hostname(word: str) -> str:
    if (match := _WITH_PORT.fullmatch(word)) and match[1].count(":") == 0:
        raise refusal(
            f"{shown(word)} is no address: the port goes into `port: {match[2]}`, here stays `{_safe(match[1])}`"
        )
    if _NUMBERS.fullmatch(word):
        raise refusal(f"{shown(word)} is no IPv4 address: four numbers from 0 to 255 without leading zeros")
    if not _HOSTNAME.fullmatch(word):
        raise refusal(f"{shown(word)} is no address: write an IP or a host name (letters, digits, `-` and `.`)")
    return word


def _safe(part: str) -> str:
    return shown(part).strip("'\"")


def _advertise(value: object) -> str:
    word = text(value)
    if "://" in word:
        raise refusal(
            f"{shown(word)}: write the address alone: a scheme in front of it crashes the engine"
            f" ({code('tcp://')} is the known case)"
        )
    if match := _WITH_PORT.fullmatch(word):
        raise refusal(
            f"{shown(word)}: write it without the port: `{_safe(match[1])}`; the engine's port is added where it is needed"
        )
    if word == "lo":
        raise refusal(
            "`lo` is the loopback interface: the other hosts can't reach it, and the engine accepts it silently"
        )
    if word in _DOCKER_BRIDGES:
        raise refusal(f"`{word}` is one of Docker's own bridges: it has the same address on every host")
    if _NUMBERS.fullmatch(word) or ":" in word:
        return _literal(word)
    if not _INTERFACE.fullmatch(word):
        raise refusal(f"{shown(word)} is neither an interface (`eth1`, at most 15 characters) nor an IPv4 address")
    return word


def _literal(word: str) -> str:
    """An IPv4 address that other hosts could reach."""
    try:
        ip = ipaddress.ip_address(word)
    except ValueError:
        raise refusal(f"{shown(word)} is no IPv4 address: four numbers from 0 to 255 without leading zeros") from None
    if isinstance(ip, IPv6Address):
        raise refusal(f"{word}: the engines' overlay needs an IPv4 address")
    if ip.is_loopback:
        raise refusal(
            f"{word} is a loopback address: the other hosts can't reach it, and the engine accepts it silently"
        )
    if ip.is_unspecified:
        raise refusal(f"{word} stands for every address: name the one that the other hosts reach, or its interface")
    if ip.is_multicast or word == "255.255.255.255":
        raise refusal(f"{word} is the address of no host")
    return str(ip)


def _subnet(value: object) -> IPv4Network:
    net = _cidr(value)
    for special, name in _SPECIAL.items():
        if net.overlaps(special):
            raise refusal(
                f"{net} overlaps {special} ({name}); private ranges are 10.0.0.0/8, 172.16.0.0/12 and 192.168.0.0/16"
            )
    return net


def _cidr(value: object) -> IPv4Network:
    if isinstance(value, IPv4Network):
        return value
    word = text(value)
    if re.fullmatch(r"[0-9a-fA-F:.]*:[0-9a-fA-F:.]*(/[0-9]{1,3})?", word):
        raise refusal(f"{shown(word)}: IPv6 is not supported yet; write an IPv4 subnet like `10.99.0.0/24`")
    if "/" not in word:
        raise refusal(f"{shown(word)} has no prefix length; write it as `10.99.0.0/24`")
    if not re.fullmatch(r"[0-9.]+/[0-9]{1,2}", word):
        raise refusal(f"{shown(word)} is no IPv4 subnet; write it as `10.99.0.0/24`")
    try:
        net = IPv4Network(word, strict=False)
    except ValueError:
        raise refusal(
            f"{shown(word)} is no IPv4 subnet: four numbers from 0 to 255 without leading zeros, `/` and 0 to 32"
        ) from None
    if str(net) != word:
        raise refusal(f"{shown(word)} has bits set behind its prefix length; did you mean `{net}`?")
    return net


def _ipv4(value: object) -> IPv4Address:
    if isinstance(value, IPv4Address):
        return value
    word = text(value)
    try:
        return IPv4Address(word)
    except ValueError:
        raise refusal(f"{shown(word)} is no IPv4 address: four numbers from 0 to 255 without leading zeros") from None


def _path(value: object, info: ValidationInfo) -> Path:
    """An absolute path: ~ is the user's home, a relative path starts at the inventory's folder (context `folder`)."""
    if isinstance(value, Path):
        word = str(value)
    elif not (word := text(value)) or not word.isprintable():
        raise refusal(f"{shown(word)} is no path")
    try:
        path = Path(word).expanduser()
    except RuntimeError:
        raise refusal(f"{shown(word)}: there is no such home folder") from None
    folder: Any = (info.context or {}).get("folder", Path())
    return Path(folder, path).absolute()


def _label_value(value: object) -> str:
    word = text(value)
    if len(word) > _LONGEST_LABEL or not word.isprintable():
        raise refusal(f"{shown(word)} is no label: printable characters, at most {_LONGEST_LABEL}")
    return word


def _sha256(value: object) -> str:
    word = text(value)
    if not _SHA256.fullmatch(word):
        raise refusal(f"{shown(word)} is no SHA-256 sum: 64 characters of 0-9 and a-f, as `sha256sum FILE` prints them")
    return word.lower()


def _string(pattern: re.Pattern[str], longest: int = 0) -> WithJsonSchema:
    schema: dict[str, Any] = {"type": "string", "pattern": f"^(?:{pattern.pattern})$".replace("\\Z", "$")}
    return WithJsonSchema(schema | ({"maxLength": longest} if longest else {}))


def _number(lowest: int, highest: int, kind: str = "integer") -> WithJsonSchema:
    return WithJsonSchema({"type": kind, "minimum": lowest, "maximum": highest})


_RULE_LABEL = "lower-case letters, digits and `-`, at most 63, not at the ends a `-`"
_CIDR_SCHEMA = WithJsonSchema({"type": "string", "pattern": r"^[0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2}$"})

HostName = Annotated[str, PlainValidator(_matching(LABEL, f"a host name has {_RULE_LABEL}")), _string(LABEL)]
ClusterName = Annotated[
    str,
    PlainValidator(
        _matching(
            _CLUSTER,
            "a cluster name has lower-case letters, digits, `-` and `_`, begins with a letter or digit, and has at most 63 characters",
        )
    ),
    _string(_CLUSTER),
]
NetworkName = Annotated[
    str,
    PlainValidator(_network_name),
    WithJsonSchema({"type": "string", "pattern": f"^{_NETWORK.pattern}$", "not": {"enum": list(RESERVED_NETWORKS)}}),
]
User = Annotated[
    str,
    PlainValidator(
        _matching(
            _USER,
            "a user name has letters, digits, `_`, `.` and `-`, begins with a letter or `_`, and has at most 32 characters",
        )
    ),
    _string(_USER),
]
Address = Annotated[str, PlainValidator(_address), WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 253})]
Port = Annotated[int, PlainValidator(whole("port", 1, 65535)), _number(1, 65535)]
Mtu = Annotated[int, PlainValidator(whole("MTU", 576, 65535)), _number(576, 65535)]
Seconds = Annotated[float, PlainValidator(_seconds), _number(1, 600, "number")]
Truth = Annotated[bool, PlainValidator(_truth), WithJsonSchema({"type": "boolean"})]
Advertise = Annotated[str, PlainValidator(_advertise), _string(_INTERFACE)]
Subnet = Annotated[IPv4Network, PlainValidator(_subnet), _CIDR_SCHEMA]
Range = Annotated[IPv4Network, PlainValidator(_cidr), _CIDR_SCHEMA]
Ipv4 = Annotated[IPv4Address, PlainValidator(_ipv4), WithJsonSchema({"type": "string", "format": "ipv4"})]
FilePath = Annotated[Path, PlainValidator(_path), WithJsonSchema({"type": "string", "minLength": 1})]
LabelKey = Annotated[
    str,
    PlainValidator(
        _matching(_LABEL_KEY, "a label's name has letters, digits, `.`, `_`, `/` and `-`, and at most 128 characters")
    ),
    _string(_LABEL_KEY),
]
LabelValue = Annotated[
    str, PlainValidator(_label_value), WithJsonSchema({"type": "string", "maxLength": _LONGEST_LABEL})
]
Prefix = Annotated[
    str,
    PlainValidator(
        _matching(_PREFIX, "a prefix has letters, digits, `-` and `_`, with single `/` between its at most 8 parts")
    ),
    _string(_PREFIX),
]
Sha256 = Annotated[str, PlainValidator(_sha256), _string(_SHA256)]


def listed(value: object) -> tuple[str, ...]:
    """`store.servers`: host names in a list. How many and which is seen to where the hosts are known."""
    if not isinstance(value, list | tuple):
        raise refusal(f"must be a list of host names: `[node1, node2, node3]`, not {shown(value)}")
    if not all(isinstance(name, str) for name in value):
        raise refusal("must be a list of host names: `[node1, node2, node3]`")
    return tuple(value)


Servers = Annotated[
    tuple[str, ...],
    PlainValidator(listed),
    WithJsonSchema({"type": "array", "items": {"type": "string"}, "uniqueItems": True, "minItems": 1, "maxItems": 5}),
]
