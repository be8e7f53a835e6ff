"""The iptables backend: what is wanted, and what `iptables-save` tells.

Rules are written in exactly the words in which iptables-save prints them (tried: 1.8.7 and 1.8.11, nf_tables and
legacy), so wanted and found are compared as texts. Two chains are ours. The first rule of INPUT jumps to PROVISIONER;
what is not about our ports comes back from there unjudged, SSH with it. PROVISIONER-PEERS is a list of the other hosts
and nothing else: it is all that changes when a host comes or goes.

A host whose policy is DROP with only SSH let in would drop the answers to its own connections, and its engine's
questions to the store over lo: hence the rules for lo and for answers from the other hosts.
Hosts are told apart by their source address, which a machine on the same wire can forge.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from ipaddress import IPv4Address

    from provisioner.system.firewall.ports import Ports

CHAIN = "PROVISIONER"
PEERS = "PROVISIONER-PEERS"
JUMP = f"-A INPUT -j {CHAIN}"

_PASSIVE = frozenset({"LOG", "NFLOG", "ULOG", "TRACE", "MARK", "CONNMARK", "SET", "AUDIT"})


@dataclass(frozen=True)
class Table:
    """The filter table. `rules`: chain -> its rules as they are printed; `policy` is INPUT's.

    native: nft made it, with rules that iptables can't read. ports: the ports that are ours to judge.
    """

    policy: str
    rules: Mapping[str, tuple[str, ...]]
    ports: Ports
    native: bool = False

    @property
    def ours(self) -> bool:
        """Whether we have been here: then our chains judge, whatever else the host uses by now."""
        return CHAIN in self.rules

    @property
    def in_use(self) -> bool:
        """Whether others' rules may stand between the hosts."""
        return self.policy != "ACCEPT" or any(self._judges(rule) for rule in self._others())

    def _others(self) -> tuple[str, ...]:
        return tuple(rule for rule in self.rules.get("INPUT", ()) if rule != JUMP)

    def uses(self, prefix: str) -> bool:
        """Whether INPUT jumps to a chain whose name begins so."""
        return any(_option(shlex.split(rule), "-j").startswith(prefix) for rule in self._others())

    def found(self) -> str:
        """Our rules; above the jump stand those of others that judge our ports before us."""
        lines: list[str] = []
        before = self.rules.get("INPUT", ())
        if JUMP in before:
            lines += [rule for rule in before[: before.index(JUMP)] if self._judges(rule)]
            lines.append(JUMP)
        lines += [rule for chain in (CHAIN, PEERS) for rule in self.rules.get(chain, ())]
        return _text(lines)

    def _judges(self, rule: str, depth: int = 0) -> bool:
        """Whether a rule may decide about a packet to our ports: true unless it can be seen that it does not.

        Others put rules first too, like fail2ban's for SSH; those are left where they are.
        """
        words = shlex.split(rule)
        target = _option(words, "-j") or _option(words, "-g")
        if not target or target in _PASSIVE:
            return False
        protocol = _option(words, "-p") or "all"
        if protocol not in ({"tcp", "udp", "all", "esp"} if self.ports.esp else {"tcp", "udp", "all"}):
            return False
        named = _option(words, "--dport") or _option(words, "--dports")
        if named and not self.ports.touches([protocol], named):
            return False
        if _option(words, "-i") == "lo" and target == "ACCEPT":
            return False
        if target in self.rules and depth < 8:  # noqa: PLR2004 - chains nest less deeply
            return any(self._judges(inner, depth + 1) for inner in self.rules[target])
        return True


def _option(words: list[str], name: str) -> str:
    """The value of an option that is there and not negated, or ""."""
    if name not in words[:-1]:
        return ""
    at = words.index(name)
    return "" if words[at - 1] == "!" else words[at + 1]


def parse(saved: str, ports: Ports) -> Table:
    """What iptables-save (or ip6tables-save) printed; other tables than filter are passed over."""
    table, policy = "", "ACCEPT"
    rules: dict[str, list[str]] = {}
    for line in saved.splitlines():
        if line.startswith("*"):
            table = line[1:].strip()
        elif table != "filter":
            continue
        elif chain := re.match(r":(\S+) (\S+)", line):
            rules.setdefault(chain[1], [])
            policy = chain[2] if chain[1] == "INPUT" else policy
        elif line.startswith("-A "):
            rules.setdefault(line.split()[1], []).append(line.rstrip())
    native = "# Table `filter' is incompatible" in saved
    return Table(policy, {chain: tuple(lines) for chain, lines in rules.items()}, ports, native)


def chains(peers: Iterable[IPv4Address], ports: Ports) -> str:
    """Our two chains for IPv4 as iptables-restore takes them; a declared chain is emptied first."""
    tcp, udp, local = (",".join(map(str, numbers)) for numbers in (ports.tcp, ports.udp, ports.local))
    rules = (
        f"-A {CHAIN} -i lo -p tcp -m multiport --ports {local} -j ACCEPT",
        f"-A {CHAIN} -i lo -p udp -m multiport --ports {udp} -j ACCEPT",
        f"-A {CHAIN} -p udp -m multiport --dports {udp} -j {PEERS}",
        f"-A {CHAIN} -p udp -m multiport --dports {udp} -j DROP",
        f"-A {CHAIN} -p tcp -m multiport --dports {tcp} -j {PEERS}",
        f"-A {CHAIN} -p tcp -m multiport --dports {tcp} -j DROP",
        f"-A {CHAIN} -p tcp -m multiport --sports {tcp} -m conntrack --ctstate ESTABLISHED -j {PEERS}",
        *((f"-A {CHAIN} -p esp -j {PEERS}",) if ports.esp else ()),
    )
    return _text([*_declared(CHAIN, PEERS), *rules, *(f"-A {PEERS} -s {peer}/32 -j ACCEPT" for peer in peers)])


def chains6(ports: Ports) -> str:
    """Our chain for IPv6: the hosts' own network is IPv4, so nobody there is a peer. See the package's docstring."""
    tcp, udp = (",".join(map(str, numbers)) for numbers in (ports.tcp, ports.udp))
    rules = (
        f"-A {CHAIN} ! -i lo -p udp -m multiport --dports {udp} -j DROP",
        f"-A {CHAIN} ! -i lo -p tcp -m multiport --dports {tcp} -j DROP",
    )
    return _text([*_declared(CHAIN), *rules])


def wanted(content: str) -> str:
    """What `Table.found` tells once `content` is in force."""
    return _text([JUMP, *(line for line in content.splitlines() if line.startswith("-A "))])


def _declared(*names: str) -> list[str]:
    return [f":{name} - [0:0]" for name in names]


def _text(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
