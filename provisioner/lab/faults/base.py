"""What a fault is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Place(StrEnum):
    """Where a fault is made."""

    HOST = "host"  # on one host
    PATH = "path"  # on one host, for packets from another host
    SWITCH = "switch"  # on the switch, at the port of one host
    WIRE = "wire"  # on the switch, for packets from another host
    ROUTER = "router"  # on the router between the segments, for packets from another host

    @property
    def pair(self) -> bool:
        """Whether the fault is between two hosts."""
        return self in {Place.PATH, Place.WIRE, Place.ROUTER}


@dataclass(frozen=True)
class Fault:
    """One cause that the lab makes on purpose.

    id: several faults can have the same cause ("vxlan-blocked", "vxlan-blocked-out"). cause: the ID of the cause that `doctor`
    should report. title: what the fault does, for users.
    make, heal: POSIX sh that makes and heals the fault; both can be run twice. Their variables are HOST and SELF (the host's name
    and address), DATA (the port of overlays' data) and, between two hosts, TO and PEER (the other host's name and address). The
    switch's port to a host has the host's name. The router has eth0 on the first segment and eth1 on the second one.
    stores: the kinds of clusters that can have the fault; () means all.
    """

    id: str
    cause: str
    title: str
    make: str
    heal: str
    place: Place = Place.HOST
    stores: tuple[str, ...] = ()
