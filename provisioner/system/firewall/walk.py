"""Follows the first packet of a TCP connection through the chains that iptables-save printed."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

from provisioner.system.firewall.counted import words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_DEEPEST = 16  # chains nest less deeply
_NEW = "NEW"


class End(Enum):
    """How the packet leaves a chain."""

    ACCEPTED = auto()
    DROPPED = auto()
    RETURNED = auto()  # no rule decided
    UNKNOWN = auto()  # a rule may accept it, and its conditions are not understood


@dataclass(frozen=True)
class Packet:
    """A packet that opens a TCP connection. incoming, outgoing: its interfaces; "" if it has none. port: its target; 0: one that no rule names."""

    incoming: str
    outgoing: str
    source: IPv4Address
    target: IPv4Address
    port: int = 0


def loopback(port: int = 0) -> Packet:
    """Return a packet of the host to itself, as it comes in."""
    own = IPv4Address("127.0.0.1")
    return Packet("lo", "", own, own, port)


@dataclass(frozen=True)
class Filter:
    """The table "filter". policy: of the chain INPUT. rules: chain -> its rules, as printed."""

    policy: str = "ACCEPT"
    rules: Mapping[str, Sequence[str]] = field(default_factory=dict)


def parse(lines: Sequence[str]) -> Filter:
    """Parse the output of iptables-save. Other tables than "filter" are ignored."""
    table, policy, rules = "", "ACCEPT", dict[str, list[str]]()
    for line in lines:
        if line.startswith("*"):
            table = line[1:].strip()
        elif table == "filter" and line.startswith(":INPUT "):
            policy = line.split()[1]
        elif table == "filter" and line.startswith("-A "):
            rules.setdefault(line.split()[1], []).append(line)
    return Filter(policy, rules)


def end(found: Filter, packet: Packet, chain: str, depth: int = 0) -> tuple[End, str]:
    """Return how a packet leaves the chain, and the rule that decided, in this chain or in one that it jumps to; or "".

    A rule with conditions that are not understood is taken to accept, but not to drop.
    """
    for rule in found.rules.get(chain, ()):
        (leaves, decided), matches = _after(found, rule, packet, depth)
        if leaves is End.RETURNED and matches and _target(rule) == "RETURN":
            return End.RETURNED, rule
        if leaves is End.ACCEPTED and not matches:
            return End.UNKNOWN, decided
        if leaves is End.UNKNOWN or (matches and leaves is not End.RETURNED):
            return leaves, decided
    return End.RETURNED, ""


def _after(found: Filter, rule: str, packet: Packet, depth: int) -> tuple[tuple[End, str], bool]:
    """Return what a rule does with the packet, the rule that decides it, and whether the first one certainly applies."""
    matches, target = _matches(words(rule)[2:], packet), _target(rule)
    if matches is False or depth > _DEEPEST:
        return (End.RETURNED, rule), False
    if target in found.rules:
        return end(found, packet, target, depth + 1), bool(matches)
    ends = {"ACCEPT": End.ACCEPTED, "DROP": End.DROPPED, "REJECT": End.DROPPED}
    return (ends.get(target, End.RETURNED), rule), bool(matches)


def _target(rule: str) -> str:
    found = words(rule)
    return next((found[at + 1] for at, word in enumerate(found[:-1]) if word in {"-j", "-g"}), "")


def _matches(found: Sequence[str], packet: Packet) -> bool | None:
    """Return whether the conditions of a rule match the packet; None: unknown."""
    result: bool | None = True
    at = 0
    while at < len(found):
        inverted = found[at] == "!"
        option, value = (*found[at + inverted :], "", "")[:2]
        if option in {"-j", "-g"}:
            break  # the options of the target follow
        at += 2 + inverted
        one = _holds(option, value, packet)
        if one is None:
            result = None
        elif one is inverted:
            return False
    return result


def _holds(option: str, value: str, packet: Packet) -> bool | None:
    """Return whether one condition holds for the packet; None: unknown."""
    if option in {"-m", "--comment"}:
        return True
    if option in {"-i", "-o", "-p"}:
        own = {"-i": packet.incoming, "-o": packet.outgoing, "-p": "tcp"}[option]
        return value in {own, "all"} or (value.endswith("+") and own.startswith(value[:-1]))
    if option in {"-s", "-d"}:
        try:
            return (packet.source if option == "-s" else packet.target) in IPv4Network(value, strict=False)
        except ValueError:
            return None
    if option in {"--ctstate", "--state"}:
        return _NEW in value.split(",")
    if option in {"--dport", "--dports", "--ports"}:
        return _names(value, packet.port)
    return None


def _names(value: str, port: int) -> bool:
    """Return whether "22", "22,80" or "8000:9000" names the port."""
    for part in value.split(","):
        low, _, high = part.partition(":")
        if low.isdecimal() and (high or low).isdecimal() and int(low) <= port <= int(high or low):
            return True
    return False
