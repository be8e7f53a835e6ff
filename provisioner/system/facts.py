"""One host's facts: parses the output of the program that reading.py composes. Pure."""

from __future__ import annotations

import math
import re
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from itertools import pairwise
from json import JSONDecodeError
from typing import TYPE_CHECKING, Any

from provisioner.system import answers, gossip, packages
from provisioner.system.strict import malformed, number, shown, understood
from provisioner.transport.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from provisioner.system.packages.base import PackageManager

_REFUSES = "refuses="
_LAST = 253402300800.0  # seconds since 1970 at the end of the year 9999, where Python's calendar ends
_CUT_OFF = "the answer was cut off"
_LATE = "timeout"  # the word that facts.pl prints
_REFUSED = frozenset(
    {"Connection refused", "No such file or directory"}
)  # of a port and of a socket: errors of connect(2)
TOO_LATE = f"\n000 {_LATE}\n".encode()  # in the raw answer of a host, if its engine or its store was late
_ENGINE = (
    "check on the host what `docker info` and `docker network ls` print, and what listens on /var/run/docker.sock;"
    " then run again"
)
_STORE = "check what the store on this host answers, and run again"
_SECRET = frozenset({"plugins"})  # requests whose answers may contain passwords
_UNKNOWN = (-math.inf, math.inf)  # `ahead` of a clock that could not be read


_SECTION = re.compile(rb"([!-~]+) ([0-9]+)\n")
_END = re.compile(rb"^end ([0-9]+)\n\Z", re.MULTILINE)


def parse(stdout: bytes, before: Facts | None = None, between: tuple[float, float] | None = None) -> Facts:
    """Parse the output of `reading.script()`. Its sections replace those of an earlier reading (`before`).

    between: the controller's clock at the start and at the end of the reading, to tell how far the host's clock is ahead.

    Raises ValueError if the output is cut off, or contains a section twice.
    """
    raw = {**(before.raw if before else {}), **sections(stdout)}
    facts = Facts(raw, before.ahead if before else (0.0, 0.0))
    if not between:
        return facts
    return replace(facts, ahead=(facts.now - between[1], facts.now - between[0]) if facts.now else _UNKNOWN)


def sections(stdout: bytes) -> dict[str, str]:
    """Return name -> body. Raises ValueError if the output is cut off, or contains a section twice.

    The last line gives the length of all sections, so any output before them is ignored.
    """
    end = _END.search(stdout)
    at = end.start() - int(end[1]) if end else 0
    if not end or at < 0 or not stdout[:at].endswith(b"provisioner-facts\n"):
        raise ValueError("the output is incomplete")
    found: dict[str, str] = {}
    while at < end.start():
        head = _SECTION.match(stdout, at)
        after = head.end() + int(head[2]) if head else 0
        if not head or after >= end.start() or stdout[after : after + 1] != b"\n":
            raise ValueError("the lengths of its sections are wrong")
        name = head[1].decode()
        if name in found:
            raise ValueError(f"the section {name} appears twice")
        found[name] = clean(stdout[head.end() : after])
        at = after + 1
    return found


def _lines(text: str) -> list[str]:
    """Split at newlines only. str.splitlines() also splits at characters that files and process names can contain."""
    return [line for line in text.split("\n") if line]


@dataclass(frozen=True)
class Unit:
    """A systemd unit, from `systemctl show`. began: the host's uptime when its main process started, in seconds; 0 if
    unknown.
    """

    load: str = "not-found"
    active: str = "inactive"
    enabled: bool = False
    pid: int = 0
    fragment: str = ""
    command: str = ""
    began: float = 0.0

    @property
    def up(self) -> bool:
        """Whether it is running or starting."""
        return self.active in {"active", "activating"}


@dataclass(frozen=True)
class Answer:
    """An HTTP answer. `code` is 0 without a usable answer; `error` then says why.

    malformed: there was an answer that no engine or store would give.
    late: the connection was accepted, but no answer came in time. refused: nothing listens there.
    """

    code: int = 0
    body: Any = None
    error: str = ""
    malformed: bool = False
    late: bool = False
    refused: bool = False


@dataclass(frozen=True)
class Facts:
    """The facts of one host. `raw` has the unparsed sections; the properties parse them, or raise Malformed.

    ahead: how far the host's clock is ahead of the controller's, in seconds: (at least, at most).
    shapes: name of a request to the store -> shape of its answer. foreign: whether somebody else manages that store.
    """

    raw: Mapping[str, str] = field(repr=False)
    ahead: tuple[float, float] = (0.0, 0.0)
    shapes: Mapping[str, Any] = field(default_factory=dict, repr=False)
    foreign: bool = False

    def understood(self) -> Facts:
        """Return the same facts after parsing all of them, so that no later use raises. Raises Malformed."""
        for name in _TYPED:
            getattr(self, name)
        for section in self.raw:
            if section.startswith("http:"):
                self.http(section.removeprefix("http:"))
        return self

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
        """Whether the section "system" has the line KEY=yes. `Sought.says` adds lines about the store."""
        return self._one(key) == "yes"

    def line(self, key: str) -> str:
        """Return the value of a KEY=value line of the section "system"; "" if there is none."""
        return self._one(key)

    @cached_property
    def secrets(self) -> dict[str, str]:
        """Path -> text of the files in `Sought.secrets` that exist. Never show these."""
        return _by_path("\n".join(line for line in self._secret_lines if not line.startswith("=")))

    @cached_property
    def modes(self) -> dict[str, str]:
        """Path -> mode and owner of the same files, as "600 consul:consul"."""
        found = {}
        for line in self._secret_lines:
            if line.startswith("="):
                with understood("the mode of one of its secret files", ""):
                    mode, path = line[1:].rsplit(" ", 1)
                    found[path] = mode
        return found

    @property
    def _secret_lines(self) -> list[str]:
        return _lines(self.raw.get("secrets", ""))

    @cached_property
    def guarded(self) -> frozenset[str]:
        """Paths of the read files that only root can change: root owns the file and every folder above it."""
        return frozenset(_lines(self.raw.get("guarded", "")))

    @property
    def is_root(self) -> bool:
        return self._one("uid") == "0"

    @property
    def now(self) -> float:
        """The host's clock, in seconds since 1970; 0 if it could not be read."""
        moment = self._seconds("now")
        return moment if moment < _LAST else 0.0

    def _seconds(self, key: str) -> float:
        found = re.match(r"[0-9]{1,12}(?:\.[0-9]{1,9})?", self._one(key))  # busybox's date knows no %N
        return float(found[0]) if found else 0.0

    @cached_property
    def programs(self) -> dict[str, str]:
        return dict(entry.partition(" ")[::2] for entry in self._system.get("program", []))

    @property
    def package_manager(self) -> PackageManager | None:
        """The host's package manager; None if it has no supported one."""
        return packages.of(self.programs)

    @property
    def perl_runs(self) -> bool:
        """Whether the Perl program that reads the host printed anything: it always lists the addresses."""
        return "addresses" in self.raw

    @cached_property
    def perl_lacks(self) -> tuple[str, ...]:
        """The modules that our programs need and this host's Perl does not have."""
        return tuple(re.findall(r"[A-Za-z:]{1,30}", self.raw.get("perl", "")))

    @cached_property
    def kernel_lacks(self) -> frozenset[str]:
        """The kernel modules (modprobe's names) that were looked for and that the kernel does not have."""
        return frozenset(self._system.get("lacks", ()))

    @cached_property
    def free_disk(self) -> dict[str, int]:
        """Mount point -> free bytes, for the file systems of /etc, /usr, and the data of the engine and the store."""
        found = (re.fullmatch(r"([0-9]{1,15}) \S* (.+)", line) for line in self._system.get("disk", []))
        return {words[2]: int(words[1]) * 1024 for words in found if words}

    @cached_property
    def files(self) -> dict[str, str]:
        """Path -> text of the files that exist and are not empty."""
        return _by_path(self.raw.get("files", ""))

    def sum(self, path: str) -> str:
        """Return the SHA-256 sum of a file in `Sought.sums`; "" if it does not exist."""
        return self._sums.get(path, "")

    @cached_property
    def _sums(self) -> dict[str, str]:
        entries = (line.partition("  ") for line in _lines(self.raw.get("sums", "")))  # sha256sum's format
        return {path: found for found, _, path in entries}

    def answered(self, answers: Mapping[str, str]) -> Facts:
        """Return the facts with the answers to those requests to the store that the controller had to send."""
        return replace(self, raw={**self.raw, **{f"http:{name}": text for name, text in answers.items()}})

    @cached_property
    def system_name(self) -> str:
        return _settings(self.files.get("/etc/os-release", "")).get("PRETTY_NAME", "")

    @cached_property
    def routes(self) -> tuple[tuple[str, IPv4Network], ...]:
        """(interface, destination) of the main routing table, without default routes."""
        return tuple((name, network) for name, network, _ in self._routes if network.prefixlen)

    @cached_property
    def _routes(self) -> tuple[tuple[str, IPv4Network, bool], ...]:
        """(interface, destination, whether it is directly connected) of the main routing table."""
        found = []
        for line in self.files.get("/proc/net/route", "").splitlines()[1:]:
            with understood("its routes (/proc/net/route)", line):
                fields = line.split()
                network = IPv4Network((_address(fields[1]), str(_address(fields[7]))))
                found.append((fields[0], network, not int(_address(fields[2]))))
        return tuple(found)

    @cached_property
    def addresses(self) -> tuple[tuple[str, IPv4Interface], ...]:
        """(interface, address with prefix) without loopback; an interface's primary address comes first.

        On a host without Perl they are derived from the routing tables, which lack the interface of a /32 address.
        """
        listed = []
        for line in _lines(self.raw.get("addresses", "")):
            with understood(
                "its addresses (SIOCGIFCONF)", line, "compare with `ip address` on the host, and run again"
            ):
                name, ip, mask = line.split()
                listed.append((name.partition(":")[0], IPv4Interface(f"{ip}/{mask}")))
        if listed:
            return tuple((name, address) for name, address in listed if not address.is_loopback)
        connected = [(name, network) for name, network, direct in self._routes if direct and network.prefixlen]
        return _addresses(self.files.get("/proc/net/fib_trie", ""), connected)

    @cached_property
    def mtus(self) -> dict[str, int]:
        """Interface -> MTU in bytes."""
        found = {}
        for path, text in self.files.items():
            if path.startswith("/sys/class/net/"):
                with understood(f"the MTU of an interface ({shown(path, 60)})", text):
                    found[path.split("/")[4]] = number(text.strip())
        return found

    @cached_property
    def resolvers(self) -> tuple[IPv4Address, ...]:
        """The host's IPv4 name servers, including those that systemd-resolved forwards to."""
        text = self.files.get("/etc/resolv.conf", "") + self.files.get("/run/systemd/resolve/resolv.conf", "")
        found = []
        for line in text.splitlines():
            words = line.split()
            if len(words) > 1 and words[0] == "nameserver":
                with suppress(ValueError):  # an IPv6 address
                    found.append(IPv4Address(words[1]))
        return tuple(dict.fromkeys(found))

    @cached_property
    def ports(self) -> tuple[tuple[str, int, int], ...]:
        """(protocol, port, inode) of the sockets that listen on the overlay's and the store's ports.

        From Linux 6 on, the kernel's own sockets (VXLAN) have an inode as well, but no process.
        """
        found = set()
        for line in _lines(self.raw.get("ports", "")):
            words = line.split()
            if words and words[0] != "owner":
                with understood("its listening sockets", line, "compare with `ss -ln` on the host, and run again"):
                    kind, port, inode = words
                    found.add((kind, number(port), number(inode)))
        return tuple(sorted(found))

    def owner(self, inode: int) -> str:
        """Return the socket's process, as "nginx (process 812)"; "" if unknown.

        Processes are read only while the store is not set up, or when another user holds a port that is queried.
        """
        return self._owners.get(inode, "")

    @cached_property
    def _owners(self) -> dict[int, str]:
        found: dict[int, str] = {}
        for line in _lines(self.raw.get("ports", "")):
            if line.startswith("owner "):
                with understood("who listens on its ports", line, "compare with `ss -lnp` on the host, and run again"):
                    _, inode, process, name = line.split(maxsplit=3)
                    found.setdefault(number(inode), f"{name} (process {process})")
        return found

    def primary(self, address: IPv4Address) -> IPv4Address:
        """Return the source address that the host uses on the network of `address`: the interface's first one there."""
        on = next(((name, a.network) for name, a in self.addresses if a.ip == address), None)
        if on is None or "addresses" not in self.raw:  # not the host's own; or read in unknown order
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
                pid=_number(keys, "MainPID"),
                fragment=keys.get("FragmentPath", ""),
                command=keys.get("ExecStart", ""),
                began=_number(keys, "Started") / 100,
            )
        return found

    def unit(self, name: str) -> Unit:
        return self.units.get(name, Unit())

    def age(self, unit: str) -> float:
        """Return for how many seconds a unit's main process has run, including those of a suspended host; 0 if unknown."""
        began = self.unit(unit).began
        return max(self._seconds("uptime") - began, 0.0) if began else 0.0

    def http(self, name: str) -> Answer:
        """Return the answer to a request: "info" and "networks" (engine), or one of the store's (`Sought.requests`).

        Raises Malformed, except for a foreign store: another of its endpoints may work, so a malformed answer counts as none.
        """
        if name not in self._answers:
            self._answers[name] = self._answer(name)
        return self._answers[name]

    def _answer(self, name: str) -> Answer:
        text, of_engine = self.raw.get(f"http:{name}", "000 not queried"), self._of_engine(name)
        answer = _answer(text, self._shape(name))
        if answer.malformed and (of_engine or not self.foreign):
            whose, cure = ("engine", _ENGINE) if of_engine else ("store", _STORE)
            said = "" if name in _SECRET else text
            raise malformed(f"the {whose}'s answer ({name})", answer.error, said, cure)
        return answer

    @cached_property
    def _answers(self) -> dict[str, Answer]:
        return {}

    def _shape(self, name: str) -> Any:
        """Return the shape of an answer with code 200; Any if its content is not read."""
        if self._of_engine(name):
            return answers.ENGINE[name if ":" not in name else name[: name.index(":") + 1]]
        return self.shapes.get(name.partition("@")[0], Any)

    def _of_engine(self, name: str) -> bool:
        """Whether the request goes to the engine. The engine lists `endpoints:NETWORK`, the store `endpoints`."""
        kind, colon, _ = name.partition(":")
        return "@" not in name and kind + colon in answers.ENGINE

    @cached_property
    def engine(self) -> dict[str, Any]:
        """The running engine's /info; {} if there is none."""
        return self.http("info").body or {}

    @cached_property
    def gossip(self) -> frozenset[IPv4Address] | None:
        """Advertised addresses of the engines that this one knows from gossip, its own included; None if it takes no part.

        A swarm encrypts its gossip. There, the peers of the network `ingress` are used: every node is attached to it.
        """
        with understood("the engine's answer about the gossip", self.raw.get("gossip", "")):
            members = gossip.members(bytes.fromhex(self.raw.get("gossip", "").strip()))
        return members or gossip.peers(self.http("ingress").body) or None

    @cached_property
    def engine_version(self) -> str:
        """For example "20.10.5"; "" without an engine."""
        if version := self.engine.get("ServerVersion"):
            return str(version).partition("+")[0]
        words = self.raw.get("engine", "").split()  # Docker version 20.10.5+dfsg1, build 55c4c88
        return "".join(words[2:3]).rstrip(",").partition("+")[0] if words[:2] == ["Docker", "version"] else ""

    @cached_property
    def engine_id(self) -> str:
        """The engine's ID, or the checksum of its key while it is stopped. Equal on cloned machines."""
        return str(self.engine.get("ID") or self._one("key"))

    @property
    def store_driver(self) -> bool:
        """Whether the engine's binary has the store's driver compiled in."""
        return any(line and not line.startswith(_REFUSES) for line in _lines(self.raw.get("driver", "")))

    @property
    def refuses(self) -> str:
        """Why the engine rejects its daemon.json; "" if it accepts it, or if only root can read the file.

        It is checked only for an engine that has not joined a store or a swarm.
        """
        lines = _lines(self.raw.get("driver", ""))
        error = next((line.removeprefix(_REFUSES) for line in lines if line.startswith(_REFUSES)), "")
        return "" if "permission denied" in error else error

    def said(self, name: str) -> str:
        """Return the answer to a request in another protocol than HTTP; "" if there was none."""
        text = self.raw.get(f"http:{name}", "000 not queried")
        return "" if text.startswith("000 ") else text

    @cached_property
    def swarm_nodes(self) -> tuple[Mapping[str, Any], ...]:
        """The swarm's nodes, as listed by a manager's engine; empty on other hosts."""
        return tuple(self.http("nodes").body or ())

    @cached_property
    def networks(self) -> dict[str, dict[str, Any]]:
        """Name -> the engine's entry in /networks. If two networks have the same name, `Id` contains both IDs."""
        found: dict[str, dict[str, Any]] = {}
        for network in self.http("networks").body or ():
            name = network["Name"]
            twin = found.get(name)
            found[name] = {**network, "Id": f"{twin['Id']}+{network['Id']}"} if twin else network
        return found


# The properties that `Facts.understood` parses.
_TYPED = (
    "modes",
    "routes",
    "addresses",
    "mtus",
    "ports",
    "_owners",
    "units",
    "gossip",
    "networks",
    "swarm_nodes",
    "engine_version",
)


def _by_path(text: str) -> dict[str, str]:
    """Parse files in grep's output format, PATH:LINE."""
    lines: dict[str, list[str]] = {}
    for line in text.rstrip("\n").split("\n"):
        path, colon, rest = line.partition(":")
        if colon:
            lines.setdefault(path, []).append(rest)
    return {path: "\n".join(found) + "\n" for path, found in lines.items()}


def _settings(text: str) -> dict[str, str]:
    """Parse KEY=value lines, as in os-release."""
    pairs = (line.partition("=")[::2] for line in text.splitlines() if "=" in line)
    return {key: value.strip("\"'") for key, value in pairs}


def _address(word: str) -> IPv4Address:
    """Parse an address of /proc/net/route: hexadecimal, little-endian on all supported hosts. Raises ValueError."""
    return IPv4Address(int.from_bytes(bytes.fromhex(word), "little"))


def _number(keys: Mapping[str, str], key: str) -> int:
    with understood(f"the state of the unit {shown(keys.get('Id', ''), 60)}", keys.get(key, "")):
        return number(keys.get(key) or "0")


def _answer(text: str, shape: Any) -> Answer:
    """Parse the answer to one request: "CODE BODY", or "000 WHY" if there was none."""
    if not text.strip() or text.startswith("000"):
        why = text[3:].strip()
        return Answer(error=why or "no answer", late=why == _LATE, refused=why in _REFUSED)
    head = re.match(r"([1-9][0-9]{2})(?: |$)", text)
    if not head:
        if text.startswith("HTTP/"):
            return Answer(error=_CUT_OFF)
        return Answer(error="no answer") if shape is Any else Answer(error="it is not HTTP", malformed=True)
    code, body = int(head[1]), text[head.end() :]
    if code != 200:  # noqa: PLR2004
        return Answer(code, None, body)
    try:
        return Answer(code, answers.parsed(shape, body))
    except ValueError as error:
        cut = shape is Any or _is_cut(error, body)
        return Answer(error=_CUT_OFF) if cut else Answer(error=str(error), malformed=True)


def _is_cut(error: ValueError, text: str) -> bool:
    """Whether the JSON is truncated, as it is when an engine is stopped while it answers."""
    if not text.strip():
        return True
    if not isinstance(error, JSONDecodeError) or text.lstrip()[0] not in '{["':
        return False
    return error.msg.startswith("Unterminated") or bool(re.fullmatch(r"[A-Za-z0-9.+-]*", text[error.pos :].strip()))


def _addresses(trie: str, routes: Iterable[tuple[str, IPv4Network]]) -> tuple[tuple[str, IPv4Interface], ...]:
    """Parse local addresses from /proc/net/fib_trie. The interface and the prefix come from the connected route."""
    local: dict[IPv4Address, None] = {}
    lines = trie.splitlines()
    for line, following in pairwise(lines):
        if line.strip().startswith("|-- ") and following.strip() == "/32 host LOCAL":
            with understood("its addresses (/proc/net/fib_trie)", line):
                local[IPv4Address(line.split()[1])] = None
    found = []
    for address in local:
        if address.is_loopback:
            continue
        containing = [(name, network) for name, network in routes if address in network]
        name, network = max(containing, key=lambda item: item[1].prefixlen, default=("", IPv4Network((address, 32))))
        found.append((name, IPv4Interface((address, network.prefixlen))))
    return tuple(found)
