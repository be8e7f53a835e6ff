"""The filter nftables: the wanted rules, and the parser for `nft -t list ruleset` (tested: 0.9.8 and 1.1.3).

In nftables, a drop is final, but an accept is not: the other chains on the same hook still decide. So our own table drops
packets from strangers. To accept the peers, each chain of others that could drop their packets gets a jump to our chains as
its first rule; such a chain is called a gate here. Rules of others and /etc/nftables.conf are never changed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from provisioner.system.firewall import base
from provisioner.system.firewall.iptables import native
from provisioner.system.firewall.others import FIREWALLD

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from provisioner.system.firewall.policy import Policy
    from provisioner.system.firewall.ports import Ports

TABLE = "provisioner"
CHAIN = "provisioner"
PEERS = "provisioner-peers"
JUMP = f'jump {CHAIN} comment "provisioner"'

AWAY = "provisioner-away"
_HOOK = "type filter hook {} priority -10; policy accept;"  # any priority would do, since a drop is final
STORE, OWNER, REFUSED = "provisioner-store", "provisioner-owner", "provisioner-refused"
# The chains of our own table, in the order of `Ruleset.found` and `wanted`.
_OWN = (PEERS, "input", AWAY, "forward", REFUSED, OWNER, STORE, "output")
_PROTOCOLS = {"6": "tcp", "50": "esp"}
# iptables-nft keeps its rules in tables with these names, in chains with names in capitals. They belong to the other filter.
IPTABLES = frozenset({"filter", "mangle", "raw", "security", "nat"})

# A rule that accepts new connections to ports: with any source, and with no other condition than the connection's state.
_ACCEPTS = re.compile(
    r"(?:ip saddr (?:\S+|\{ [^}]* \}) )?(tcp|udp) dport (?:\{ ([^}]*) \}|(\S+)) (?:ct state (?:\{ )?[^}]*\bnew\b[^}]*(?:\} )?)?accept"
)
# Both load their rules at boot; firewalld only some time after its unit is active.
_AT_BOOT = frozenset({"enabled=nftables.service", f"enabled={FIREWALLD}"})


@dataclass(frozen=True)
class Chain:
    """A chain. hook: its line "type ... hook ..." if it is a base chain, else ""."""

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
    """All chains, in the order of nft's output. ports: our ports. iptables: the tables that iptables-nft manages."""

    chains: tuple[Chain, ...]
    ports: Ports
    iptables: frozenset[str] = IPTABLES

    def _of(self, family: str, table: str) -> dict[str, Chain]:
        return {chain.name: chain for chain in self.chains if (chain.family, chain.table) == (family, table)}

    @property
    def ours(self) -> bool:
        """Whether our own table exists."""
        return bool(self._of("inet", TABLE))

    @property
    def gates(self) -> tuple[Chain, ...]:
        """The chains of others that may drop the peers' packets, or that have our jump already."""
        inputs = (c for c in self.chains if re.match(r"type filter hook input\b", c.hook) and self._foreign(c))
        return tuple(chain for chain in inputs if JUMP in chain.rules or self._may_drop_in(chain))

    def uses(self, table: str) -> bool:
        return any(chain.table == table for chain in self.chains)

    def admitted(self, table: str) -> frozenset[tuple[str, int]]:
        """Return which of our ports rules in tables of this name accept for new connections, from some hosts at least."""
        rules = [rule for chain in self.chains if chain.table == table for rule in chain.rules]
        found = filter(None, (re.fullmatch(_ACCEPTS, rule) for rule in rules))
        return frozenset().union(*(self.ports.named([each[1]], each[2] or each[3]) for each in found))

    def _foreign(self, chain: Chain) -> bool:
        """Whether the chain handles IPv4 packets and belongs neither to us nor to iptables."""
        if chain.family not in {"ip", "inet"} or (chain.family, chain.table) == ("inet", TABLE):
            return False
        return not (chain.family == "ip" and chain.table in self.iptables and chain.name.isupper())

    def _may_drop_in(self, chain: Chain) -> bool:
        return "policy drop" in chain.hook or any(self._may_drop(rule, chain) for rule in chain.rules)

    def _may_drop(self, rule: str, chain: Chain, depth: int = 0) -> bool:
        """Whether a rule may drop a packet to our ports. True unless the rule certainly does not."""
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
        """Return our table, and for each gate: the rules before our jump that may drop packets, the jump, and our chains."""
        own = self._of("inet", TABLE)
        parts = [(own[name].label, _own_lines(own[name])) for name in _OWN if name in own]
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
    """Return the lines of a chain of ours, normalized: versions of nft print priorities and sets differently."""
    return [line for rule in ([chain.hook] if chain.hook else []) + list(chain.rules) for line in _in_one_form(rule)]


def _in_one_form(rule: str) -> list[str]:
    """Normalize a rule. Sets of hosts and interfaces are split, since nft may print a set of one element without braces."""
    names = re.fullmatch(r"(ip [sd]addr|iifname) (?:\{ ([^}]*) \}|(\S+)) (.*)", rule)
    if names:
        return [f"{names[1]} {name} {names[4]}" for name in (names[2] or names[3]).split(", ")]
    rule = re.sub(r" priority [^;]*", "", rule) if rule.startswith("type ") else rule
    # On a host without /etc/protocols, nft prints numbers.
    return [re.sub(r"^meta l4proto (6|50)\b", lambda number: f"meta l4proto {_PROTOCOLS[number[1]]}", rule)]


def parse(listed: str, ports: Ports, iptables: frozenset[str] = IPTABLES) -> Ruleset:
    """Parse the output of `nft -t list ruleset`. Sets, maps and flags are ignored. iptables: see `Ruleset`."""
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


def own(policy: Policy) -> str:
    """Return the script that replaces our own table, which drops strangers' packets, in one transaction."""
    body = "".join(_block(name, lines) for name, lines in _own(policy).items())
    head = f"table inet {TABLE}\ndelete table inet {TABLE}\n"  # the first line creates the table, so that the second can't fail
    return f"{head}table inet {TABLE} {{\n{body}}}\n"


def gate(policy: Policy) -> str:
    """Return our chains in a gate's table: they accept the peers, and decide nothing else."""
    return _block(PEERS, _from_peers(policy)) + _block(CHAIN, _gate(policy.ports))


def wanted(policy: Policy, gates: Iterable[Chain]) -> str:
    """Return what `Ruleset.found` returns once everything is applied."""
    parts = [(f"inet {TABLE} {name}", lines) for name, lines in _own(policy).items()]
    for each in gates:
        place = f"{each.family} {each.table}"
        parts += [
            (each.label, (JUMP,)),
            (f"{place} {PEERS}", _from_peers(policy)),
            (f"{place} {CHAIN}", _gate(policy.ports)),
        ]
    return _text(
        (label, [line for rule in policy.numbered(lines) for line in _in_one_form(rule)]) for label, lines in parts
    )


def _own(policy: Policy) -> dict[str, tuple[str, ...]]:
    """Return our own table: chain -> lines."""
    chains = {
        PEERS: _from_peers(policy),
        "input": _input(policy.ports),
        AWAY: _away(policy),
        "forward": _forward(policy.ports),
    }
    chains |= _output(policy)
    return {name: chains[name] for name in _OWN}


def _input(ports: Ports) -> tuple[str, ...]:
    tcp, udp = _set(ports.tcp), _set(ports.udp)
    return (
        _HOOK.format("input"),
        'iifname "lo" accept',
        f"udp dport {udp} jump {PEERS}",
        f"udp dport {udp} drop",
        f"tcp dport {tcp} jump {PEERS}",
        f"tcp dport {tcp} drop",
    )


def _forward(ports: Ports) -> tuple[str, ...]:
    """Return the chain for forwarded packets; see `Policy`."""
    tcp, udp = _set(ports.tcp), _set(ports.udp)
    return (
        _HOOK.format("forward"),
        f"udp dport {udp} jump {AWAY}",
        f"tcp dport {tcp} ct direction reply accept",
        f"tcp dport {tcp} jump {AWAY}",
    )


def _away(policy: Policy) -> tuple[str, ...]:
    interfaces = _named(f'"{name}"' for name in policy.underlay)
    return (
        *((f"iifname {interfaces} jump {PEERS}",) if interfaces else ()),
        *((f"ip daddr {_named(map(str, policy.peers))} drop",) if policy.peers else ()),
    )


def _output(policy: Policy) -> dict[str, tuple[str, ...]]:
    """Return the chains for sent packets; see `Policy`. A packet without an owner matches no `meta skuid`, negated or not."""
    ports, roots = policy.ports, policy.ports.roots
    ways = (
        ("tcp", ports.store, STORE),
        ("udp", ports.store_udp, STORE),
        ("tcp", roots.tcp, OWNER),
        ("udp", roots.udp, OWNER),
    )
    places = ('oifname "lo"', *((f"ip daddr {_named(map(str, policy.peers))}",) if policy.peers else ()))
    return {
        REFUSED: ("meta l4proto tcp reject with tcp reset", "drop"),
        OWNER: (
            "meta skuid 0 accept",
            "ct direction reply accept",
            *(f"{place} meta skuid != 0 jump {REFUSED}" for place in places),
        ),
        STORE: (*(f"meta skuid {user} accept" for user in policy.owners), f"jump {OWNER}"),
        "output": (
            _HOOK.format("output"),
            *(f"{kind} dport {_set(of)} jump {chain}" for kind, of, chain in ways if of),
        ),
    }


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
    """Format port numbers as nft prints them."""
    words = [str(number) for number in sorted(numbers)]
    return "{ " + ", ".join(words) + " }" if len(words) > 1 else words[0]


def _named(names: Iterable[str]) -> str:
    """Format a set of names or addresses; "" if it is empty."""
    words = ", ".join(names)
    return f"{{ {words} }}" if words else ""


def _from_peers(policy: Policy) -> tuple[str, ...]:
    return (
        *(f'iifname "{prefix}*" return' for prefix in policy.bridges),
        *((f"ip saddr {_named(map(str, policy.peers))} accept",) if policy.peers else ()),
    )


def _block(name: str, lines: Iterable[str]) -> str:
    return f"\tchain {name} {{\n" + "".join(f"\t\t{line}\n" for line in lines) + "\t}\n"


def _text(parts: Iterable[tuple[str, Iterable[str]]]) -> str:
    return "".join(f"chain {label}\n" + "".join(f"    {line}\n" for line in lines) for label, lines in parts)


@dataclass(frozen=True)
class _OnHost:
    """The ruleset of one host. says: see `base.says`."""

    says: frozenset[str]
    ruleset: Ruleset

    @property
    def installed(self) -> bool:
        return "program=nft" in self.says

    @property
    def used(self) -> bool:
        return self.ruleset.ours or bool(self.ruleset.gates) or (self.installed and bool(_AT_BOOT & self.says))

    @property
    def ours(self) -> tuple[str, ...]:
        there = self.ruleset.ours or any(JUMP in gate.rules for gate in self.ruleset.gates)
        return ("nftables",) if there else ()

    def managed(self, mark: str) -> bool:
        return self.ruleset.uses(mark)

    def admits(self, mark: str) -> bool:
        return self.ruleset.admitted(mark) >= self.ruleset.ports.between

    def part(self, policy: Policy) -> base.Part:
        gates = self.ruleset.gates
        rules = base.Rules("nftables", self.ruleset.found(), wanted(policy, gates))
        words = {"own": own(policy), "gate": gate(policy), "gates": tuple(each.label for each in gates)}
        return base.Part((rules,), "firewall-nftables.sh.j2", ("nft",), words)


class Nftables:
    programs = ("nft",)
    # -t leaves out the elements of named sets, which may be many.
    reads: Mapping[str, str] = {"nftables": "nft -t list ruleset"}
    removal = "firewall-nftables-leave.sh.j2"
    chains: tuple[str, ...] = ()
    tables = (f"inet {TABLE}",)

    def understood(self, raw: Mapping[str, str]) -> None:
        """Raise nothing: the parser treats an unknown line as a rule, or ignores it."""

    def found(self, raw: Mapping[str, str], ports: Ports) -> base.Found:
        managed = IPTABLES - ({"filter"} if native(raw.get("iptables", "")) else set())
        return _OnHost(base.says(raw), parse(raw.get("nftables", ""), ports, managed))
