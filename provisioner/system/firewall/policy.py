"""The policy that one host's packet filter enforces. Each filter renders it as rules."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from ipaddress import IPv4Address, IPv4Interface

    from provisioner.system.firewall.ports import Ports

# Interface names that may appear in a rule unchanged. To iptables, a "+" at the end would be a wildcard.
_NAME = re.compile(r"[A-Za-z0-9_.@-]{1,15}")
# Interfaces that engines create: a packet from there is a container's, whatever its source address.
_ENGINE = re.compile(r"docker.*|br-[0-9a-f]{12}|veth.*|lo")
_BRIDGES = ("docker", "br-")  # prefixes of the names of engines' bridges


@dataclass(frozen=True)
class Policy:
    """One host's policy.

    - Input: only the peers reach our ports. A packet from an engine's bridge is never a peer's, whatever its source address:
      containers have CAP_NET_RAW by default, and can forge it.
    - Forward: packets to our ports on the peers are not forwarded. A container's packet leaves with the host's address, so a
      peer could not distinguish it from the host's own. Two kinds of packets pass: TCP replies, and packets from one peer to
      another through this host (a VPN's hub, a router). UDP replies need no exception: no peer sends requests from our ports.
    - Output: only root's processes may send to our ports, on this host (over lo) or on a peer. To the store's ports, the
      store's users may send too. Otherwise every process would have the engines' rights in the store, and could inject frames
      into overlays. The kernel's own packets (VXLAN) have no owner and pass, and so do replies.

    peers: the other hosts' addresses. underlay: the interfaces on which the peers' packets arrive.
    uids: user name -> number on this host.
    """

    ports: Ports
    peers: tuple[IPv4Address, ...]
    underlay: tuple[str, ...] = ()
    uids: Mapping[str, int] = field(default_factory=dict)

    @property
    def owners(self) -> tuple[str, ...]:
        """The users who may connect to the store's ports, as in rules: "@NAME" until the host replaces it with a number."""
        return tuple(user if user[0].isdecimal() else f"@{user}" for user in self.ports.users)

    def numbered(self, rules: Iterable[str]) -> list[str]:
        """Return the rules as the host applies them: with users' numbers, and without rules of users that it does not have."""
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
        """Prefixes of the names of interfaces on which no peer's packets arrive."""
        return tuple(prefix for prefix in _BRIDGES if not any(name.startswith(prefix) for name in self.underlay))


def underlay(
    addresses: Iterable[tuple[str, IPv4Interface]], peers: Iterable[IPv4Address], own: IPv4Address | None
) -> tuple[str, ...]:
    """Return the interfaces that are connected to a network of the cluster's hosts, this one included."""
    hosts = [*peers, *([own] if own else [])]
    names = {name.partition(":")[0] for name, address in addresses if any(host in address.network for host in hosts)}
    return tuple(sorted(name for name in names if _NAME.fullmatch(name) and not _ENGINE.fullmatch(name)))
