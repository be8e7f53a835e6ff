"""Firewall rules that counted packets during a test: which rule dropped a packet, and the command that deletes it.

The rules can be those of any program, not only of provisioner.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Any

from provisioner.system.firewall.iptables import CHAINS
from provisioner.system.firewall.nftables import IPTABLES, TABLE

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from ipaddress import IPv4Address

# Commands that print all rules with their counters. If a host has both backends of iptables, packets traverse the rules of both.
COUNTED = ("iptables-legacy-save -c", "iptables-nft-save -c", "nft -a list ruleset")
LISTED = "nft list ruleset"  # prints the rules of one network namespace, also those of iptables-nft
SHOWN = (*COUNTED, "ip6tables-legacy-save -c", "ip6tables-nft-save -c", "iptables-save -c")  # for people
_IPTABLES = frozenset({"iptables-legacy-save", "iptables-nft-save", "iptables-save"})
_OURS = frozenset({TABLE, *(chain for chains in CHAINS.values() for chain in chains)})
_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|([^\s"]+)', re.DOTALL)
_DROPS = frozenset({"DROP", "REJECT", "drop", "reject"})
_HOOKS = {"PREROUTING": "input", "INPUT": "input", "OUTPUT": "output", "POSTROUTING": "output"}
_DIVERTS = frozenset({"REDIRECT", "DNAT", "TPROXY", "NFQUEUE", "redirect", "dnat", "tproxy", "queue", "fwd"})


@dataclass(frozen=True)
class Rule:
    """A rule or policy that counted `packets` during the test, or a rule or policy of nftables that drops and has no counter (0).

    tool: the program that printed it. table: the table for iptables; FAMILY,TABLE,CHAIN for nftables.
    text: as printed: "-A INPUT ... -j DROP", ":INPUT DROP", "udp dport 4789 counter drop # handle 7", "type filter hook input ...".
    whole: False if `text` was truncated or cleaned. Such a rule can't be deleted.
    """

    tool: str
    table: str
    packets: int
    text: str
    whole: bool = True

    @property
    def drops(self) -> bool:
        return bool(_DROPS & set(re.split(r"[\s;,]+", self.text)))

    @property
    def diverts(self) -> bool:
        """Whether it sends packets to another port, host or program."""
        return bool(_DIVERTS & set(self.text.split()))

    @property
    def is_of_nftables(self) -> bool:
        """Whether the program for nftables printed it."""
        return self.tool not in _IPTABLES

    @property
    def is_policy(self) -> bool:
        return self.text.startswith((":", "type "))

    def is_at(self, hook: str) -> bool:
        """Return whether it is the policy of a chain of nftables at this hook."""
        return self.text.startswith("type ") and f" hook {hook} " in self.text

    @property
    def ports(self) -> frozenset[str]:
        """All numbers in the rule; ports are among them."""
        return frozenset(re.findall(r"[0-9]+", self.text))

    @property
    def protocol(self) -> str:
        """The protocol of all packets that it matches, as "udp"; "" if there are several, or if this is unknown."""
        if self.tool in _IPTABLES:
            return next(iter(self._named("-p")), "")
        match = re.search(r"\b(tcp|udp) [ds]port\b", re.sub(r'comment "[^"]*"', "", self.text))
        return match[1] if match else ""

    def is_between(self, addresses: Collection[IPv4Address]) -> bool:
        """Return whether the source and the destination that it names can be among these addresses. True if it names none."""
        text = re.sub(r'comment "[^"]*"', "", self.text)
        named = self._named("-s", "-d") if self.tool in _IPTABLES else re.findall(r"\bip [sd]addr ([0-9./]+)", text)
        networks = [network for text in named if (network := _network(text))]
        return all(any(address in network for address in addresses) for network in networks)

    def _named(self, *options: str) -> list[str]:
        """Return the values of these options of iptables, unless they are negated. Options of extensions, as comments, come later."""
        found = words(self.text)
        end = next((n for n, word in enumerate(found) if word in {"-m", "-j", "-g"}), len(found))
        return [
            value
            for before, word, value in zip(found, found[1:end], found[2:end], strict=False)
            if word in options and before != "!"
        ]

    @property
    def hook(self) -> str:
        """Whether it is for packets that arrive ("input") or leave ("output"), if its chain tells; else ""."""
        chain = (words(self.text) if self.text.startswith("-A ") else ("", *self.text[1:].split()))[1:2]
        return _HOOKS.get(chain[0], "") if chain and self.tool in _IPTABLES else ""

    def is_only_for(self, ports: Collection[int]) -> bool:
        """Return whether it matches only packets to these ports."""
        listed = re.findall(r"[0-9]+(?:[:-][0-9]+)?", self._destination)
        return bool(listed) and all(each.isdigit() and int(each) in ports for each in listed)

    @property
    def _destination(self) -> str:
        """The destination ports in the rule, as printed; "" if there are none."""
        if self.tool in _IPTABLES:
            found = words(self.text)
            at = next((n for n, word in enumerate(found) if word in {"--dport", "--dports"}), 0)
            return found[at + 1] if at and found[at - 1] != "!" else ""
        text = re.sub(r'comment "[^"]*"', "", self.text)
        match = re.search(r"\bdport (\{[^}]*\}|[0-9-]+)", text)
        return match[1] if match else ""

    @property
    def is_of_iptables(self) -> bool:
        """Whether nft printed it, and iptables-nft has set it."""
        family, table, chain = (*self.table.split(","), "", "")[:3]
        return self.tool == "nft" and family == "ip" and table in IPTABLES and chain.isupper()

    @property
    def is_ours(self) -> bool:
        """Whether provisioner manages this rule."""
        names = words(self.text)[1:2] if self.tool in _IPTABLES else self.table.split(",")[1:]
        return bool(_OURS & set(names))

    @property
    def where(self) -> str:
        """The rule with its backend and table, for users."""
        return f"`{self.text}` ({self.tool.removesuffix('-save')}, table {self.table.replace(',', ' ')})"

    @property
    def variant(self) -> str:
        """The kind of command that deletes it: "rule" or "nft-rule". "policy": can't be deleted. "": unknown."""
        if self.is_policy:
            return "policy"
        if not self.whole:
            return ""
        if self.tool in _IPTABLES:
            return "rule" if words(self.text)[:1] == ("-A",) else ""
        return "nft-rule" if self._handle and self.table.count(",") == 2 else ""  # noqa: PLR2004

    @property
    def _handle(self) -> str:
        found = re.search(r"# handle ([0-9]{1,9})$", self.text)
        return found[1] if found else ""

    @property
    def values(self) -> dict[str, object]:
        """The values that this command needs."""
        if self.variant == "nft-rule":
            family, table, chain = self.table.split(",")
            return {"family": family, "table": table, "chain": chain, "handle": self._handle}
        return {"tool": self.tool.removesuffix("-save"), "table": self.table, "rule": words(self.text)[1:]}


def _network(text: str) -> IPv4Network | None:
    try:
        return IPv4Network(text, strict=False)
    except ValueError:
        return None


def words(text: str) -> tuple[str, ...]:
    """Split a rule as iptables-save prints it. In double quotes, a backslash escapes any character. () if malformed."""
    found: list[str] = []
    at = 0
    for match in _WORD.finditer(text):
        between = text[at : match.start()]
        if between.strip() or (found and not between):
            return ()
        found.append(match[2] if match[2] is not None else re.sub(r"\\(.)", r"\1", match[1], flags=re.DOTALL))
        at = match.end()
    return () if text[at:].strip() else tuple(found)


def in_own_tables(engine: Mapping[str, Any]) -> bool:
    """Return whether an engine sets its rules with nftables, not iptables. engine: its answer to /info."""
    return "nftables" in str(engine.get("FirewallBackend"))
