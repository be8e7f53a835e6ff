"""Why the kernels drop the datagrams of the underlay observation: the reasons of the tracepoint skb:kfree_skb, for `doctor --deep`.

templates/drops.pl runs on each host while `underlay` sends its datagrams. Linux has the reasons since 5.17.
"""

from __future__ import annotations

import re
import shlex
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from provisioner import render
from provisioner.errors import Malformed, ProvisionerError
from provisioner.observe import underlay
from provisioner.parallel import each
from provisioner.system.strict import number

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from provisioner.controlplane import Site
    from provisioner.transport import Connection, Stream

_READY, _ANSWER = 8.0, 15.0  # seconds
_MOST = 100  # different drops of one host
_DROP = re.compile(r"drop (in|out) ([0-9]{1,9}) ([A-Z0-9_]{1,60}) ([A-Za-z0-9_.]{1,80})")


@dataclass(frozen=True, slots=True)
class Drop:
    """Datagrams of the test that one kernel dropped, on their way in or out. reason, place: as the kernel names them."""

    count: int
    reason: str
    place: str
    incoming: bool = True


@dataclass(frozen=True, slots=True)
class Drops:
    """What one host recorded. why: why it recorded nothing, or ""."""

    found: tuple[Drop, ...] = ()
    why: str = ""


@contextmanager
def recorded(site: Site, connections: Mapping[str, Connection], hosts: Collection[str]) -> Iterator[dict[str, Drops]]:
    """Record on these of the live hosts while the block runs. The mapping is filled at its end."""
    numbers = underlay.numbers(site)
    names = [name for name in site.live if name in hosts and name in connections and name in numbers]
    begun = each(names, lambda name: _begin(connections[name], numbers[name]))
    streams = {name: stream for name, stream in begun.items() if not isinstance(stream, ProvisionerError)}
    found = {name: Drops(why=error.what) for name, error in begun.items() if isinstance(error, ProvisionerError)}
    try:
        yield found
        ended = each(streams, lambda name: _end(streams[name], name))
        found |= {
            name: Drops(why=drops.what) if isinstance(drops, ProvisionerError) else drops
            for name, drops in ended.items()
        }
    finally:
        for stream in streams.values():
            with suppress(ProvisionerError):
                stream.__exit__()


def _begin(connection: Connection, at: int) -> Stream:
    words = shlex.join([render.text("drops.pl"), str(underlay.length(at)), underlay.program(at)])
    stream = connection.stream(
        f"# recording dropped packets\nexec unshare -m --propagation private perl -e {words}", within=_READY
    )
    said = ""
    try:
        said = stream.readline(_READY) or "none its program ended"
    finally:
        if said != "ready":
            with suppress(ProvisionerError):
                stream.__exit__()
    if said != "ready":
        raise ProvisionerError(said.removeprefix("none ")[:200], cause="command-failed", host=connection.name)
    return stream


def _end(stream: Stream, host: str) -> Drops:
    stream.send("stop")
    found: list[Drop] = []
    for line in stream.lines(_ANSWER):
        if line == "end":
            return Drops(tuple(found))
        match = _DROP.fullmatch(line)
        if not match or len(found) >= _MOST:
            raise Malformed("its dropped packets can't be understood", host=host)
        found.append(Drop(number(match[2]), match[3], match[4], incoming=match[1] == "in"))
    raise Malformed("the recording of dropped packets is incomplete", host=host)
