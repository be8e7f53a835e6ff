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

    esp: whether IP protocol 50 does too, in which the packets of encrypted networks travel. Nobody else is kept from it: the
    kernel drops what it has no key for, and a host may have a VPN.
    """

    tcp: tuple[int, ...]
    udp: tuple[int, ...]
    local: tuple[int, ...]
    esp: bool = False

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


def with_store(*, tcp: tuple[int, ...] = (), udp: tuple[int, ...] = (), local: tuple[int, ...] = ()) -> Ports:
    """The overlay's ports and those of a store: between hosts, and `local` (TCP) on each host alone."""
    between = (*_OVERLAY_TCP, *tcp)
    return Ports(between, (*_OVERLAY_UDP, *udp), (*between, *local))


def of_swarm(*, managers: int, data: int, esp: bool) -> Ports:
    """A swarm's: the port of its managers (TCP), the gossip's, and that of the data path (UDP)."""
    tcp = (managers, _GOSSIP)
    return Ports(tcp, tuple(sorted((data, _GOSSIP))), tcp, esp)
