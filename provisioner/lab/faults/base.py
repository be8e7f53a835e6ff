"""What a fault is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Place(StrEnum):
    """Where a fault is made."""

    HOST = "host"  # on one host
    PATH = "path"  # on one host, against another
    SWITCH = "switch"  # on the switch, at the port of one host


@dataclass(frozen=True)
class Fault:
    """One cause, made on purpose.

    id: its name; one cause can have several faults ("vxlan-blocked", "vxlan-blocked-out"). cause: the id that `doctor` should name.
    title: what is done, for people. make, heal: POSIX sh that makes it and takes it back; both can be run twice. They have the
    variables HOST, SELF (the host's address), and for a path TO and PEER (the other host's name and address). On the switch, the port of the
    host is named as the host.
    stores: the kinds of clusters in which it can be made; () means all.
    """

    id: str
    cause: str
    title: str
    make: str
    heal: str
    place: Place = Place.HOST
    stores: tuple[str, ...] = ()
