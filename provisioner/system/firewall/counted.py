"""Rules of a host's firewall whose counters rose: who dropped a packet, and how such a rule is deleted. Also rules of others."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

# All rules with their counters. Both backends of iptables where the host has both: packets pass the rules of each.
COUNTED = ("iptables-legacy-save -c", "iptables-nft-save -c", "nft -a list ruleset")
_DROPS = frozenset({"DROP", "REJECT", "drop", "reject"})


@dataclass(frozen=True)
class Rule:
    """A rule or policy whose counter rose by `packets` while datagrams were sent.

    tool: the program that printed it. table: of iptables; FAMILY,TABLE,CHAIN of nftables.
    text: as it was printed: "-A INPUT ... -j DROP", ":INPUT DROP", "udp dport 4789 counter drop # handle 7".
    """

    tool: str
    table: str
    packets: int
    text: str

    @property
    def drops(self) -> bool:
        return bool(_DROPS & set(self.text.split()))

    @property
    def is_policy(self) -> bool:
        return self.text.startswith(":")

    @property
    def ports(self) -> frozenset[str]:
        """All numbers in it."""
        return frozenset(re.findall(r"[0-9]+", self.text))

    @property
    def where(self) -> str:
        """The rule with the place where it is, for people."""
        return f"`{self.text}` ({self.tool.removesuffix('-save')}, table {self.table.replace(',', ' ')})"

    @property
    def variant(self) -> str:
        """Which commands delete it: those of a "rule", of an "nft-rule"; "policy": it can't be deleted; "": it is not known how."""
        if self.is_policy:
            return "policy"
        if self.text.startswith("-A "):
            return "rule"
        return "nft-rule" if self._handle else ""

    @property
    def _handle(self) -> str:
        found = re.search(r"# handle ([0-9]{1,9})$", self.text)
        return found[1] if found else ""

    @property
    def values(self) -> dict[str, object]:
        """What these commands need."""
        if self.variant == "nft-rule":
            family, table, chain = (*self.table.split(","), "", "")[:3]
            return {"family": family, "table": table, "chain": chain, "handle": self._handle}
        try:
            words = tuple(shlex.split(self.text))[1:]
        except ValueError:
            words = ()
        return {"tool": self.tool.removesuffix("-save"), "table": self.table, "rule": words}
