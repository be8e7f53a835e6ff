"""What a host tells about itself: the answer of the program in reading.py, taken apart and understood. Pure."""

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
_LATE = "timeout"  # as facts.pl says it
_ENGINE = "see what `docker info` and `docker network ls` say on the host, and what listens at /var/run/docker.sock; run again"
_STORE = "see what the store on this host answers, and run again"
_SECRET = frozenset({"plugins"})  # whose answers may hold passwords
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
    """An HTTP answer: `code` 0 means that nobody answered as was to be expected, and `error` says why.

    malformed: somebody answered, and it is nothing that an engine or a store would say.
    late: somebody was there, and did not answer in time.
    """

    code: int = 0
    body: Any = None
    error: str = ""
    malformed: bool = False
    late: bool = False


@dataclass(frozen=True)
class Facts:
    """One host as it was found. `raw` has the sections as they came; the properties understand them, or raise Malformed.

    ahead: how far the host's clock is before the controller's, in seconds: at least, at most.
    shapes: name of a request to the store -> the form of its answer. foreign: whether others look after that store.
    """

    raw: Mapping[str, str] = field(repr=False)
    ahead: tuple[float, float] = (0.0, 0.0)
    shapes: Mapping[str, Any] = field(default_factory=dict, repr=False)
    foreign: bool = False

    def understood(self) -> Facts:
        """The same, once each value is known to have its form: whoever uses it later meets no surprise. Raises Malformed."""
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
        """The paths of the files that were read which root alone can write: they and every folder above them are root's own."""
        return frozenset(_lines(self.raw.get("guarded", "")))

    @property
    def is_root(self) -> bool:
        return self._one("uid") == "0"

    @property
    def now(self) -> float:
        """The host's clock, seconds since 1970; 0 where it can't be read."""
        found = re.match(r"[0-9]{1,12}(?:\.[0-9]{1,9})?", self._one("now"))  # busybox's date knows no %N
        return moment if found and (moment := float(found[0])) < _LAST else 0.0

    @cached_property
    def programs(self) -> dict[str, str]:
        return dict(entry.partition(" ")[::2] for entry in self._system.get("program", []))

    @property
    def package_manager(self) -> PackageManager | None:
        """None if it has none that is supported."""
        return packages.of(self.programs)

    @cached_property
    def perl_lacks(self) -> tuple[str, ...]:
        """The modules that its Perl does not have, of those that programs of ours use."""
        return tuple(re.findall(r"[A-Za-z:]{1,30}", self.raw.get("perl", "")))

    @cached_property
    def kernel_lacks(self) -> frozenset[str]:
        """Of what was asked for, by the names of modprobe, what its kernel does not have."""
        return frozenset(self._system.get("lacks", ()))

    @cached_property
    def free_disk(self) -> dict[str, int]:
        """Mount point -> free bytes, for the file systems of /etc, the engine's and the store's data, and /usr."""
        found = (re.fullmatch(r"([0-9]{1,15}) \S* (.+)", line) for line in self._system.get("disk", []))
        return {words[2]: int(words[1]) * 1024 for words in found if words}

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
        found = []
        for line in self.files.get("/proc/net/route", "").splitlines()[1:]:
            with understood("its routes (/proc/net/route)", line):
                fields = line.split()
                network = IPv4Network((_address(fields[1]), str(_address(fields[7]))))
                found.append((fields[0], network, not int(_address(fields[2]))))
        return tuple(found)

    @cached_property
    def addresses(self) -> tuple[tuple[str, IPv4Interface], ...]:
        """(interface, address with prefix) without loopback, an interface's primary address first.

        Where the host has no perl they come from the routing tables, which don't tell the interface of a /32 address.
        """
        told = []
        for line in _lines(self.raw.get("addresses", "")):
            with understood(
                "its addresses (SIOCGIFCONF)", line, "compare with `ip address` on the host, and run again"
            ):
                name, ip, mask = line.split()
                told.append((name.partition(":")[0], IPv4Interface(f"{ip}/{mask}")))
        if told:
            return tuple((name, address) for name, address in told if not address.is_loopback)
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
        found = set()
        for line in _lines(self.raw.get("ports", "")):
            words = line.split()
            if words and words[0] != "owner":
                with understood("its listening sockets", line, "compare with `ss -ln` on the host, and run again"):
                    kind, port, inode = words
                    found.add((kind, number(port), number(inode)))
        return tuple(sorted(found))

    def owner(self, inode: int) -> str:
        """Whose socket that is, as "nginx (process 812)"; told while the store is not set up yet. Empty: nobody's we know."""
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
                pid=_pid(keys),
                fragment=keys.get("FragmentPath", ""),
                command=keys.get("ExecStart", ""),
            )
        return found

    def unit(self, name: str) -> Unit:
        return self.units.get(name, Unit())

    def http(self, name: str) -> Answer:
        """The answer to one of the requests: "info" and "networks" (engine), or one of the store's (`Sought.requests`).

        A foreign store may be wrong at one endpoint and right at another: there a malformed answer is as good as none.
        """
        if name not in self._answers:
            self._answers[name] = self._answer(name)
        return self._answers[name]

    def _answer(self, name: str) -> Answer:
        text, of_engine = self.raw.get(f"http:{name}", "000 not asked"), self._of_engine(name)
        answer = _answer(text, self._shape(name))
        if answer.malformed and (of_engine or not self.foreign):
            whose, cure = ("engine", _ENGINE) if of_engine else ("store", _STORE)
            said = "" if name in _SECRET else text
            raise malformed(f"what its {whose} answers ({name})", answer.error, said, cure)
        return answer

    @cached_property
    def _answers(self) -> dict[str, Answer]:
        return {}

    def _shape(self, name: str) -> Any:
        """The form that an answer of code 200 has; Any where nothing in it is looked at."""
        if self._of_engine(name):
            return answers.ENGINE[name if ":" not in name else name[: name.index(":") + 1]]
        return self.shapes.get(name.partition("@")[0], Any)

    def _of_engine(self, name: str) -> bool:
        """Whether the engine is asked. `endpoints:NAME` are a network's on the engine, `endpoints` those in the store."""
        kind, colon, _ = name.partition(":")
        return "@" not in name and kind + colon in answers.ENGINE

    @cached_property
    def engine(self) -> dict[str, Any]:
        """The running engine's /info, or nothing."""
        return self.http("info").body or {}

    @cached_property
    def gossip(self) -> frozenset[IPv4Address] | None:
        """The advertised addresses of the engines that this one knows, its own among them; None: it takes no part.

        A swarm's is encrypted; there the network `ingress`, which every node is on, tells its peers.
        """
        with understood("what its engine says of the gossip", self.raw.get("gossip", "")):
            members = gossip.members(bytes.fromhex(self.raw.get("gossip", "").strip()))
        return members or gossip.peers(self.http("ingress").body) or None

    @cached_property
    def engine_version(self) -> str:
        """As "20.10.5"; empty when there is no engine."""
        if version := self.engine.get("ServerVersion"):
            return str(version).partition("+")[0]
        words = self.raw.get("engine", "").split()  # Docker version 20.10.5+dfsg1, build 55c4c88
        return "".join(words[2:3]).rstrip(",").partition("+")[0] if words[:2] == ["Docker", "version"] else ""

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


# What `Facts.understood` looks at.
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
    """An address of /proc/net/route: hexadecimal in the host's byte order, little-endian here. Raises ValueError."""
    return IPv4Address(int.from_bytes(bytes.fromhex(word), "little"))


def _pid(keys: Mapping[str, str]) -> int:
    with understood(f"the state of the unit {shown(keys.get('Id', ''), 60)}", keys.get("MainPID", "")):
        return number(keys.get("MainPID") or "0")


def _answer(text: str, shape: Any) -> Answer:
    """What came back for one request: "CODE BODY", or "000 WHY" where nobody answered."""
    if not text.strip() or text.startswith("000"):
        why = text[3:].strip()
        return Answer(error=why or "no answer", late=why == _LATE)
    head = re.match(r"([1-9][0-9]{2})(?: |$)", text)
    if not head:
        if text.startswith("HTTP/"):
            return Answer(error=_CUT_OFF)
        return Answer(error="no answer") if shape is Any else Answer(error="it is no HTTP", malformed=True)
    code, body = int(head[1]), text[head.end() :]
    if code != 200:  # noqa: PLR2004
        return Answer(code, None, body)
    try:
        return Answer(code, answers.parsed(shape, body))
    except ValueError as error:
        cut = shape is Any or _is_cut(error, body)
        return Answer(error=_CUT_OFF) if cut else Answer(error=str(error), malformed=True)


def _is_cut(error: ValueError, text: str) -> bool:
    """Whether JSON ends too early, as it does where an engine is stopped while it answers."""
    if not text.strip():
        return True
    if not isinstance(error, JSONDecodeError) or text.lstrip()[0] not in '{["':
        return False
    return error.msg.startswith("Unterminated") or bool(re.fullmatch(r"[A-Za-z0-9.+-]*", text[error.pos :].strip()))


def _addresses(trie: str, routes: Iterable[tuple[str, IPv4Network]]) -> tuple[tuple[str, IPv4Interface], ...]:
    """Local addresses from /proc/net/fib_trie; the interface and prefix come from the connected route."""
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
        near = [(name, network) for name, network in routes if address in network]
        name, network = max(near, key=lambda item: item[1].prefixlen, default=("", IPv4Network((address, 32))))
        found.append((name, IPv4Interface((address, network.prefixlen))))
    return tuple(found)
