"""The nftables backend: what is wanted, and what `nft -t list ruleset` tells (tried: 0.9.8 and 1.1.3).

In nftables a drop is final, an accept is not: every other chain on the same hook still judges. So strangers are kept out
by a table of our own, and peers are let in by a jump at the head of each chain of others that could drop them.
Such a chain is called a gate here. Rules of others are never rewritten, and neither is /etc/nftables.conf.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from ipaddress import IPv4Address

    from provisioner.system.firewall.ports import Ports

TABLE = "provisioner"
CHAIN = "provisioner"
PEERS = "provisioner-peers"
JUMP = f'jump {CHAIN} comment "provisioner"'

_HOOK = "type filter hook input priority -10; policy accept;"
# iptables-nft keeps its rules in tables of these names, in chains with names in capitals: the other backend's.
IPTABLES = frozenset({"filter", "mangle", "raw", "security", "nat"})


@dataclass(frozen=True)
class Chain:
    """A chain. `hook` is its line "type ... hook ..." where it is a base chain, else ""."""

    family: str
    table: str
    name: str
    hook: str
    rules: tuple[str, ...]

    @property
    def label(self) -> str:
        return f"{self.family} {self.table} {self.name}"


@dataclass(frozen=True)
class Ruleset:
    """All chains, in the order in which nft prints them.

    ports: those that are ours to judge. iptables: the tables that iptables-nft looks after.
    """

    chains: tuple[Chain, ...]
    ports: Ports
    iptables: frozenset[str] = IPTABLES

    def _of(self, family: str, table: str) -> dict[str, Chain]:
        return {chain.name: chain for chain in self.chains if (chain.family, chain.table) == (family, table)}

    @property
    def ours(self) -> bool:
        """Whether our own table is there."""
        return bool(self._of("inet", TABLE))

    @property
    def gates(self) -> tuple[Chain, ...]:
        """The chains of others that may drop what comes from the peers, and those that have our jump already."""
        inputs = (c for c in self.chains if re.match(r"type filter hook input\b", c.hook) and self._foreign(c))
        return tuple(chain for chain in inputs if JUMP in chain.rules or self._may_drop_in(chain))

    def uses(self, table: str) -> bool:
        return any(chain.table == table for chain in self.chains)

    def _foreign(self, chain: Chain) -> bool:
        """Whether it is a chain of others, that IPv4 packets pass, and none of iptables'."""
        if chain.family not in {"ip", "inet"} or (chain.family, chain.table) == ("inet", TABLE):
            return False
        return not (chain.family == "ip" and chain.table in self.iptables and chain.name.isupper())

    def _may_drop_in(self, chain: Chain) -> bool:
        return "policy drop" in chain.hook or any(self._may_drop(rule, chain) for rule in chain.rules)

    def _may_drop(self, rule: str, chain: Chain, depth: int = 0) -> bool:
        """Whether a rule may drop a packet to our ports: true unless it can be seen that it does not."""
        text = re.sub(r'"[^"]*"', '""', rule)
        if text.startswith(f"jump {CHAIN} "):
            return False
        named = re.search(r"\b(tcp|udp|th) dport (?:\{ ?([^}]*?) ?\}|(\S+))", text)
        if named and not self.ports.touches(["tcp", "udp"] if named[1] == "th" else [named[1]], named[2] or named[3]):
            return False
        if re.search(r"\b(drop|reject|queue)\b|vmap @", text):
            return True
        siblings = self._of(chain.family, chain.table)
        goals = [siblings.get(goal) for goal in re.findall(r"\b(?:jump|goto) ([^\s,}]+)", text)]
        return any(
            goal is None or depth > 8 or any(self._may_drop(inner, goal, depth + 1) for inner in goal.rules)  # noqa: PLR2004
            for goal in goals
        )

    def found(self) -> str:
        """Our table; then of each gate what may drop before our jump, the jump, and our chains in that table."""
        own = self._of("inet", TABLE)
        parts = [(own[name].label, _own_lines(own[name])) for name in (PEERS, "input") if name in own]
        for gate in self.gates:
            if JUMP in gate.rules:
                before = [rule for rule in gate.rules[: gate.rules.index(JUMP)] if self._may_drop(rule, gate)]
                parts.append((gate.label, [*before, JUMP]))
            else:
                parts.append((gate.label, []))
            siblings = self._of(gate.family, gate.table)
            parts += [(siblings[n].label, _own_lines(siblings[n])) for n in (PEERS, CHAIN) if n in siblings]
        return _text(parts)


def _own_lines(chain: Chain) -> list[str]:
    """A chain of ours in one form, whichever way this nft prints priorities and sets of one element."""
    hook = [re.sub(r" priority [^;]*", "", chain.hook)] if chain.hook else []
    lines = []
    for rule in chain.rules:
        hosts = re.fullmatch(r"ip saddr (?:\{ ([^}]*) \}|(\S+)) accept", rule)
        names = (hosts[1] or hosts[2]).split(", ") if hosts else ()
        lines += [f"ip saddr {name} accept" for name in names] if hosts else [rule]
    return hook + lines


def parse(listed: str, ports: Ports, iptables: frozenset[str] = IPTABLES) -> Ruleset:
    """What `nft -t list ruleset` printed. Sets, maps and flags are passed over. `iptables`: see Ruleset."""
    chains: list[Chain] = []
    family = table = name = hook = ""
    rules: list[str] = []
    for line in listed.splitlines():
        text = line.strip()
        if head := re.match(r"table (\S+) (\S+) \{", line):
            family, table, name = head[1], head[2], ""
        elif head := re.match(r"\tchain (\S+) \{", line):
            name, hook, rules = head[1], "", []
        elif line == "\t}" and name:
            chains.append(Chain(family, table, name, hook, tuple(rules)))
            name = ""
        elif name and re.match(r"type \S+ hook ", text):
            hook = text
        elif name and text:
            rules.append(text)
    return Ruleset(tuple(chains), ports, iptables)


def own(peers: Iterable[IPv4Address], ports: Ports) -> str:
    """The table that keeps strangers out, renewed as a whole in one transaction."""
    body = _block(PEERS, _accepts(peers)) + _block("input", (_HOOK, *_input(ports)))
    head = f"table inet {TABLE}\ndelete table inet {TABLE}\n"  # the first line makes the second never fail
    return f"{head}table inet {TABLE} {{\n{body}}}\n"


def gate(peers: Iterable[IPv4Address], ports: Ports) -> str:
    """The chains that go into a gate's table: they let peers in and judge nothing else."""
    return _block(PEERS, _accepts(peers)) + _block(CHAIN, _gate(ports))


def wanted(peers: Sequence[IPv4Address], gates: Iterable[Chain], ports: Ports) -> str:
    """What `Ruleset.found` tells once all is in force."""
    accepts = [f"ip saddr {peer} accept" for peer in peers]
    hook = re.sub(r" priority [^;]*", "", _HOOK)
    parts = [(f"inet {TABLE} {PEERS}", accepts), (f"inet {TABLE} input", [hook, *_input(ports)])]
    for each in gates:
        place = f"{each.family} {each.table}"
        parts += [(each.label, [JUMP]), (f"{place} {PEERS}", accepts), (f"{place} {CHAIN}", list(_gate(ports)))]
    return _text(parts)


def _input(ports: Ports) -> tuple[str, ...]:
    tcp, udp = _set(ports.tcp), _set(ports.udp)
    return (
        'iifname "lo" accept',
        f"udp dport {udp} jump {PEERS}",
        f"udp dport {udp} drop",
        f"tcp dport {tcp} jump {PEERS}",
        f"tcp dport {tcp} drop",
    )


def _gate(ports: Ports) -> tuple[str, ...]:
    tcp, udp, local = _set(ports.tcp), _set(ports.udp), _set(ports.local)
    return (
        f'iifname "lo" tcp dport {local} accept',
        f'iifname "lo" tcp sport {local} accept',
        f'iifname "lo" udp dport {udp} accept',
        f'iifname "lo" udp sport {udp} accept',
        f"udp dport {udp} jump {PEERS}",
        f"tcp dport {tcp} jump {PEERS}",
        f"tcp sport {tcp} ct state established jump {PEERS}",
        *((f"meta l4proto esp jump {PEERS}",) if ports.esp else ()),
    )


def _set(numbers: Iterable[int]) -> str:
    """As nft prints it."""
    words = [str(number) for number in sorted(numbers)]
    return "{ " + ", ".join(words) + " }" if len(words) > 1 else words[0]


def _accepts(peers: Iterable[IPv4Address]) -> tuple[str, ...]:
    names = ", ".join(str(peer) for peer in peers)
    return (f"ip saddr {{ {names} }} accept",) if names else ()


def _block(name: str, lines: Iterable[str]) -> str:
    return f"\tchain {name} {{\n" + "".join(f"\t\t{line}\n" for line in lines) + "\t}\n"


def _text(parts: Iterable[tuple[str, Iterable[str]]]) -> str:
    return "".join(f"chain {label}\n" + "".join(f"    {line}\n" for line in lines) for label, lines in parts)
