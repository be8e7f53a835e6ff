"""What one host's packet filter decides, in a form that both backends render."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from ipaddress import IPv4Address, IPv4Interface

    from provisioner.system.firewall.ports import Ports

# What may stand in a rule as it is. A "+" at the end would be a wildcard of iptables'.
_NAME = re.compile(r"[A-Za-z0-9_.@-]{1,15}")
# Interfaces that engines make: what comes in there is a container's, whatever source address it has.
_ENGINE = re.compile(r"docker.*|br-[0-9a-f]{12}|veth.*|lo")
_BRIDGES = ("docker", "br-")  # how the names of engines' bridges begin


@dataclass(frozen=True)
class Policy:
    """One host's rules.

    - Input: the peers reach our ports, nobody else does. What comes in on an engine's bridge is no peer's, whatever source
      address it has: a container with CAP_NET_RAW, which is the default, may write any.
    - Forward: nothing goes through this host to our ports on the peers. What a container sends leaves with the host's address,
      so the peers could not tell it from the host itself. Two kinds of packets pass: answers over TCP, and what one peer sends to
      another through this host (a VPN's hub, a router). There are no answers over UDP: a peer would have to ask from our ports.

    - Output: what a process of this host sends to our ports, on this host (over lo) or on a peer, must be root's; to the store's
      ports also that of the users who may. Else every process had the engines' rights in the store, and could put frames
      into overlays. The kernel's own packets (VXLAN) have no owner and pass, and so do answers.

    peers: the other hosts' addresses. underlay: the interfaces on which packets of peers come in. uids: user -> number there.
    """

    ports: Ports
    peers: tuple[IPv4Address, ...]
    underlay: tuple[str, ...] = ()
    uids: Mapping[str, int] = field(default_factory=dict)

    @property
    def owners(self) -> tuple[str, ...]:
        """Who may open the store's ports, as rules have it: a user's name is behind "@" until the host has its number."""
        return tuple(user if user[0].isdecimal() else f"@{user}" for user in self.ports.users)

    def numbered(self, rules: Iterable[str]) -> list[str]:
        """Rules as they are in force on the host: with numbers for names, and without those of users that it does not have."""
        found = []
        for rule in rules:
            named = re.search(r" @(\S+) ", rule)
            if not named:
                found.append(rule)
            elif named[1] in self.uids:
                found.append(rule.replace(named[0], f" {self.uids[named[1]]} "))
        return found

    @property
    def bridges(self) -> tuple[str, ...]:
        """How the names of interfaces begin on which no peer's packets come in."""
        return tuple(prefix for prefix in _BRIDGES if not any(name.startswith(prefix) for name in self.underlay))


def underlay(
    addresses: Iterable[tuple[str, IPv4Interface]], peers: Iterable[IPv4Address], own: IPv4Address | None
) -> tuple[str, ...]:
    """The interfaces on whose networks hosts of the cluster are, this one included."""
    hosts = [*peers, *([own] if own else [])]
    names = {name.partition(":")[0] for name, address in addresses if any(host in address.network for host in hosts)}
    return tuple(sorted(name for name in names if _NAME.fullmatch(name) and not _ENGINE.fullmatch(name)))
