"""What one probe said, line by line. Pure: the other side of templates/probe.pl."""

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
SIX = "six"  # the address in IPv6, where the network has one
EMBEDDED = "127.0.0.11"  # the engine's own DNS server, as containers see it
_PORT = re.compile(r"[0-9]{1,5}/(?:tcp|udp)")


@dataclass
class Evidence:
    """What one host's probe has told so far. Peers are numbers: the hosts' places in the proof.

    six: its address in IPv6, where it has one.
    seen: (peer, fact) -> seconds since "go". lacks: (peer, fact) -> why not. largest: peer -> bytes of the largest
    packet that came back where full ones don't. heard: the peers of which any datagram arrived, None: not told.
    outside: DNS server -> seconds, and what it said of the name outside. silent: server -> why it said nothing of use.
    conf: what resolv.conf sets: "search" and "options" -> words. met: (stranger, "name" or "address") -> seconds.
    tried: stranger -> how often the probe tried to meet it.
    esp, clear: the addresses to which its host has sent encrypted packets, and this network's as they are.
    way: what it reached beyond an internal network, ADDRESS:PORT; None: not told.
    walls: of how many hosts it tried the cluster's ports. watching: whether its host looked what became of that; leaks: address ->
    the ports to which its host let packets out.
    rtt: peer -> seconds of the shortest round trip of some.
    nameless: it reaches others, and has not learnt a single name for a while.
    seconds: until all was known; None while the probe is at work. cpu: seconds. error: why there is no (more) evidence.
    problem: the same as a problem.
    closed: what kept its container off the network before the proof began.
    interfaces, addresses: those of a container of which nothing else is wanted.
    offset: seconds that an earlier probe in this one's place had been at work.
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
        """Take one line of the probe's. Raises ValueError if it is none."""
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
                | ("esp" | "clear" | "walls" | "watching" | "leaks"),
                [_, *_],
            ):
                self._take_beside(word, words)
            case "way", addresses:
                self.way = tuple(addresses)
            case "heard", peers:
                self.heard = frozenset(map(number, peers))
            case "done", [seconds, cpu]:
                self.seconds, self.cpu = self.offset + decimal(seconds), decimal(cpu)
            case "error", [_, *_]:
                self.error = rest
            case _:
                raise ValueError(f"a probe does not say {line[:80]!r}")

    def _take_beside(self, word: str, words: list[str]) -> None:
        """What is not about one peer: the resolvers outside, probes of other networks, and what their hosts see of the packets."""
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
                raise ValueError(f"a probe does not say {' '.join((word, *words))[:80]!r}")

    def proven(self, peer: int, facts: tuple[str, ...] = FACTS) -> bool:
        """Whether every one of these facts about a peer has been seen."""
        return all((peer, fact) in self.seen for fact in facts)
