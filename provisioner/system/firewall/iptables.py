"""The filter iptables (with ip6tables): the wanted rules, and the parser for `iptables-save`.

Rules are written exactly as iptables-save prints them (tested: 1.8.7 and 1.8.11, nf_tables and legacy), so wanted and found
rules are compared as texts. The first rule of INPUT jumps to PROVISIONER. Packets to other ports than ours, SSH included,
return from there without a verdict. PROVISIONER-PEERS only lists the other hosts: when a host is added or removed, nothing
else changes.

Forwarded packets are filtered in the table mangle, which they traverse before the table filter. Docker inserts its rules at
the top of filter's FORWARD whenever it starts, and other programs flush that chain; mangle's FORWARD is left alone.

A host with policy DROP that only accepts SSH would drop the replies to its own connections, and its engine's requests to the
store over lo. Hence the rules for lo and for replies from the other hosts.
Hosts are identified by their source address, which a machine on the same link can forge.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from provisioner.system import strict
from provisioner.system.firewall import base

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from provisioner.system.firewall.policy import Policy
    from provisioner.system.firewall.ports import Ports

CHAIN = "PROVISIONER"
PEERS = "PROVISIONER-PEERS"
FORWARD = "PROVISIONER-FORWARD"
AWAY = "PROVISIONER-AWAY"
OUTPUT = "PROVISIONER-OUTPUT"
STORE = "PROVISIONER-STORE"
OWNER = "PROVISIONER-OWNER"
REFUSED = "PROVISIONER-REFUSED"

_PASSIVE = frozenset(
    {
        "LOG",
        "NFLOG",
        "ULOG",
        "TRACE",
        "MARK",
        "CONNMARK",
        "SET",
        "AUDIT",
        "TCPMSS",
        "TOS",
        "DSCP",
        "TTL",
        "CLASSIFY",
        "CHECKSUM",
    }
)


@dataclass(frozen=True)
class Hook:
    """A built-in chain of a table, and our chain to which its first rule jumps."""

    table: str
    builtin: str
    chain: str

    @property
    def jump(self) -> str:
        return f"-A {self.builtin} -j {self.chain}"


INPUT = Hook("filter", "INPUT", CHAIN)
FORWARDED = Hook("mangle", "FORWARD", FORWARD)
SENT = Hook("filter", "OUTPUT", OUTPUT)
HOOKS = (INPUT, SENT, FORWARDED)
JUMP = INPUT.jump
# Our chains of each table, in the order of `Table.found` and `wanted`.
CHAINS: Mapping[str, tuple[str, ...]] = {
    "filter": (CHAIN, PEERS, OUTPUT, STORE, OWNER, REFUSED),
    "mangle": (FORWARD, AWAY, PEERS),
}


@dataclass(frozen=True)
class Part:
    """The wanted rules of one table. chains: our chains, as input of iptables-restore. jumps: first rules of built-in chains."""

    table: str
    jumps: tuple[str, ...]
    chains: str


@dataclass(frozen=True)
class Table:
    """The tables filter and mangle, as found.

    policy: the policy of INPUT. rules: the rules of the table filter, chain -> lines of iptables-save. ports: our ports.
    native: whether nft created the table filter, with rules that iptables can't read. mangle: the rules of that table.
    """

    policy: str
    rules: Mapping[str, tuple[str, ...]]
    ports: Ports
    native: bool = False
    mangle: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def _of(self, table: str) -> Mapping[str, tuple[str, ...]]:
        return {"filter": self.rules, "mangle": self.mangle}[table]

    @property
    def ours(self) -> bool:
        """Whether our chains exist. They filter packets, whichever filter the host uses by now."""
        return any(hook.chain in self._of(hook.table) for hook in HOOKS)

    @property
    def in_use(self) -> bool:
        """Whether rules of others may block packets between the hosts."""
        return self.policy != "ACCEPT" or any(self._judges(rule, self.rules) for rule in self._others())

    def _others(self) -> tuple[str, ...]:
        return tuple(rule for rule in self.rules.get("INPUT", ()) if rule != JUMP)

    def uses(self, prefix: str) -> bool:
        """Whether INPUT jumps to a chain with this prefix."""
        return any(_option(shlex.split(rule), "-j").startswith(prefix) for rule in self._others())

    def admitted(self, prefix: str) -> frozenset[tuple[str, int]]:
        """Return which of our ports chains with this prefix accept for new connections, from some hosts at least."""
        chains, reached = ["INPUT"], {"INPUT"}
        for chain in chains:
            goals = {_option(shlex.split(rule), "-j") for rule in self.rules.get(chain, ())} & self.rules.keys()
            chains += goals - reached
            reached |= goals
        rules = [rule for chain in chains if chain.startswith(prefix) for rule in self.rules[chain]]
        return frozenset().union(*(self._accepted(shlex.split(rule)) for rule in rules))

    def _accepted(self, words: list[str]) -> frozenset[tuple[str, int]]:
        """Return which of our ports a rule accepts for new connections, if its only other condition is the source."""
        state = _option(words, "--ctstate") or _option(words, "--state") or "NEW"
        named = _option(words, "--dport") or _option(words, "--dports") or ("0-65535" if "-s" in words else "")
        if _option(words, "-j") != "ACCEPT" or "NEW" not in state or {"-i", "!", "--sport", "-d"} & set(words):
            return frozenset()
        return self.ports.named([_option(words, "-p")] if "-p" in words else ["tcp", "udp"], named)

    def found(self) -> str:
        """Return our rules. Before each jump come the rules of others that decide about our ports first."""
        return _text(line for table in CHAINS for line in self._found_in(table))

    def _found_in(self, table: str) -> Iterator[str]:
        rules = self._of(table)
        local = replace(self.ports, tcp=self.ports.local)
        for hook in HOOKS:
            before = rules.get(hook.builtin, ())
            if hook.table == table and hook.jump in before:
                yield from (
                    rule
                    for rule in before[: before.index(hook.jump)]
                    if self._judges(rule, rules, local if hook == SENT else None)
                )
                yield hook.jump
        for chain in CHAINS[table]:
            yield from rules.get(chain, ())

    def _judges(
        self, rule: str, rules: Mapping[str, tuple[str, ...]], ports: Ports | None = None, depth: int = 0
    ) -> bool:
        """Whether a rule may decide about a packet to our ports. True unless the rule certainly does not.

        Other programs, such as fail2ban for SSH, insert rules at the top too. Those that don't affect our ports may stay there.
        """
        ports = ports or self.ports
        words = shlex.split(rule)
        target = _option(words, "-j") or _option(words, "-g")
        if not target or target in _PASSIVE:
            return False
        protocol = _option(words, "-p") or "all"
        if protocol not in ({"tcp", "udp", "all", "esp"} if ports.esp else {"tcp", "udp", "all"}):
            return False
        named = _option(words, "--dport") or _option(words, "--dports")
        if named and not ports.touches([protocol], named):
            return False
        if _option(words, "-i") == "lo" and target == "ACCEPT":
            return False
        if target in rules and depth < 8:  # noqa: PLR2004 - chains nest less deeply
            return any(self._judges(inner, rules, ports, depth + 1) for inner in rules[target])
        return True


def _option(words: list[str], name: str) -> str:
    """Return the value of an option; "" if it is absent or negated."""
    if name not in words[:-1]:
        return ""
    at = words.index(name)
    return "" if words[at - 1] == "!" else words[at + 1]


def native(saved: str) -> bool:
    """Whether nft created the table filter, with rules that iptables can't read."""
    return "# Table `filter' is incompatible" in saved


def parse(saved: str, ports: Ports) -> Table:
    """Parse the output of iptables-save or ip6tables-save. Tables other than filter and mangle are ignored."""
    table, policy = "", "ACCEPT"
    rules: dict[str, dict[str, list[str]]] = {name: {} for name in CHAINS}
    for line in saved.splitlines():
        if line.startswith("*"):
            table = line[1:].strip()
        elif table not in rules:
            continue
        elif chain := re.match(r":(\S+) (\S+)", line):
            rules[table].setdefault(chain[1], [])
            policy = chain[2] if (table, chain[1]) == ("filter", "INPUT") else policy
        elif line.startswith("-A "):
            rules[table].setdefault(line.split()[1], []).append(line.rstrip())
    found = {name: {chain: tuple(lines) for chain, lines in of.items()} for name, of in rules.items()}
    return Table(policy, found["filter"], ports, native(saved), found["mangle"])


def parts(policy: Policy) -> tuple[Part, ...]:
    """Return the wanted rules for IPv4."""
    kept = {**_input(policy), **_output(policy, [f"-d {peer}/32" for peer in policy.peers])}
    return _part("filter", (INPUT, SENT), kept), _part("mangle", (FORWARDED,), _forward(policy))


def parts6(policy: Policy) -> tuple[Part, ...]:
    """Return the wanted rules for IPv6. The underlay is IPv4, so there are no peers; see the package's docstring."""
    tcp, udp = _numbers(policy.ports.tcp), _numbers(policy.ports.udp)
    rules = (
        f"! -i lo -p udp -m multiport --dports {udp} -j DROP",
        f"! -i lo -p tcp -m multiport --dports {tcp} -j DROP",
    )
    return (_part("filter", (INPUT, SENT), {CHAIN: rules, **_output(policy, ())}),)


def _input(policy: Policy) -> dict[str, tuple[str, ...]]:
    ports = policy.ports
    tcp, udp, local = _numbers(ports.tcp), _numbers(ports.udp), _numbers(ports.local)
    rules = (
        f"-i lo -p tcp -m multiport --ports {local} -j ACCEPT",
        f"-i lo -p udp -m multiport --ports {udp} -j ACCEPT",
        f"-p udp -m multiport --dports {udp} -j {PEERS}",
        f"-p udp -m multiport --dports {udp} -j DROP",
        f"-p tcp -m multiport --dports {tcp} -j {PEERS}",
        f"-p tcp -m multiport --dports {tcp} -j DROP",
        f"-p tcp -m multiport --sports {tcp} -m conntrack --ctstate ESTABLISHED -j {PEERS}",
        *((f"-p esp -j {PEERS}",) if ports.esp else ()),
    )
    return {CHAIN: rules, PEERS: _from_peers(policy)}


def _forward(policy: Policy) -> dict[str, tuple[str, ...]]:
    """Return the chains for forwarded packets; see `Policy`."""
    rules = tuple(
        f"-p {protocol} -m multiport --dports {_numbers(ports)} -j {AWAY}"
        for protocol, ports in (("udp", policy.ports.udp), ("tcp", policy.ports.tcp))
    )
    away = (
        "-p tcp -m conntrack --ctdir REPLY -j RETURN",
        *(f"-i {name} -j {PEERS}" for name in policy.underlay),
        *(f"-d {peer}/32 -j DROP" for peer in policy.peers),
    )
    return {FORWARD: rules, AWAY: away, PEERS: _from_peers(policy)}


def _output(policy: Policy, peers: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the chains for sent packets; see `Policy`.

    Rejected packets fail at once for their sender: connections with a reset, datagrams with an error (EPERM).
    """
    ports, roots = policy.ports, policy.ports.roots
    ways = (
        ("tcp", ports.store, STORE),
        ("udp", ports.store_udp, STORE),
        ("tcp", roots.tcp, OWNER),
        ("udp", roots.udp, OWNER),
    )
    owner = (
        "-m owner ! --socket-exists -j RETURN",
        "-m owner --uid-owner 0 -j RETURN",
        "-m conntrack --ctdir REPLY -j RETURN",
        *(f"{where} -j {REFUSED}" for where in ("-o lo", *peers)),
    )
    return {
        OUTPUT: tuple(f"-p {kind} -m multiport --dports {_numbers(of)} -j {chain}" for kind, of, chain in ways if of),
        STORE: (*(f"-m owner --uid-owner {user} -j RETURN" for user in policy.owners), f"-j {OWNER}"),
        OWNER: owner,
        REFUSED: ("-p tcp -j REJECT --reject-with tcp-reset", "-j DROP"),
    }


def _from_peers(policy: Policy) -> tuple[str, ...]:
    return (
        *(f"-i {prefix}+ -j RETURN" for prefix in policy.bridges),
        *(f"-s {peer}/32 -j ACCEPT" for peer in policy.peers),
    )


def _part(table: str, hooks: Iterable[Hook], chains: Mapping[str, tuple[str, ...]]) -> Part:
    """Return one table's part. iptables-restore empties each declared chain first."""
    names = [name for name in CHAINS[table] if name in chains]
    declared = [f":{name} - [0:0]" for name in names]
    rules = [f"-A {name} {rule}" for name in names for rule in chains[name]]
    return Part(table, tuple(hook.jump for hook in hooks), _text([*declared, *rules]))


def wanted(policy: Policy, parts: Iterable[Part]) -> str:
    """Return what `Table.found` returns once these parts are applied."""
    rules = ((*part.jumps, *(line for line in part.chains.splitlines() if line.startswith("-A "))) for part in parts)
    return _text(policy.numbered(line for lines in rules for line in lines))


def _numbers(ports: Iterable[int]) -> str:
    return ",".join(map(str, ports))


def _text(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


@dataclass(frozen=True)
class _OnHost:
    """The tables of one host, for IPv4 and IPv6. says: see `base.says`."""

    says: frozenset[str]
    v4: Table
    v6: Table

    @property
    def installed(self) -> bool:
        return "program=iptables" in self.says

    @property
    def used(self) -> bool:
        return self.v4.ours or self.v4.in_use

    @property
    def ours(self) -> tuple[str, ...]:
        tables = {"iptables": self.v4, "ip6tables": self.v6}
        return tuple(name for name, table in tables.items() if table.ours)

    def managed(self, mark: str) -> bool:
        return self.v4.uses(mark)

    def admits(self, mark: str) -> bool:
        return self.v4.admitted(mark) >= self.v4.ports.between

    def part(self, policy: Policy) -> base.Part:
        tables = {"iptables": (self.v4, parts(policy))}
        # One package contains both programs. If neither is installed yet, Docker's package brings both before this is applied.
        if "ipv6=yes" in self.says and ("program=ip6tables" in self.says or not self.installed):
            tables["ip6tables"] = (self.v6, parts6(policy))
        rules = tuple(base.Rules(name, table.found(), wanted(policy, of)) for name, (table, of) in tables.items())
        words = {"restored": {program: of for program, (_, of) in tables.items()}}
        return base.Part(rules, "firewall-iptables.sh.j2", tuple(tables), words)


class Iptables:
    programs = ("iptables", "ip6tables")
    # Without -t, which would load the named table's kernel module.
    reads: Mapping[str, str] = {
        "iptables": "iptables-save",
        "ip6tables": "[ -e /proc/net/if_inet6 ] && ip6tables-save",
    }
    removal = "firewall-iptables-leave.sh.j2"
    chains = (CHAIN,)
    tables: tuple[str, ...] = ()

    def understood(self, raw: Mapping[str, str]) -> None:
        """Raise Malformed if a rule can't be split into words."""
        for program in self.programs:
            for rule in raw.get(program, "").splitlines():
                # Only quotes and backslashes, or a rule without words, can make the split fail.
                if rule.startswith("-A ") and (re.search(r"[\"'\\]", rule) or not rule[3:].strip()):
                    with strict.understood(f"a rule from {program}-save", rule):
                        _, _chain, *_ = shlex.split(rule)

    def found(self, raw: Mapping[str, str], ports: Ports) -> base.Found:
        v4, v6 = (parse(raw.get(program, ""), ports) for program in self.programs)
        return _OnHost(base.says(raw), v4, v6)
