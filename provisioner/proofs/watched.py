"""What each host looks for in its outgoing packets while the probes of a network run."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_MOST = 16  # hosts whose ports one probe tries


@dataclass(frozen=True)
class Carried:
    """How to recognise one network's packets on the underlay.

    port: the UDP port of VXLAN. vni: the network's VXLAN number. addresses: host -> the address that it advertises.
    """

    port: int
    vni: int
    addresses: Mapping[str, str]

    def of(self, hosts: Collection[str]) -> set[str]:
        return {self.addresses[host] for host in hosts if host in self.addresses}


@dataclass(frozen=True)
class Walls:
    """The cluster's ports, which containers must not reach. addresses: host -> the address that it advertises."""

    tcp: tuple[int, ...]
    udp: tuple[int, ...]
    addresses: Mapping[str, str]

    @property
    def ports(self) -> tuple[str, ...]:
        return (*(f"{port}/tcp" for port in self.tcp), *(f"{port}/udp" for port in self.udp))

    def beyond(self, host: str) -> tuple[str, ...]:
        """Return the addresses of the next hosts after this one, at most 16. Together the hosts cover every address."""
        names = list(self.addresses)
        at = names.index(host) + 1 if host in names else 0
        others = (name for name in [*names[at:], *names[:at]] if name != host)
        return tuple(self.addresses[name] for name in islice(others, _MOST))
