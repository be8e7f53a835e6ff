"""What each host looks for among the packets that leave it, while the probes of a network are at work."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_MOST = 16  # hosts whose ports a probe tries


@dataclass(frozen=True)
class Carried:
    """By what one network's packets are known outside.

    port: of VXLAN, on UDP. vni: the network's number there. addresses: host -> where the others send what is for it.
    """

    port: int
    vni: int
    addresses: Mapping[str, str]

    def of(self, hosts: Collection[str]) -> set[str]:
        return {self.addresses[host] for host in hosts if host in self.addresses}


@dataclass(frozen=True)
class Walls:
    """The cluster's ports, and host -> its address there."""

    tcp: tuple[int, ...]
    udp: tuple[int, ...]
    addresses: Mapping[str, str]

    @property
    def ports(self) -> tuple[str, ...]:
        return (*(f"{port}/tcp" for port in self.tcp), *(f"{port}/udp" for port in self.udp))

    def beyond(self, host: str) -> tuple[str, ...]:
        """The addresses of other hosts, from the next one on. On large clusters not all: each is the next of some."""
        names = list(self.addresses)
        at = names.index(host) + 1 if host in names else 0
        others = (name for name in [*names[at:], *names[:at]] if name != host)
        return tuple(self.addresses[name] for name in islice(others, _MOST))
