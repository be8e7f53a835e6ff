"""Follows one packet through the chains that iptables-save printed: a new TCP connection of the host to itself, over loopback."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

from provisioner.system.firewall.counted import words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_LOOPBACK = IPv4Address("127.0.0.1")
_DEEPEST = 16  # chains nest less deeply
_NEW = "NEW"


class End(Enum):
    """How the packet leaves a chain."""

    ACCEPTED = auto()
    DROPPED = auto()
    RETURNED = auto()  # no rule decided
    UNKNOWN = auto()  # a rule may accept it, and its conditions are not understood


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


def loopback(found: Filter, port: int = 0, chain: str = "INPUT", depth: int = 0) -> tuple[End, str]:
    """Return how the packet leaves the chain, and the rule of this chain that decided, or "". port: 0 is one that no rule names.

    A rule with conditions that are not understood is taken to accept, but not to drop.
    """
    for rule in found.rules.get(chain, ()):
        end, matches = _after(found, rule, port, depth)
        if end is End.RETURNED and matches and _target(rule) == "RETURN":
            return End.RETURNED, rule
        if end is End.ACCEPTED and not matches:
            return End.UNKNOWN, rule
        if end is End.UNKNOWN or (matches and end is not End.RETURNED):
            return end, rule
    return End.RETURNED, ""


def _after(found: Filter, rule: str, port: int, depth: int) -> tuple[End, bool]:
    """Return what a rule does with the packet, and whether it certainly applies."""
    matches, target = _matches(words(rule)[2:], port), _target(rule)
    if matches is False or depth > _DEEPEST:
        return End.RETURNED, False
    if target in found.rules:
        return loopback(found, port, target, depth + 1)[0], bool(matches)
    ends = {"ACCEPT": End.ACCEPTED, "DROP": End.DROPPED, "REJECT": End.DROPPED}
    return ends.get(target, End.RETURNED), bool(matches)


def _target(rule: str) -> str:
    found = words(rule)
    return next((found[at + 1] for at, word in enumerate(found[:-1]) if word in {"-j", "-g"}), "")


def _matches(found: Sequence[str], port: int) -> bool | None:
    """Return whether the conditions of a rule match the packet; None: unknown."""
    result: bool | None = True
    at = 0
    while at < len(found):
        inverted = found[at] == "!"
        option, value = (*found[at + inverted :], "", "")[:2]
        if option in {"-j", "-g"}:
            break  # the options of the target follow
        at += 2 + inverted
        one = _holds(option, value, port)
        if one is None:
            result = None
        elif one is inverted:
            return False
    return result


def _holds(option: str, value: str, port: int) -> bool | None:
    """Return whether one condition holds for the packet; None: unknown."""
    if option in {"-m", "--comment"}:
        return True
    if option in {"-i", "-p"}:
        own = "lo" if option == "-i" else "tcp"
        return value in {own, "all"} or (value.endswith("+") and own.startswith(value[:-1]))
    if option in {"-s", "-d"}:
        try:
            return _LOOPBACK in IPv4Network(value, strict=False)
        except ValueError:
            return None
    if option in {"--ctstate", "--state"}:
        return _NEW in value.split(",")
    if option in {"--dport", "--dports", "--ports"}:
        return _names(value, port)
    return None


def _names(value: str, port: int) -> bool:
    """Return whether "22", "22,80" or "8000:9000" names the port."""
    for part in value.split(","):
        low, _, high = part.partition(":")
        if low.isdecimal() and (high or low).isdecimal() and int(low) <= port <= int(high or low):
            return True
    return False
