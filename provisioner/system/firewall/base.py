"""What one kind of packet filter is to the rest: a Protocol that each implements in a file of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provisioner.system.firewall.policy import Policy
    from provisioner.system.firewall.ports import Ports


@dataclass(frozen=True)
class Rules:
    """The rules of one name on one host, found and wanted, in one form; equal texts are equal rules."""

    name: str  # as people know them: "iptables", "ip6tables", "nftables"
    found: str
    wanted: str


@dataclass(frozen=True)
class Part:
    """What one filter adds to the plan of a host.

    template: its part of the script that sets the rules; `words` are what it is rendered with, as `part`.
    programs: those that it runs on the host.
    """

    rules: tuple[Rules, ...]
    template: str
    programs: tuple[str, ...]
    words: Mapping[str, Any] = field(default_factory=dict)


class Found(Protocol):
    """What a filter found on one host."""

    @property
    def there(self) -> bool:
        """Whether its program is on the host."""
        ...

    @property
    def used(self) -> bool:
        """Whether it must have our rules: it has some, or those of others may judge our ports."""
        ...

    @property
    def ours(self) -> tuple[str, ...]:
        """The names (as in `Rules`) under which it has rules of ours."""
        ...

    def managed(self, mark: str) -> bool:
        """Whether its rules on input show a manager that names its chains or tables so. See `others.Manager`."""
        ...

    def part(self, policy: Policy) -> Part:
        """What it needs to enforce the policy."""
        ...


class Filter(Protocol):
    """One kind of packet filter.

    programs: those that the facts look for; the first shows whether a host has it. reads: section of the facts -> the command whose output it is.
    removal: the template of the commands that remove all rules of ours, whichever there are.
    chains, tables: what it makes on hosts, as `Owned` has them.
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
        """Raises Malformed if these sections of the facts can't be parsed; `found` then raises nothing."""
        ...

    def found(self, raw: Mapping[str, str], ports: Ports) -> Found:
        """What the sections of the facts say of it."""
        ...


def says(raw: Mapping[str, str]) -> frozenset[str]:
    """The words of the section "firewall": program=NAME, active=UNIT, enabled=UNIT, ipv6=yes."""
    return frozenset(raw.get("firewall", "").split())
