"""Parses the output of one probe (templates/probe.pl), line by line. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

from provisioner.system.strict import decimal, number

if TYPE_CHECKING:
    from provisioner.controlplane.base import Closed
    from provisioner.model import Problem

FACTS = ("name", "address", "by_name", "full", "alias")
SIX = "six"  # the IPv6 address answered, if the network has IPv6
EMBEDDED = "127.0.0.11"  # the engine's own DNS server, as containers see it
_PORT = re.compile(r"[0-9]{1,5}/(?:tcp|udp)")


@dataclass
class Evidence:
    """What one host's probe has reported so far. A peer is a number: the position of its host in the proof.

    address, six: the probe's IPv4 address, and its IPv6 address if it has one. mtu: bytes.
    interfaces, addresses: reported by a container that does nothing else.
    seen: (peer, fact) -> seconds since "go". lacks: (peer, fact) -> why it was not seen.
    largest: peer -> bytes of the largest packet that came back, if full-size packets do not.
    bulk: peer -> bytes that have passed unchanged over the connection, and seconds. changed: peer -> blocks of data that arrived
    changed, and the first byte, or "message". stalled: peer -> bytes that passed before nothing did, and seconds since then.
    gaps: peer -> seconds of the longest time without an answer on the connection, and its begin. quiet: the same for packets
    from the peer. cuts: peer -> how often the connection ended, when it did so first, and why. checksums: "host" or "container"
    -> packets with a wrong checksum that arrived there during the proof.
    rtt: peer -> seconds of the shortest round trip. heard: the peers that sent any datagram; None: not reported.
    outside: DNS server -> seconds, and its answer about the external name. silent: server -> why it gave no usable answer.
    conf: "search" and "options" of resolv.conf -> words.
    met: (stranger, "name" or "address") -> seconds. tried: stranger -> how often the probe tried to reach it.
    esp, clear: the addresses to which the host sent encrypted packets, and this network's packets in the clear.
    way: what the probe reached from an internal network, as ADDRESS:PORT; None: not reported.
    walls: the number of hosts whose cluster ports the probe tried. watching: whether its host watched these packets.
    leaks: address -> the ports for which packets left the host.
    nameless: the probe reaches others, but has resolved no name for a while.
    seconds: until everything was known; None while the probe runs. cpu: seconds.
    error: why there is no further evidence. problem: the same as a `Problem`.
    closed: what kept the container off the network before the proof began.
    offset: seconds for which an earlier probe ran in this one's place.
    """

    address: IPv4Address | None = None
    six: IPv6Address | None = None
    interfaces: tuple[str, ...] | None = None
    addresses: tuple[str, ...] = ()
    mtu: int = 0
    seen: dict[tuple[int, str], float] = field(default_factory=dict)
    lacks: dict[tuple[int, str], str] = field(default_factory=dict)
    largest: dict[int, int] = field(default_factory=dict)
    rtt: dict[int, float] = field(default_factory=dict)
    bulk: dict[int, tuple[int, float]] = field(default_factory=dict)
    changed: dict[int, tuple[int, str]] = field(default_factory=dict)
    stalled: dict[int, tuple[int, float]] = field(default_factory=dict)
    gaps: dict[int, tuple[float, float]] = field(default_factory=dict)
    quiet: dict[int, tuple[float, float]] = field(default_factory=dict)
    cuts: dict[int, tuple[int, float, str]] = field(default_factory=dict)
    checksums: dict[str, int] = field(default_factory=dict)
    heard: frozenset[int] | None = None
    outside: dict[str, tuple[float, str]] = field(default_factory=dict)
    silent: dict[str, str] = field(default_factory=dict)
    conf: dict[str, tuple[str, ...]] = field(default_factory=dict)
    met: dict[tuple[int, str], float] = field(default_factory=dict)
    tried: dict[int, int] = field(default_factory=dict)
    esp: set[str] = field(default_factory=set)
    clear: set[str] = field(default_factory=set)
    way: tuple[str, ...] | None = None
    walls: int = 0
    watching: bool = False
    leaks: dict[str, tuple[str, ...]] = field(default_factory=dict)
    nameless: bool = False
    seconds: float | None = None
    cpu: float = 0.0
    error: str = ""
    problem: Problem | None = None
    closed: Closed | None = None
    offset: float = 0.0

    def take(self, line: str) -> None:
        """Parse one line from the probe. Raises ValueError if the line is unknown or malformed."""
        word, _, rest = line.partition(" ")
        words = rest.split()
        match word, words:
            case "ready", [address, mtu, *six]:
                self.address, self.mtu = IPv4Address(address), number(mtu)
                self.six = IPv6Address(six[0]) if six else None
            case "interfaces", [names, addresses]:
                self.interfaces, self.addresses = tuple(names.split(",")), tuple(addresses.split(","))
            case "see", [peer, fact, seconds] if fact in {*FACTS, SIX}:
                self.seen[number(peer), fact] = self.offset + decimal(seconds)
            case "lack", [peer, fact, _, *_] if fact in {*FACTS, SIX}:
                self.lacks[number(peer), fact] = " ".join(words[2:])
            case "largest", [peer, size]:
                self.largest[number(peer)] = number(size)
            case "rtt", [peer, seconds]:
                self.rtt[number(peer)] = decimal(seconds)
            case (
                ("outside" | "silent" | "conf" | "nameless" | "met" | "tried")
                | ("esp" | "clear" | "walls" | "watching" | "leaks")
                | ("bulk" | "changed" | "stalled" | "gap" | "quiet" | "cut" | "checksums"),
                [_, *_],
            ):
                self._take_other(word, words)
            case "way", addresses:
                self.way = tuple(addresses)
            case "heard", peers:
                self.heard = frozenset(map(number, peers))
            case "done", [seconds, cpu]:
                self.seconds, self.cpu = self.offset + decimal(seconds), decimal(cpu)
            case "error", [_, *_]:
                self.error = rest
            case _:
                raise ValueError(f"unexpected line from the probe: {line[:80]!r}")

    def _take_flow(self, word: str, words: list[str]) -> None:
        """Parse what is about connections to peers and the data that they carried."""
        match word, words:
            case "bulk", [peer, size, seconds]:
                self.bulk[number(peer)] = number(size), decimal(seconds)
            case "changed", [peer, blocks, where]:
                self.changed[number(peer)] = number(blocks), where if where == "message" else str(number(where))
            case "stalled", [peer, size, seconds]:
                self.stalled[number(peer)] = number(size), decimal(seconds)
            case "gap" | "quiet", [peer, seconds, since]:
                of = self.gaps if word == "gap" else self.quiet
                of[number(peer)] = decimal(seconds), self.offset + decimal(since)
            case "cut", [peer, times, since, _, *_]:
                self.cuts[number(peer)] = number(times), self.offset + decimal(since), " ".join(words[3:])
            case "checksums", ["host" | "container" as where, packets]:
                self.checksums[where] = number(packets)
            case _:
                raise ValueError(f"unexpected line from the probe: {' '.join((word, *words))[:80]!r}")

    def _take_other(self, word: str, words: list[str]) -> None:
        """Parse what is not about a peer: external resolvers, probes of other networks, packets that the host watched."""
        match word, words:
            case "esp", [address]:
                self.esp.add(address)
            case "clear", [address]:
                self.clear.add(address)
            case "walls", [hosts]:
                self.walls = number(hosts)
            case "watching", ["leaks"]:
                self.watching = True
            case "leaks", [address, port] if _PORT.fullmatch(port):
                where = str(IPv4Address(address))
                self.leaks[where] = (*self.leaks.get(where, ()), port)
            case "outside", [server, seconds, _, *_]:
                self.outside[server] = (self.offset + decimal(seconds), " ".join(words[2:]))
            case "silent", [server, _, *_]:
                self.silent[server] = " ".join(words[1:])
            case "conf", ["search" | "options" as setting, *rest]:
                self.conf[setting] = tuple(rest)
            case "nameless", [_]:
                self.nameless = True
            case "met", [stranger, "name" | "address" as fact, seconds]:
                self.met[number(stranger), fact] = self.offset + decimal(seconds)
            case "tried", [stranger, times]:
                self.tried[number(stranger)] = number(times)
            case _:
                self._take_flow(word, words)

    def proven(self, peer: int, facts: tuple[str, ...] = FACTS) -> bool:
        """Whether all these facts about a peer were seen."""
        return all((peer, fact) in self.seen for fact in facts)
