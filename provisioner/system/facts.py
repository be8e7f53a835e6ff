"""What a host tells about itself: the answer of the program in reading.py, taken apart and understood. Pure."""

from __future__ import annotations

import json
import math
import re
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from provisioner.system import gossip
from provisioner.transport.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_REFUSES = "refuses="
_UNKNOWN = (-math.inf, math.inf)  # how far a clock is ahead that could not be read


_SECTION = re.compile(rb"([!-~]+) ([0-9]+)\n")
_END = re.compile(rb"^end ([0-9]+)\n\Z", re.MULTILINE)


def parse(stdout: bytes, before: Facts | None = None, between: tuple[float, float] | None = None) -> Facts:
    """The sections of `script()`'s answer, over those of an earlier reading.

    between: the controller's clock when it asked and when it had the answer; tells how far the host's is ahead.

    Raises ValueError on an answer that is cut, and on one in which a section comes twice.
    """
    raw = {**(before.raw if before else {}), **_sections(stdout)}
    facts = Facts(raw, before.ahead if before else (0.0, 0.0))
    if not between:
        return facts
    return replace(facts, ahead=(facts.now - between[1], facts.now - between[0]) if facts.now else _UNKNOWN)


def _sections(stdout: bytes) -> dict[str, str]:
    """Name -> body. The last line has the length of all of them, so nothing that was printed before them counts."""
    end = _END.search(stdout)
    at = end.start() - int(end[1]) if end else 0
    if not end or at < 0 or not stdout[:at].endswith(b"provisioner-facts\n"):
        raise ValueError("the answer is incomplete")
    found: dict[str, str] = {}
    while at < end.start():
        head = _SECTION.match(stdout, at)
        after = head.end() + int(head[2]) if head else 0
        if not head or after >= end.start() or stdout[after : after + 1] != b"\n":
            raise ValueError("the lengths of its sections do not fit")
        name = head[1].decode()
        if name in found:
            raise ValueError(f"the section {name} comes twice")
        found[name] = clean(stdout[head.end() : after])
        at = after + 1
    return found


def _lines(text: str) -> list[str]:
    """Its lines. Not str.splitlines(): that also splits at characters that file contents and process names can have."""
    return [line for line in text.split("\n") if line]


@dataclass(frozen=True)
class Unit:
    """A systemd unit as `systemctl show` tells it."""

    load: str = "not-found"
    active: str = "inactive"
    enabled: bool = False
    pid: int = 0
    fragment: str = ""
    command: str = ""

    @property
    def up(self) -> bool:
        """Whether it runs, or is on its way."""
        return self.active in {"active", "activating"}


@dataclass(frozen=True)
class Answer:
    """An HTTP answer: `code` 0 means that nobody answered, and `error` says why."""

    code: int = 0
    body: Any = None
    error: str = ""


@dataclass(frozen=True)
class Facts:
    """One host as it was found. `raw` has the sections as they came; the properties understand them.

    ahead: how far the host's clock is before the controller's, in seconds: at least, at most.
    """

    raw: Mapping[str, str] = field(repr=False)
    ahead: tuple[float, float] = (0.0, 0.0)

    @cached_property
    def _system(self) -> dict[str, list[str]]:
        values: dict[str, list[str]] = {}
        for line in _lines(self.raw.get("system", "")):
            key, _, value = line.partition("=")
            values.setdefault(key, []).append(value)
        return values

    def _one(self, key: str) -> str:
        return self._system.get(key, [""])[0]

    @property
    def hostname(self) -> str:
        return self._one("hostname")

    def says(self, key: str) -> bool:
        """Whether the section's lines, the store's own (`Sought.says`) among them, tell yes to it."""
        return self._one(key) == "yes"

    def line(self, key: str) -> str:
        """What the store's own lines tell of something; "" where they don't."""
        return self._one(key)

    @cached_property
    def secrets(self) -> dict[str, str]:
        """Path -> text, of `Sought.secrets` that are there. Never to be shown."""
        return _by_path("\n".join(line for line in self._secret_lines if not line.startswith("=")))

    @cached_property
    def modes(self) -> dict[str, str]:
        """Path -> mode and owner of the same files, as "600 consul:consul"."""
        told = (line[1:].rsplit(" ", 1) for line in self._secret_lines if line.startswith("="))
        return {path: mode for mode, path in told}

    @property
    def _secret_lines(self) -> list[str]:
        return _lines(self.raw.get("secrets", ""))

    @cached_property
    def guarded(self) -> frozenset[str]:
        """The paths of the files that were read which root alone can write: they and every folder above them are root's own."""
        return frozenset(_lines(self.raw.get("guarded", "")))

    @property
    def is_root(self) -> bool:
        return self._one("uid") == "0"

    @property
    def now(self) -> float:
        """The host's clock, seconds since 1970; 0 where it can't be read."""
        whole, _, rest = self._one("now").partition(".")  # busybox's date knows no %N
        return float(f"{whole}.{rest if rest.isdigit() else 0}") if whole.isdigit() else 0.0

    @cached_property
    def programs(self) -> dict[str, str]:
        return dict(entry.partition(" ")[::2] for entry in self._system.get("program", []))

    @cached_property
    def kernel_lacks(self) -> frozenset[str]:
        """Of what was asked for, by the names of modprobe, what its kernel does not have."""
        return frozenset(self._system.get("lacks", ()))

    @cached_property
    def free_disk(self) -> dict[str, int]:
        """Mount point -> free bytes, for the file systems of /etc, the engine's and the store's data, and /usr."""
        found = (line.split(" ", 2) for line in self._system.get("disk", []))
        return {words[2]: int(words[0]) * 1024 for words in found if len(words) == 3 and words[0].isdigit()}  # noqa: PLR2004

    @cached_property
    def files(self) -> dict[str, str]:
        """Path -> text, of the files that are there and not empty."""
        return _by_path(self.raw.get("files", ""))

    def sum(self, path: str) -> str:
        """The SHA-256 sum of one of `Sought.sums`; "" where it is not there."""
        return self._sums.get(path, "")

    @cached_property
    def _sums(self) -> dict[str, str]:
        told = (line.partition("  ") for line in _lines(self.raw.get("sums", "")))  # as sha256sum prints them
        return {path: found for found, _, path in told}

    def answered(self, answers: Mapping[str, str]) -> Facts:
        """With answers to the store's requests that the host could not ask by itself."""
        return replace(self, raw={**self.raw, **{f"http:{name}": text for name, text in answers.items()}})

    @cached_property
    def system_name(self) -> str:
        return _settings(self.files.get("/etc/os-release", "")).get("PRETTY_NAME", "")

    @cached_property
    def routes(self) -> tuple[tuple[str, IPv4Network], ...]:
        """(interface, destination) of the main table, without the default routes."""
        return tuple((name, network) for name, network, _ in self._routes if network.prefixlen)

    @cached_property
    def _routes(self) -> tuple[tuple[str, IPv4Network, bool], ...]:
        """(interface, destination, whether it is reached without a gateway) of the main table."""
        lines = (line.split() for line in self.files.get("/proc/net/route", "").splitlines()[1:])
        return tuple(
            (fields[0], IPv4Network((_address(fields[1]), str(_address(fields[7])))), int(fields[2], 16) == 0)
            for fields in lines
        )

    @cached_property
    def addresses(self) -> tuple[tuple[str, IPv4Interface], ...]:
        """(interface, address with prefix) without loopback, an interface's primary address first.

        Where the host has no perl they come from the routing tables, which don't tell the interface of a /32 address.
        """
        lines = [line.split() for line in _lines(self.raw.get("addresses", ""))]
        told = [(name.partition(":")[0], IPv4Interface(f"{ip}/{mask}")) for name, ip, mask in filter(None, lines)]
        if told:
            return tuple((name, address) for name, address in told if not address.is_loopback)
        connected = [(name, network) for name, network, direct in self._routes if direct and network.prefixlen]
        return _addresses(self.files.get("/proc/net/fib_trie", ""), connected)

    @cached_property
    def mtus(self) -> dict[str, int]:
        """Interface -> MTU in bytes."""
        prefix = "/sys/class/net/"
        return {p.split("/")[4]: int(text) for p, text in self.files.items() if p.startswith(prefix)}

    @cached_property
    def resolvers(self) -> tuple[IPv4Address, ...]:
        """The IPv4 name servers the host asks, those behind systemd-resolved included."""
        text = self.files.get("/etc/resolv.conf", "") + self.files.get("/run/systemd/resolve/resolv.conf", "")
        found = []
        for line in text.splitlines():
            words = line.split()
            if len(words) > 1 and words[0] == "nameserver":
                with suppress(ValueError):  # IPv6, which may have dots too
                    found.append(IPv4Address(words[1]))
        return tuple(dict.fromkeys(found))

    @cached_property
    def ports(self) -> tuple[tuple[str, int, int], ...]:
        """(protocol, port, inode) of the listening sockets on the overlay's and store's ports. The kernel's own have one too,
        from Linux 6 on, but no process.
        """
        lines = (line.split() for line in _lines(self.raw.get("ports", "")))
        return tuple(sorted({(words[0], int(words[1]), int(words[2])) for words in lines if words and words[0] != "owner"}))

    def owner(self, inode: int) -> str:
        """Whose socket that is, as "nginx (process 812)"; told while the store is not set up yet. Empty: nobody's we know."""
        for line in _lines(self.raw.get("ports", "")):
            words = line.split(maxsplit=3)
            if words[:2] == ["owner", str(inode)]:
                return f"{words[3]} (process {words[2]})"
        return ""

    def primary(self, address: IPv4Address) -> IPv4Address:
        """The address that the host sends from on the network of one of its addresses: the interface's first there."""
        on = next(((name, a.network) for name, a in self.addresses if a.ip == address), None)
        if on is None or "addresses" not in self.raw:  # not its own; or told in no order
            return address
        return next(a.ip for name, a in self.addresses if (name, a.network) == on)

    @cached_property
    def units(self) -> dict[str, Unit]:
        found = {}
        for block in self.raw.get("units", "").split("\n\n"):
            keys = dict(line.partition("=")[::2] for line in _lines(block))
            found[keys.get("Id", "")] = Unit(
                load=keys.get("LoadState", ""),
                active=keys.get("ActiveState", ""),
                enabled=keys.get("UnitFileState", "") == "enabled",
                pid=int(keys.get("MainPID", 0) or 0),
                fragment=keys.get("FragmentPath", ""),
                command=keys.get("ExecStart", ""),
            )
        return found

    def unit(self, name: str) -> Unit:
        return self.units.get(name, Unit())

    def http(self, name: str) -> Answer:
        """The answer to one of the requests: "info" and "networks" (engine), or one of the store's (`Sought.requests`)."""
        code, _, body = self.raw.get(f"http:{name}", "000 not asked").partition(" ")
        if not code.isdigit() or int(code) == 0:
            return Answer(error=body.strip() or "no answer")
        try:
            return Answer(int(code), json.loads(body) if int(code) == 200 else None, "" if int(code) == 200 else body)  # noqa: PLR2004
        except ValueError:
            return Answer(error="the answer was cut off")

    @cached_property
    def engine(self) -> dict[str, Any]:
        """The running engine's /info, or nothing."""
        body = self.http("info").body
        return body if isinstance(body, dict) else {}

    @cached_property
    def gossip(self) -> frozenset[IPv4Address] | None:
        """The advertised addresses of the engines that this one knows, its own among them; None: it takes no part.

        A swarm's is encrypted; there the network `ingress`, which every node is on, tells its peers.
        """
        members = gossip.members(bytes.fromhex(self.raw.get("gossip", "").strip()))
        return members or gossip.peers(self.http("ingress").body) or None

    @cached_property
    def engine_version(self) -> str:
        """As "20.10.5"; empty when there is no engine."""
        if version := self.engine.get("ServerVersion"):
            return str(version).partition("+")[0]
        words = self.raw.get("engine", "").split()  # Docker version 20.10.5+dfsg1, build 55c4c88
        return words[2].rstrip(",").partition("+")[0] if words[:2] == ["Docker", "version"] else ""

    @cached_property
    def engine_id(self) -> str:
        """The engine's ID, or the checksum of its key where it does not run; equal on cloned machines."""
        return str(self.engine.get("ID") or self._one("key"))

    @property
    def store_driver(self) -> bool:
        """Whether the engine's binary has the store's driver compiled in."""
        return any(line and not line.startswith(_REFUSES) for line in _lines(self.raw.get("driver", "")))

    @property
    def refuses(self) -> str:
        """What an engine that has not joined yet has against its daemon.json; "" where it would take it, or only root may read it."""
        lines = _lines(self.raw.get("driver", ""))
        told = next((line.removeprefix(_REFUSES) for line in lines if line.startswith(_REFUSES)), "")
        return "" if "permission denied" in told else told

    def said(self, name: str) -> str:
        """The whole answer to a request that is no HTTP; "" where nobody answered."""
        text = self.raw.get(f"http:{name}", "000 not asked")
        return "" if text.startswith("000 ") else text

    @cached_property
    def swarm_nodes(self) -> tuple[Mapping[str, Any], ...]:
        """The swarm's nodes, as its engine lists them where it is a manager; none elsewhere."""
        return tuple(self.http("nodes").body or ())

    @cached_property
    def networks(self) -> dict[str, dict[str, Any]]:
        """Name -> what the engine's /networks tells of it. Two networks of one name: the ID has both."""
        found: dict[str, dict[str, Any]] = {}
        for network in self.http("networks").body or ():
            name = network["Name"]
            twin = found.get(name)
            found[name] = {**network, "Id": f"{twin['Id']}+{network['Id']}"} if twin else network
        return found


def _by_path(text: str) -> dict[str, str]:
    """Files as `grep` tells them: PATH:LINE."""
    lines: dict[str, list[str]] = {}
    for line in text.rstrip("\n").split("\n"):
        path, colon, rest = line.partition(":")
        if colon:
            lines.setdefault(path, []).append(rest)
    return {path: "\n".join(found) + "\n" for path, found in lines.items()}


def _settings(text: str) -> dict[str, str]:
    """KEY=value lines, as in os-release."""
    pairs = (line.partition("=")[::2] for line in text.splitlines() if "=" in line)
    return {key: value.strip("\"'") for key, value in pairs}


def _address(word: str) -> IPv4Address:
    """An address of /proc/net/route: hexadecimal in the host's byte order, little-endian here."""
    return IPv4Address(int.from_bytes(bytes.fromhex(word), "little"))


def _addresses(trie: str, routes: Iterable[tuple[str, IPv4Network]]) -> tuple[tuple[str, IPv4Interface], ...]:
    """Local addresses from /proc/net/fib_trie; the interface and prefix come from the connected route."""
    local: dict[IPv4Address, None] = {}
    lines = trie.splitlines()
    for line, following in pairwise(lines):
        if line.strip().startswith("|-- ") and following.strip() == "/32 host LOCAL":
            local[IPv4Address(line.split()[1])] = None
    found = []
    for address in local:
        if address.is_loopback:
            continue
        near = [(name, network) for name, network in routes if address in network]
        name, network = max(near, key=lambda item: item[1].prefixlen, default=("", IPv4Network((address, 32))))
        found.append((name, IPv4Interface((address, network.prefixlen))))
    return tuple(found)
