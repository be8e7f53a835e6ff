"""Tests the paths between hosts without Docker: sends real datagrams to, and connects to, the ports of engines and stores.

templates/underlay.pl runs on all hosts at the same time. It counts each datagram at three points: when it leaves the sender, when
it arrives at the receiver, and after the receiver's rules. The counts show whether the sender, the network or the receiver dropped
a packet. A rule that drops packets and counted some during the test is the likely reason.
"""

from __future__ import annotations

import re
import secrets
import shlex
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from provisioner import render
from provisioner.errors import Malformed, ProvisionerError, TimedOut
from provisioner.parallel import each
from provisioner.system import services
from provisioner.system.firewall import COUNTED, Rule
from provisioner.system.strict import decimal, number
from provisioner.transport.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from provisioner.controlplane import Site
    from provisioner.transport import Connection, Stream

K = TypeVar("K")
V = TypeVar("V")
_READY = 8.0  # seconds for the program to start
_TRYING = 3.0  # seconds for the connections
_LATE = 7.0  # seconds to wait for the end of the test after that, and then for the results
_SOURCES = (20_000, 30_000)  # source ports of our TCP connections: below the ephemeral port range
_MOST_PUBLISHED = 10  # ports of services to test
_LONGEST_RULE = 400  # characters
_COUNTER = re.compile("[A-Za-z]{1,40}")  # a counter of the kernel, as /proc/net names it
# Datagrams to the data port, and to each other UDP port: engines and stores log those that they can't decrypt.
_FIRST, _CLOSER = (40, 3), (200, 40)
# Sizes of packets in bytes that are tried on each path, besides those that the networks need.
_SIZES = (
    576,
    1280,
    1300,
    1350,
    1380,
    1400,
    1420,
    1430,
    1440,
    1450,
    1460,
    1472,
    1476,
    1480,
    1492,
    1500,
    4000,
    8000,
    8950,
    9000,
)


@dataclass(frozen=True)
class Datagrams:
    """Numbers of datagrams to one port on one path, counted at each point.

    tried: passed to the sender's kernel. left: left the sender, after its rules. arrived: arrived at the receiver, before its rules.
    passed: passed the receiver's rules. refused: why the sender's kernel refused some of them. missed: datagrams from all paths that
    arrived at the receiver, and that its program was too slow to count.
    sources: their source addresses when they arrived. sent_from: their source addresses when they left.
    """

    tried: int = 0
    left: int = 0
    arrived: int = 0
    passed: int = 0
    refused: str = ""
    sent_from: frozenset[str] = frozenset()
    sources: frozenset[str] = frozenset()
    missed: int = 0

    @property
    def lost(self) -> int:
        return max(self.tried - self.passed - self.missed, 0)


@dataclass(frozen=True)
class Attempt:
    """An attempt to open one TCP connection on a path.

    state: "open", "refused", "silent" (no answer), "error" (the sender's kernel refused it: `why`), "" (not tried).
    seconds: time until it was open or refused. left, arrived, passed: SYN packets that left the sender, arrived at the receiver, and
    passed the receiver's rules. answered, returned: answers that left the receiver, and that arrived at the sender.
    """

    state: str = ""
    seconds: float = 0.0
    why: str = ""
    left: int = 0
    arrived: int = 0
    passed: int = 0
    answered: int = 0
    returned: int = 0


@dataclass(frozen=True)
class Path:
    """One direction between two hosts.

    udp, tcp: by port. size: bytes of the largest unfragmented packet that arrived, or None.
    mtu: the path's MTU as the sender's kernel knows it, from its interface or from routers that report it; or None.
    """

    source: str
    target: str
    udp: Mapping[int, Datagrams] = field(default_factory=dict)
    tcp: Mapping[int, Attempt] = field(default_factory=dict)
    size: int | None = None
    mtu: int | None = None


@dataclass(frozen=True)
class Underlay:
    """All paths.

    sizes: the sizes of packets that were tried on each path, ascending.
    rules: host -> rules that counted packets during the test.
    drops: host -> the kernel's counters of packets dropped outside of rules that rose during the test, and by how much.
    macs: (host, other host, or "" for the host's own address) -> MAC addresses that answered an ARP request for the address.
    silent: host -> why nothing was observed there.
    """

    paths: Mapping[tuple[str, str], Path] = field(default_factory=dict)
    rules: Mapping[str, tuple[Rule, ...]] = field(default_factory=dict)
    drops: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    macs: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    silent: Mapping[str, str] = field(default_factory=dict)
    sizes: tuple[int, ...] = _SIZES

    def repeated(self, again: Underlay, hosts: Collection[str]) -> Underlay:
        """Return this with what `again` observed on these hosts, and on the paths from and to them."""

        def updated(before: Mapping[K, V], after: Mapping[K, V], concerns: Callable[[K], bool]) -> dict[K, V]:
            kept = {key: value for key, value in before.items() if not concerns(key)}
            return kept | {key: value for key, value in after.items() if concerns(key)}

        def on_a_path(ends: tuple[str, str]) -> bool:
            return not {*ends}.isdisjoint(hosts)

        return Underlay(
            updated(self.paths, again.paths, on_a_path),
            updated(self.rules, again.rules, hosts.__contains__),
            updated(self.drops, again.drops, hosts.__contains__),
            updated(self.macs, again.macs, on_a_path),
            again.silent,
            again.sizes,
        )


@dataclass
class Output:
    """The output of one host's program, by the number of the other host. Its lines can only blame that host."""

    tried: dict[tuple[int, int], tuple[int, str]] = field(default_factory=dict)
    counts: dict[tuple[str, int, int], tuple[int, frozenset[str]]] = field(default_factory=dict)
    sizes: dict[int, int] = field(default_factory=dict)
    mtus: dict[int, int] = field(default_factory=dict)
    tcp: dict[tuple[int, int], Attempt] = field(default_factory=dict)
    syn: dict[tuple[int, int], tuple[int, int, int]] = field(default_factory=dict)
    macs: dict[int, tuple[str, ...]] = field(default_factory=dict)
    rules: list[Rule] = field(default_factory=list)
    drops: dict[str, int] = field(default_factory=dict)
    missed: int = 0
    seconds: float | None = None

    def parse(self, line: str) -> None:
        """Parse one line. Raises ValueError if the program never prints such a line."""
        match line.split():
            case ["sent", peer, port, count, *why]:
                self.tried[number(peer), number(port)] = (number(count), " ".join(why))
            case ["left" | "came" | "took" as place, peer, port, count, *sources] if len(sources) <= 1:
                seen = frozenset(sources[0].split(",")) if sources else frozenset()
                self.counts[place, number(peer), number(port)] = (number(count), seen)
            case ["size", peer, size]:
                self.sizes[number(peer)] = number(size)
            case ["mtu", peer, size]:
                self.mtus[number(peer)] = number(size)
            case ["tcp", peer, port, "open" | "refused" | "silent" | "error" as state, seconds, left, returned, *why]:
                words = " ".join(why)
                attempt = Attempt(state, decimal(seconds), "" if words == "-" else words, number(left))
                self.tcp[number(peer), number(port)] = replace(attempt, returned=number(returned))
            case ["syn", peer, port, arrived, passed, answered]:
                self.syn[number(peer), number(port)] = (number(arrived), number(passed), number(answered))
            case ["mac", peer, *macs]:
                self.macs[number(peer)] = tuple(macs)
            case ["rule", tool, table, packets, text]:
                raw = bytes.fromhex(text)
                words = clean(raw)[:_LONGEST_RULE]
                self.rules.append(Rule(tool, table, number(packets), words, whole=words.encode() == raw))
            case ["dropped", counter, packets] if _COUNTER.fullmatch(counter):
                self.drops[counter] = number(packets)
            case ["missed", count]:
                self.missed = number(count)
            case ["done", seconds]:
                self.seconds = decimal(seconds)
            case _:
                raise ValueError(f"unexpected output of the observer: {line[:80]!r}")


def numbers(site: Site) -> dict[str, int]:
    """Return host -> the number that its program and the other hosts' programs call it by."""
    names = (name for name in site.inventory.hosts if name in site.advertise)
    return {name: at for at, name in enumerate(names, start=1)}


def length(at: int) -> int:
    """Return the length of a small datagram to the host with this number, with its IP header. See templates/underlay.pl."""
    return 51 + at % 100


def program(at: int) -> str:
    """Return the name of the program on the host with this number, as the kernel shows it."""
    return f"provisioner-{at}"[:15]


def observe(
    site: Site,
    connections: Mapping[str, Connection],
    say: Callable[[str, str], None],
    hosts: Collection[str],
    earlier: Underlay | None = None,
) -> Underlay:
    """Test the paths from and to these hosts, if their address is known. Hosts on which the program fails are in `silent`.

    The program runs on all live hosts, the other ends of the paths. earlier: a previous observation. Where it lost some datagrams, more of them are sent now.
    """
    names = [name for name in site.inventory.hosts if name in site.advertise]
    live = [name for name in site.live if name in site.advertise and name in connections]
    test = _Test(site, names, live, connections, say, hosts=hosts, closer=lossy(earlier or Underlay()))
    silent: dict[str, str] = {}

    def well(answers: Mapping[str, object]) -> list[str]:
        silent.update((name, error.what) for name, error in _errors(answers).items())
        return [name for name in answers if name not in silent]

    try:
        test.ready = well(each(live, _as_host_error(test.begin)))
        # A receiver listens until all senders have ended. If a sender is slow, its datagrams are late and not lost.
        answers = each(well(each(test.ready, _as_host_error(test.go))), _as_host_error(test.stop))
        well(answers)
    finally:
        test.close()
    outputs = {name: answer for name, answer in answers.items() if isinstance(answer, Output)}
    return Underlay().repeated(replace(assembled(names, outputs, silent), sizes=sizes(site)), hosts)


class _Test:
    """The programs of one test, one for each host. Each method works on one host, and is called for all hosts in parallel.

    ready: the hosts whose program has started.
    """

    def __init__(
        self,
        site: Site,
        names: Sequence[str],
        live: Sequence[str],
        connections: Mapping[str, Connection],
        say: Callable[[str, str], None],
        *,
        hosts: Collection[str],
        closer: Mapping[int, Collection[str]],
    ) -> None:
        token = secrets.token_hex(8)
        source = _SOURCES[0] + secrets.randbelow(_SOURCES[1] - _SOURCES[0])
        self.ready: Sequence[str] = ()
        self._names = names
        self._inputs = {name: _input(site, names, name, token, source, hosts=hosts, closer=closer) for name in live}
        self._connections = connections
        self._say = say
        self._streams: dict[str, Stream] = {}

    def begin(self, name: str) -> None:
        self._say(name, "tests its paths")
        until = time.monotonic() + _READY
        self._streams[name] = self._connections[name].stream(_script(), within=_READY)
        self._streams[name].send(self._inputs[name])
        self._expect(name, "ready", until)

    def go(self, name: str) -> None:
        senders = " ".join(str(self._names.index(other) + 1) for other in self.ready if other != name)
        self._streams[name].send(f"go {_TRYING} {senders}")
        self._expect(name, "ended", time.monotonic() + _TRYING + _LATE)

    def stop(self, name: str) -> Output:
        output, until = Output(), time.monotonic() + _LATE
        self._streams[name].send("stop")
        while output.seconds is None:
            output.parse(self._line(name, until))
        self._streams[name].finish(_LATE)
        return output

    def close(self) -> None:
        for stream in self._streams.values():
            with suppress(ProvisionerError):
                stream.__exit__()

    def _expect(self, name: str, word: str, until: float) -> None:
        if (found := self._line(name, until)) != word:
            raise ValueError(f"unexpected output of the observer: {found[:80]!r}")

    def _line(self, name: str, until: float) -> str:
        found = self._streams[name].readline(max(until - time.monotonic(), 0.0))
        if found is None:
            raise ProvisionerError(_exit_reason(self._streams[name]), cause="command-failed", host=name)
        return found


def _script() -> str:
    return f"# testing the paths to the other hosts\nexec perl -e {shlex.join([render.text('underlay.pl'), *COUNTED])}"


def _as_host_error(do: Callable[[str], Output | None]) -> Callable[[str], Output | None]:
    """Wrap `do`, so that a late or malformed answer is an error of that host."""

    def guarded(name: str) -> Output | None:
        try:
            return do(name)
        except TimedOut as error:
            raise ProvisionerError(error.what, cause=error.cause, host=name) from error
        except ValueError as error:
            raise Malformed(str(error), host=name) from error

    return guarded


def _errors(answers: Mapping[str, object]) -> dict[str, ProvisionerError]:
    return {name: answer for name, answer in answers.items() if isinstance(answer, ProvisionerError)}


def _exit_reason(stream: Stream) -> str:
    result = stream.finish(_LATE)
    lines = [line.strip() for line in result.stderr.splitlines() if line.strip()]
    return f"the program that tests the paths ended: {lines[-1][:200] if lines else f'exit code {result.code}'}"


def lossy(seen: Underlay) -> dict[int, set[str]]:
    """Return UDP port -> the ends of the paths that lost some of the datagrams to it: all of them only if they were few."""
    found: dict[int, set[str]] = defaultdict(set)
    for way, path in seen.paths.items():
        for port, sent in path.udp.items():
            if sent.lost and (sent.passed or sent.tried < _FIRST[0]):
                found[port].update(way)
    return found


def _input(
    site: Site,
    names: Sequence[str],
    me: str,
    token: str,
    source: int,
    *,
    hosts: Collection[str],
    closer: Mapping[int, Collection[str]],
) -> str:
    """Return the input of one host's program: its peers and their ports.

    hosts: those whose paths are tested. closer: port -> hosts that get more datagrams.
    """
    lines = [
        f"run {token} {source}",
        f"me {names.index(me) + 1} {site.advertise[me]} {site.inventory.data_path_port}",
        f"sizes {','.join(map(str, sizes(site)))}",
    ]
    for at, name in enumerate(names, start=1):
        if name != me and (me in hosts or name in hosts):
            counts = {port: _CLOSER if {me, name} & {*closer.get(port, ())} else _FIRST for port in site.ports.udp}
            data = site.inventory.data_path_port
            udp = ",".join(f"{port}:{count[port != data]}" for port, count in counts.items()) or "-"
            tcp = ",".join(map(str, tried(site, name))) or "-"
            lines.append(f"peer {at} {site.advertise[name]} {udp} {tcp}")
    return "\n".join([*lines, "prepare"])


def sizes(site: Site) -> tuple[int, ...]:
    """Return the sizes of packets to try, in bytes: usual ones, and those that the networks need."""
    needed = {network.mtu for network in site.inventory.networks.values() if network.is_global and network.mtu}
    return tuple(sorted({*_SIZES, *needed}))


def tried(site: Site, name: str) -> tuple[int, ...]:
    """Return the TCP ports to test on a host: those of the cluster on which it listens, and those that the swarm publishes."""
    facts = site.facts.get(name)
    there = {port for kind, port, _ in facts.ports if kind.startswith("tcp")} if facts else set()
    meshed = published(site) if facts and site.plane.joined(facts) else {}
    return (*(port for port in site.ports.tcp if port in there), *meshed)


def published(site: Site) -> dict[int, str]:
    """Return the first TCP ports that every node of the swarm publishes (routing mesh) -> the service, which has running tasks."""
    if site.control != "swarm":
        return {}
    found = {
        port: service.name
        for service in services.of(site.facts[name] for name in site.live)
        for port in service.ports
        if service.running and port not in site.ports.tcp
    }
    return dict(sorted(found.items())[:_MOST_PUBLISHED])


def assembled(names: Sequence[str], outputs: Mapping[str, Output], silent: Mapping[str, str]) -> Underlay:
    """Combine the output of both ends of each path. Pure."""
    numbers = {name: at for at, name in enumerate(names, start=1)}
    paths = {
        (source, target): _path(source, target, numbers, outputs)
        for source in outputs
        for target in names
        if source != target
    }
    by_number = {at: name for name, at in numbers.items()} | {0: ""}
    return Underlay(
        paths,
        {name: tuple(each_.rules) for name, each_ in outputs.items()},
        {name: each_.drops for name, each_ in outputs.items() if each_.drops},
        {
            (name, by_number[peer]): macs
            for name, s in outputs.items()
            for peer, macs in s.macs.items()
            if peer in by_number
        },
        silent,
    )


def _path(source: str, target: str, numbers: Mapping[str, int], outputs: Mapping[str, Output]) -> Path:
    """Return one direction. Without output of the receiver, arrivals are unknown: UDP ports are then left out."""
    here, there = outputs[source], outputs.get(target)
    peer, me = numbers[target], numbers[source]
    udp = {}
    for (other, port), (count, refused) in here.tried.items():
        if other == peer and there is not None:
            left, arrived, passed = (
                who.counts.get((place, at, port), (0, frozenset()))
                for who, place, at in ((here, "left", peer), (there, "came", me), (there, "took", me))
            )
            came = max(arrived[0], passed[0])  # the program may have missed packets at one of the points
            went = max(left[0], came)
            udp[port] = Datagrams(count, went, came, passed[0], refused, left[1], arrived[1], there.missed)
    tcp = {}
    for (other, port), attempt in here.tcp.items():
        if other == peer:
            syn = there.syn.get((me, port), (0, 0, 0)) if there else (0, 0, 0)
            tcp[port] = replace(attempt, arrived=syn[0], passed=syn[1], answered=syn[2])
    return Path(source, target, udp, tcp, there.sizes.get(me) if there else None, here.mtus.get(peer))
