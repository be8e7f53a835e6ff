"""The paths between the hosts, without Docker: real datagrams and connections on the ports that engines and stores hold.

templates/underlay.pl runs on every host at the same time. It counts each datagram at three places: leaving the sender, arriving
at the receiver, and behind the receiver's rules. So a lost packet is known to have died on the sender, between the hosts, or on
the receiver, and a rule whose counter rose meanwhile is the one that dropped it.
"""

from __future__ import annotations

import secrets
import shlex
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from provisioner import render
from provisioner.errors import Malformed, ProvisionerError, TimedOut
from provisioner.parallel import each
from provisioner.system.firewall import COUNTED, Rule
from provisioner.system.strict import decimal, number
from provisioner.transport.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from provisioner.controlplane import Site
    from provisioner.transport import Connection, Stream

_READY = 8.0  # seconds for the program to start
_TRYING = 3.0  # seconds for the datagrams and connections
_LATE = 5.0  # seconds that the results may take after that
_SOURCES = (20_000, 30_000)  # source ports of our TCP connections: below those that kernels choose by themselves
_LONGEST_RULE = 400  # characters


@dataclass(frozen=True)
class Datagrams:
    """How many datagrams on one port of one path were seen where.

    tried: given to the sender's kernel. left: seen leaving the sender, after its rules. came: seen arriving at the receiver, before
    its rules. took: passed the receiver's rules. refused: why the sender's kernel took some of them not.
    sources: the addresses from which they arrived. sent_from: those from which they left.
    """

    tried: int = 0
    left: int = 0
    came: int = 0
    took: int = 0
    refused: str = ""
    sent_from: frozenset[str] = frozenset()
    sources: frozenset[str] = frozenset()

    @property
    def lost(self) -> int:
        return self.tried - self.took


@dataclass(frozen=True)
class Attempt:
    """One TCP connection that was tried on a path.

    state: "open", "refused", "silent" (no answer), "error" (refused by the own kernel: `why`); "" if it was not tried.
    seconds: until it was open or refused. left, came, took: SYN packets that were seen leaving, arriving, and behind the
    receiver's rules. answered, returned: answers that left the receiver, and that arrived at the sender.
    """

    state: str = ""
    seconds: float = 0.0
    why: str = ""
    left: int = 0
    came: int = 0
    took: int = 0
    answered: int = 0
    returned: int = 0


@dataclass(frozen=True)
class Path:
    """One direction between two hosts. udp, tcp: by port. size: bytes of the largest packet that arrived whole; None: none did."""

    source: str
    target: str
    udp: Mapping[int, Datagrams] = field(default_factory=dict)
    tcp: Mapping[int, Attempt] = field(default_factory=dict)
    size: int | None = None


@dataclass(frozen=True)
class Underlay:
    """All paths. rules: host -> rules whose counters rose. macs: (asking host, answering host or "" for itself) -> who answers
    to its address. silent: host -> why nothing was observed there.
    """

    paths: Mapping[tuple[str, str], Path] = field(default_factory=dict)
    rules: Mapping[str, tuple[Rule, ...]] = field(default_factory=dict)
    macs: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    silent: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Said:
    """What one host's program said, by the number of the other host. Lines are data of that host, and decide about it alone."""

    tried: dict[tuple[int, int], tuple[int, str]] = field(default_factory=dict)
    counts: dict[tuple[str, int, int], tuple[int, frozenset[str]]] = field(default_factory=dict)
    sizes: dict[int, int] = field(default_factory=dict)
    tcp: dict[tuple[int, int], Attempt] = field(default_factory=dict)
    syn: dict[tuple[int, int], tuple[int, int, int]] = field(default_factory=dict)
    macs: dict[int, tuple[str, ...]] = field(default_factory=dict)
    rules: list[Rule] = field(default_factory=list)
    seconds: float | None = None

    def take(self, line: str) -> None:
        """Take one line. Raises ValueError if the program never prints such a line."""
        match line.split():
            case ["sent", peer, port, count, *why]:
                self.tried[number(peer), number(port)] = (number(count), " ".join(why))
            case ["left" | "came" | "took" as place, peer, port, count, *sources] if len(sources) <= 1:
                seen = frozenset(sources[0].split(",")) if sources else frozenset()
                self.counts[place, number(peer), number(port)] = (number(count), seen)
            case ["size", peer, size]:
                self.sizes[number(peer)] = number(size)
            case ["tcp", peer, port, "open" | "refused" | "silent" | "error" as state, seconds, left, returned, *why]:
                words = " ".join(why)
                attempt = Attempt(state, decimal(seconds), "" if words == "-" else words, number(left))
                self.tcp[number(peer), number(port)] = replace(attempt, returned=number(returned))
            case ["syn", peer, port, came, took, answered]:
                self.syn[number(peer), number(port)] = (number(came), number(took), number(answered))
            case ["mac", peer, *macs]:
                self.macs[number(peer)] = tuple(macs)
            case ["rule", tool, table, packets, text]:
                raw = bytes.fromhex(text)
                words = clean(raw)[:_LONGEST_RULE]
                self.rules.append(Rule(tool, table, number(packets), words, whole=words.encode() == raw))
            case ["done", seconds]:
                self.seconds = decimal(seconds)
            case _:
                raise ValueError(f"the observer does not say {line[:80]!r}")


def observe(site: Site, connections: Mapping[str, Connection], say: Callable[[str, str], None]) -> Underlay:
    """Try all paths between the hosts whose addresses are known. A host on which the program fails is in `silent`."""
    names = [name for name in site.inventory.hosts if name in site.advertise]
    live = [name for name in site.live if name in site.advertise and name in connections]
    token = secrets.token_hex(8)
    source = _SOURCES[0] + secrets.randbelow(_SOURCES[1] - _SOURCES[0])
    orders = {name: _orders(site, names, name, token, source) for name in live}
    streams: dict[str, Stream] = {}

    def begin(name: str) -> None:
        say(name, "observes its paths")
        until = time.monotonic() + _READY
        streams[name] = connections[name].stream(_script(), within=_READY)
        streams[name].send(orders[name])
        if streams[name].readline(max(until - time.monotonic(), 0.0)) != "ready":
            raise ProvisionerError(_last_words(streams[name]), cause="command-failed", host=name)

    def go(name: str) -> Said:
        said, until = Said(), time.monotonic() + _TRYING + _LATE
        senders = " ".join(str(names.index(other) + 1) for other in ready if other != name)
        streams[name].send(f"go {_TRYING} {senders}")
        while said.seconds is None:
            line = streams[name].readline(max(until - time.monotonic(), 0.0))
            if line is None:
                raise ProvisionerError(_last_words(streams[name]), cause="command-failed", host=name)
            said.take(line)
        streams[name].finish(_LATE)
        return said

    try:
        silent = {name: error.what for name, error in _bad(each(live, _understood(begin))).items()}
        ready = [name for name in live if name not in silent]
        answers = each(ready, _understood(go))
    finally:
        for stream in streams.values():
            with suppress(ProvisionerError):
                stream.__exit__()
    silent |= {name: error.what for name, error in _bad(answers).items()}
    said = {name: answer for name, answer in answers.items() if isinstance(answer, Said)}
    return assembled(names, said, silent)


def _script() -> str:
    return f"exec perl -e {shlex.join([render.program('underlay.pl'), *COUNTED])}"


def _understood(do: Callable[[str], Said | None]) -> Callable[[str], Said | None]:
    """The same, with an answer that can't be understood as that host's error."""

    def guarded(name: str) -> Said | None:
        try:
            return do(name)
        except TimedOut as error:
            raise ProvisionerError(error.what, cause=error.cause, host=name) from error
        except ValueError as error:
            raise Malformed(str(error), host=name) from error

    return guarded


def _bad(answers: Mapping[str, object]) -> dict[str, ProvisionerError]:
    return {name: answer for name, answer in answers.items() if isinstance(answer, ProvisionerError)}


def _last_words(stream: Stream) -> str:
    result = stream.finish(_LATE)
    lines = [line.strip() for line in result.stderr.splitlines() if line.strip()]
    return f"the program that observes the paths ended: {lines[-1][:200] if lines else f'exit code {result.code}'}"


def _orders(site: Site, names: Sequence[str], me: str, token: str, source: int) -> str:
    """What the program of one host reads: whom it tries, and on which ports."""
    lines = [
        f"run {token} {source}",
        f"me {names.index(me) + 1} {site.advertise[me]} {site.inventory.data_path_port}",
    ]
    for at, name in enumerate(names, start=1):
        if name != me:
            udp, tcp = (",".join(map(str, ports)) or "-" for ports in (site.ports.udp, tried(site, name)))
            lines.append(f"peer {at} {site.advertise[name]} {udp} {tcp}")
    return "\n".join([*lines, "prepare"])


def tried(site: Site, name: str) -> tuple[int, ...]:
    """The TCP ports of a host to which others connect: those of the cluster's on which it listens."""
    facts = site.facts.get(name)
    there = {port for kind, port, _ in facts.ports if kind.startswith("tcp")} if facts else set()
    return tuple(port for port in site.ports.tcp if port in there)


def assembled(names: Sequence[str], said: Mapping[str, Said], silent: Mapping[str, str]) -> Underlay:
    """Put both ends of each path together. Pure."""
    numbers = {name: at for at, name in enumerate(names, start=1)}
    paths = {
        (source, target): _path(source, target, numbers, said)
        for source in said
        for target in names
        if source != target
    }
    by_number = {at: name for name, at in numbers.items()} | {0: ""}
    return Underlay(
        paths,
        {name: tuple(each_.rules) for name, each_ in said.items()},
        {
            (name, by_number[peer]): macs
            for name, s in said.items()
            for peer, macs in s.macs.items()
            if peer in by_number
        },
        silent,
    )


def _path(source: str, target: str, numbers: Mapping[str, int], said: Mapping[str, Said]) -> Path:
    """One direction. Where the receiver said nothing, nothing is known of what arrived: such ports are left out."""
    here, there = said[source], said.get(target)
    peer, me = numbers[target], numbers[source]
    udp = {}
    for (other, port), (count, refused) in here.tried.items():
        if other == peer and there is not None:
            left, came, took = (
                who.counts.get((place, at, port), (0, frozenset()))
                for who, place, at in ((here, "left", peer), (there, "came", me), (there, "took", me))
            )
            udp[port] = Datagrams(count, left[0], came[0], took[0], refused, left[1], came[1])
    tcp = {}
    for (other, port), attempt in here.tcp.items():
        if other == peer:
            syn = there.syn.get((me, port), (0, 0, 0)) if there else (0, 0, 0)
            tcp[port] = replace(attempt, came=syn[0], took=syn[1], answered=syn[2])
    return Path(source, target, udp, tcp, there.sizes.get(me) if there else None)
