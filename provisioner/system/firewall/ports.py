"""Which ports are opened to the cluster's hosts and closed to everyone else, and which rules of others speak of them.

Source for the overlay's: libnetwork (VXLAN 4789/udp; gossip 7946, which can't be moved). The store's come from its backend.
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
    """What passes between the hosts of a cluster. `local`: over lo, where a host's own engine asks the store.

    store, store_udp: those of them that the store's users may open too; all others are root's alone. users: their names, numbers
    or ranges of numbers. Of a store that others look after these are empty.
    esp: whether IP protocol 50 does too, in which the packets of encrypted networks travel. Nobody else is kept from it: the
    kernel drops what it has no key for, and a host may have a VPN.
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
        """Those that only root opens."""
        tcp = tuple(port for port in self.tcp if port not in self.store)
        return Ports(tcp, tuple(port for port in self.udp if port not in self.store_udp), tcp)

    def touches(self, protocols: Iterable[str], named: str) -> bool:
        """Whether "22", "22,80", "8000:9000" or "8000-9000" may hold a port of ours; what is not understood may."""
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
    """The overlay's ports and those of a store: between hosts, and `local` (TCP) on each host alone. users: see `Ports`."""
    between = (*_OVERLAY_TCP, *tcp)
    store, store_udp = ((*tcp, *local), udp) if users else ((), ())
    return Ports(between, (*_OVERLAY_UDP, *udp), (*between, *local), store=store, store_udp=store_udp, users=users)


def of_swarm(*, managers: int, data: int, esp: bool) -> Ports:
    """A swarm's: the port of its managers (TCP), the gossip's, and that of the data path (UDP)."""
    tcp = (managers, _GOSSIP)
    return Ports(tcp, tuple(sorted((data, _GOSSIP))), tcp, esp)
