"""How the hosts of a lab are connected: by one segment, or by two segments with a router between them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from provisioner.lab.recipes import SWITCH_ADDRESS


@dataclass(frozen=True)
class Segment:
    """One /24 network of a lab. bridge: its bridge in the switch. router: the router's port there, and its address."""

    bridge: str
    prefix: str
    port: str

    @property
    def network(self) -> str:
        return f"{self.prefix}.0/24"

    @property
    def controller(self) -> str:
        return f"{self.prefix}.1"

    @property
    def router(self) -> str:
        return f"{self.prefix}.254"


FIRST = Segment("switch", SWITCH_ADDRESS.rpartition(".")[0], "router")
SECOND = Segment("switch2", "192.168.57", "router2")


class Topology(StrEnum):
    FLAT = "flat"  # all hosts are on one segment
    ROUTED = "routed"  # node1, node3, ... are on the first segment, node2, node4, ... on the second one
    NAT = "nat"  # the same, and the router replaces the source address of packets from the second segment

    @property
    def segments(self) -> tuple[Segment, ...]:
        return (FIRST,) if self is Topology.FLAT else (FIRST, SECOND)

    def segment(self, number: int) -> Segment:
        """The segment of a host. number: 1 for node1."""
        return self.segments[(number - 1) % len(self.segments)]

    def address(self, number: int) -> str:
        return f"{self.segment(number).prefix}.{10 + number}"

    def routes(self, number: int) -> list[tuple[str, str]]:
        """(network, gateway) of the other segments, for a host."""
        own = self.segment(number)
        return [(other.network, own.router) for other in self.segments if other != own]
