"""The Protocol of a packet filter. Each filter implements it in a file of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provisioner.system.firewall.policy import Policy
    from provisioner.system.firewall.ports import Ports


@dataclass(frozen=True)
class Rules:
    """One rule set of one host, found and wanted, in a normalized form: equal texts mean equal rules."""

    name: str  # for people: "iptables", "ip6tables", "nftables"
    found: str
    wanted: str


@dataclass(frozen=True)
class Part:
    """One filter's part of a host's plan.

    template: its part of the script that sets the rules, rendered with this object as `part`. words: values for the template.
    programs: the programs that it runs on the host.
    """

    rules: tuple[Rules, ...]
    template: str
    programs: tuple[str, ...]
    words: Mapping[str, Any] = field(default_factory=dict)


class Found(Protocol):
    """The state of a filter on one host."""

    @property
    def installed(self) -> bool:
        """Whether its program is installed."""
        ...

    @property
    def used(self) -> bool:
        """Whether it needs our rules: it has some already, or rules of others may apply to our ports."""
        ...

    @property
    def ours(self) -> tuple[str, ...]:
        """The names (as in `Rules`) of the rule sets that contain rules of ours."""
        ...

    def managed(self, mark: str) -> bool:
        """Whether its input rules have a chain or table that a manager created. See `others.Manager.marks`."""
        ...

    def admits(self, mark: str) -> bool:
        """Whether the rules of this manager accept packets to all our ports, from some hosts at least."""
        ...

    def part(self, policy: Policy) -> Part:
        """Return the filter's part of the plan that enforces the policy."""
        ...


class Filter(Protocol):
    """One kind of packet filter.

    programs: programs that a reading looks for; the first one shows whether the host has this filter.
    reads: section of the facts -> the command that prints it.
    removal: the template of the script that removes all our rules.
    chains, tables: what it creates on hosts, as in `Owned`.
    """

    @property
    def programs(self) -> tuple[str, ...]: ...
    @property
    def reads(self) -> Mapping[str, str]: ...
    @property
    def removal(self) -> str: ...
    @property
    def chains(self) -> tuple[str, ...]: ...
    @property
    def tables(self) -> tuple[str, ...]: ...

    def understood(self, raw: Mapping[str, str]) -> None:
        """Raise Malformed if the filter's sections can't be parsed. After that, `found` never raises."""
        ...

    def found(self, raw: Mapping[str, str], ports: Ports) -> Found:
        """Parse the filter's sections."""
        ...


def says(raw: Mapping[str, str]) -> frozenset[str]:
    """Return the words of the section "firewall": program=NAME, active=UNIT, enabled=UNIT, ipv6=yes."""
    return frozenset(raw.get("firewall", "").split())
