"""Which ports are opened to the cluster's hosts and closed to everyone else, and which rules of others speak of them.

Sources: libnetwork (VXLAN 4789/udp; gossip 7946, which can't be moved), Consul's documentation (8300 server, 8301 gossip).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

UDP = (4789, 7946, 8301)
TCP = (7946, 8300, 8301)
LOCAL = (*TCP, 8500)  # 8500: Consul's HTTP, that the engine asks over lo

_OURS = {"tcp": frozenset(TCP), "udp": frozenset(UDP)}


def touches(protocols: Iterable[str], ports: str) -> bool:
    """Whether "22", "22,80", "8000:9000" or "8000-9000" may hold a port of ours; what is not understood may."""
    ours = frozenset[int]().union(*(_OURS.get(protocol, frozenset()) for protocol in protocols))
    for part in ports.split(","):
        low, _, high = part.strip().replace(":", "-").partition("-")
        if not low.isdecimal() or not (high or low).isdecimal():
            return True
        if any(int(low) <= port <= int(high or low) for port in ours):
            return True
    return False
