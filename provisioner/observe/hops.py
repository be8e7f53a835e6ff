"""Follows packets of containers through the overlays of two hosts: where they stop is where they are lost.

They are those of the probes, while these run, or echo requests that running containers are made to send. templates/hops.pl counts
them on the overlay's side of the containers' interfaces, at the VXLAN devices, and at the hosts' interfaces.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from provisioner import render
from provisioner.errors import Malformed, ProvisionerError
from provisioner.parallel import each

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from provisioner.controlplane import Site
    from provisioner.observe.kernel import Kernel
    from provisioner.transport import Connection

    _Counted = Mapping["Point", Mapping[tuple[str, str], int]]

PROBE_PORT = 7777  # see templates/probe.pl
SECONDS = 2.5  # probes that get no answer send two datagrams a second
_ASKING = 5.0  # seconds; echo requests are sent for 4.5 s, see templates/echo.pl
_MARGIN = 15.0  # seconds for a busy host
_MOST = 8  # namespaces of one host
_SPACE = re.compile(r"[0-9]{1,9}-[a-z0-9]{1,38}", re.ASCII)
_LINE = re.compile(
    r"(udp|icmp|arp) ([a-z0-9-]{1,40}) (\S{1,15}) (in|out) ([0-9.]{7,15}) ([0-9.]{7,15}) ([0-9]{1,9})", re.ASCII
)
_PLACES = {"veth": "container", "vxlan": "vxlan"}  # by the beginning of an interface's name in an overlay's namespace


@dataclass(frozen=True, slots=True)
class Point:
    """Where packets were counted. space: the network namespace, "" for the host's own. place: "container" (the overlay's end of
    a container's interface), "vxlan" or "host". out: whether they were passed to this interface, and did not come from it.
    """

    space: str
    place: str
    out: bool


@dataclass(frozen=True)
class Counts:
    """What one host counted: point -> (the source's address, the target's address) -> packets. asked: the same of ARP requests."""

    packets: Mapping[Point, Mapping[tuple[str, str], int]] = field(default_factory=dict)
    asked: Mapping[Point, Mapping[tuple[str, str], int]] = field(default_factory=dict)

    def __or__(self, later: Counts) -> Counts:
        """Return these counts and later ones, of packets between other addresses."""
        return Counts(_joined(self.packets, later.packets), _joined(self.asked, later.asked))


def _joined(one: _Counted, other: _Counted) -> _Counted:
    return {point: {**one.get(point, {}), **other.get(point, {})} for point in {**one, **other}}


def observe(
    site: Site,
    connections: Mapping[str, Connection],
    kernels: Mapping[str, Kernel],
    hosts: Collection[str],
    senders: Mapping[str, Mapping[str, Sequence[str]]] = MappingProxyType({}),
) -> dict[str, Counts]:
    """Count on these hosts for some seconds, concurrently. kernels: tell the overlays' namespaces. Hosts that fail are left out.

    senders: host -> the network namespace of a container -> the addresses to which it sends echo requests. If there are any, echo requests are
    counted, and not the probes' packets.
    """
    seconds = _ASKING if senders else SECONDS
    names = [name for name in site.live if name in hosts and name in connections and name in kernels]

    def count(name: str) -> Counts:
        spaces = [space.name for space in kernels[name].spaces.values() if _SPACE.fullmatch(space.name)][:_MOST]
        script = render.script(
            "hops.sh.j2",
            spaces=spaces,
            program=render.text("hops.pl"),
            data=site.inventory.data_path_port,
            probe=0 if senders else PROBE_PORT,
            seconds=seconds,
            senders=list(senders.get(name, {}).items()),
            echo=render.text("echo.pl"),
        )
        said = connections[name].read(script, deadline=seconds + _MARGIN)
        return parsed(said.stdout, name)

    return {name: found for name, found in each(names, count).items() if not isinstance(found, ProvisionerError)}


def parsed(text: str, host: str) -> Counts:
    """Parse the output of one host. A packet that passes several interfaces of one kind is counted once. Raises Malformed."""
    found = Counts({}, {})
    for line in text.split("\n"):
        match = _LINE.fullmatch(line)
        if not match:
            if line and not line.startswith("end "):
                raise Malformed("its counts of packets can't be understood", host=host)
            continue
        kind, space, interface, way, source, target, count = match.groups()
        at = _point(space, interface, out=way == "out")
        if at:
            counts: dict[Point, dict[tuple[str, str], int]] = found.asked if kind == "arp" else found.packets  # type: ignore[assignment]
            pairs = counts.setdefault(at, {})
            pairs[source, target] = max(int(count), pairs.get((source, target), 0))
    return found


def _point(space: str, interface: str, *, out: bool) -> Point | None:
    if space == "host":
        return Point("", "host", out) if interface != "lo" else None
    place = next((place for begin, place in _PLACES.items() if interface.startswith(begin)), None)
    return Point(space, place, out) if place else None
