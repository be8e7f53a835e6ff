"""The ports that are open to the cluster's hosts and closed to everyone else.

Source for the overlay's ports: libnetwork (VXLAN 4789/udp; gossip 7946, which is fixed). The store's backend has its ports.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_GOSSIP, _VXLAN = 7946, 4789
_OVERLAY_TCP, _OVERLAY_UDP = (_GOSSIP,), (_VXLAN, _GOSSIP)


@dataclass(frozen=True)
class Ports:
    """The ports between the hosts of a cluster.

    local: TCP ports on lo, where an engine connects to the store on its own host.
    store, store_udp: the ports that the store's users may send to as well; all others are for root only.
    users: the store's users, as names, numbers or ranges of numbers. These three are empty for a store that somebody else manages.
    esp: whether to accept IP protocol 50, which carries encrypted networks, from the peers. It is not closed to others: the
    kernel drops packets that it has no key for, and a host may have a VPN.
    """

    tcp: tuple[int, ...]
    udp: tuple[int, ...]
    local: tuple[int, ...]
    esp: bool = False
    store: tuple[int, ...] = ()
    store_udp: tuple[int, ...] = ()
    users: tuple[str, ...] = ()

    @property
    def roots(self) -> Ports:
        """The ports that only root may send to."""
        tcp = tuple(port for port in self.tcp if port not in self.store)
        return Ports(tcp, tuple(port for port in self.udp if port not in self.store_udp), tcp)

    @property
    def between(self) -> frozenset[tuple[str, int]]:
        """(protocol, port) of all ports between the hosts."""
        return frozenset({*(("tcp", port) for port in self.tcp), *(("udp", port) for port in self.udp)})

    def named(self, protocols: Iterable[str], text: str) -> frozenset[tuple[str, int]]:
        """Return which ports between the hosts "22", "22,80", "8000:9000" or "8000-9000" names. Text that can't be parsed names none."""
        found = set()
        for part in text.split(","):
            low, _, high = part.strip().replace(":", "-").partition("-")
            if re.fullmatch("[0-9]{1,5}", low) and re.fullmatch("[0-9]{1,5}", high or low):
                found |= {(kind, port) for kind, port in self.between if int(low) <= port <= int(high or low)}
        return frozenset((kind, port) for kind, port in found if kind in protocols)

    def touches(self, protocols: Iterable[str], named: str) -> bool:
        """Whether "22", "22,80", "8000:9000" or "8000-9000" may include a port of ours. True for text that can't be parsed."""
        by_protocol = {"tcp": self.tcp, "udp": self.udp}
        ours = {port for protocol in protocols for port in by_protocol.get(protocol, ())}
        for part in named.split(","):
            low, _, high = part.strip().replace(":", "-").partition("-")
            if not re.fullmatch("[0-9]{1,5}", low) or not re.fullmatch("[0-9]{1,5}", high or low):
                return True
            if any(int(low) <= port <= int(high or low) for port in ours):
                return True
        return False


def with_store(
    *, tcp: tuple[int, ...] = (), udp: tuple[int, ...] = (), local: tuple[int, ...] = (), users: tuple[str, ...] = ()
) -> Ports:
    """Return the ports of the overlay and of a store. local: the store's TCP ports within each host. users: see `Ports`."""
    between = (*_OVERLAY_TCP, *tcp)
    store, store_udp = ((*tcp, *local), udp) if users else ((), ())
    return Ports(between, (*_OVERLAY_UDP, *udp), (*between, *local), store=store, store_udp=store_udp, users=users)


def of_swarm(*, managers: int, data: int, esp: bool) -> Ports:
    """Return a swarm's ports: the managers' (TCP), the gossip's, and the data path's (UDP)."""
    tcp = (managers, _GOSSIP)
    return Ports(tcp, tuple(sorted((data, _GOSSIP))), tcp, esp)
