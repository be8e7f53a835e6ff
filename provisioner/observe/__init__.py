"""Read-only observations of the hosts and of the paths between them. `provisioner.explain` finds causes in them.

underlay: for every ordered pair of hosts and each port of the cluster, the packets that left, arrived, and passed the receiver's rules.
kernel: each host's links, routes, neighbours, forwarding entries and settings, including those in the overlays' namespaces.
tables: the engines' tables of gossip, which are read with the kernel.
hops: packets of containers at each point inside the overlays, if nothing else explains why they get lost: the probes', while these run,
or echo requests of running containers.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from provisioner.errors import ProvisionerError, TimedOut, Unreachable
from provisioner.observe import drops, kernel, underlay
from provisioner.observe.drops import Drops
from provisioner.observe.underlay import Underlay
from provisioner.parallel import each

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from provisioner.controlplane import Site
    from provisioner.observe.hops import Counts
    from provisioner.observe.kernel import Kernel
    from provisioner.transport import Connection

__all__ = ["NAMES", "Observed", "Wanted", "observe"]

T = TypeVar("T")
NAMES = ("underlay", "kernel")
_PATIENCE = 5.0  # seconds for a slow host to show that it still answers


@dataclass(frozen=True)
class Wanted:
    """What to observe. underlay: the hosts whose paths are tested, in both directions. kernel: the hosts that are read."""

    underlay: frozenset[str] = frozenset()
    kernel: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.underlay or self.kernel)

    def only(self, names: Collection[str]) -> Wanted:
        """Return this without the observations that `names` lacks."""
        return replace(self, **{name: frozenset[str]() for name in NAMES if name not in names})


@dataclass(frozen=True)
class Observed:
    """All observations of one run.

    unread: (observation, host) -> why the observation failed there, or what it could not read.
    silent: host -> the error, for hosts that stopped answering during the run.
    drops: host -> why its kernel dropped datagrams of the underlay observation. Empty if this was not asked for.
    hops: host -> the packets that it counted inside the overlays. Empty unless `hops.observe` ran.
    """

    underlay: Underlay = field(default_factory=Underlay)
    kernels: Mapping[str, Kernel] = field(default_factory=dict)
    unread: Mapping[tuple[str, str], str] = field(default_factory=dict)
    silent: Mapping[str, ProvisionerError] = field(default_factory=dict)
    drops: Mapping[str, Drops] = field(default_factory=dict)
    hops: Mapping[str, Counts] = field(default_factory=dict)

    def unread_on(self, host: str) -> str:
        """Return everything that was not observed on a host, and why."""
        return "; ".join(why for (_, of), why in self.unread.items() if of == host)

    def repeated(self, again: Observed, wanted: Wanted) -> Observed:
        """Return these observations with those that `again` repeated."""
        repeated = {
            "underlay": {host for _, host in self.unread} if wanted.underlay else set(),
            "kernel": wanted.kernel,
        }
        kept = {(name, host): why for (name, host), why in self.unread.items() if host not in repeated[name]}
        return Observed(
            self.underlay.repeated(again.underlay, wanted.underlay) if wanted.underlay else self.underlay,
            _updated(self.kernels, again.kernels, wanted.kernel),
            {**kept, **again.unread},
            _updated(self.silent, again.silent, wanted.kernel),
            again.drops if wanted.underlay else self.drops,
        )


def observe(
    site: Site,
    connections: Mapping[str, Connection],
    say: Callable[[str, str], None],
    wanted: Wanted | None = None,
    *,
    deep: bool = False,
    traced: Collection[str] = (),
    earlier: Observed | None = None,
) -> Observed:
    """Make observations on the live hosts, concurrently. Changes nothing; takes a few seconds.

    say: called with a host and a progress text, from several threads. wanted: what to observe; None: everything.
    deep: also record why kernels drop packets of the underlay observation, with their tracing, for some seconds; and read the
    engines' tables of gossip with the kernel. traced: hosts on which drops are recorded anyway, and nothing is said if one can't. earlier: the observation that this
    one repeats: paths that lost datagrams are tested with more.
    """
    before = earlier.underlay if earlier else None
    wanted = wanted or Wanted(*[frozenset(site.live)] * 2)
    records = bool(deep or traced) and wanted.underlay
    recording = (
        drops.recorded(site, connections, site.live if deep else traced) if records else nullcontext(dict[str, Drops]())
    )
    with recording as dropped, ThreadPoolExecutor(max_workers=2, thread_name_prefix="observe") as pool:
        paths = (
            pool.submit(underlay.observe, site, connections, say, wanted.underlay, before) if wanted.underlay else None
        )
        read = pool.submit(kernel.observe, site, connections, wanted.kernel, deep=deep) if wanted.kernel else None
    found, (kernels, unread) = paths.result() if paths else Underlay(), read.result() if read else ({}, {})
    whys = {("underlay", host): f"reasons for drops: {seen.why}" for host, seen in dropped.items() if deep and seen.why}
    whys |= {("underlay", host): why for host, why in found.silent.items()}
    whys |= {("kernel", host): why.what for host, why in unread.items()}
    whys |= {("kernel", host): found_.unread for host, found_ in kernels.items() if found_.unread}
    suspects = {
        host: why for host, why in unread.items() if host in found.silent and isinstance(why, TimedOut | Unreachable)
    }
    answers = each(
        list(suspects),
        lambda host: connections[host].read("# testing whether the host still answers\n:", deadline=_PATIENCE),
    )
    silent = {host: suspects[host] for host, answer in answers.items() if isinstance(answer, ProvisionerError)}
    return Observed(found, kernels, whys, silent, dropped)


def _updated(before: Mapping[str, T], again: Mapping[str, T], hosts: Collection[str]) -> dict[str, T]:
    """Return the values of hosts, with those of the hosts that were asked again."""
    return {name: value for name, value in {**before, **again}.items() if name in again or name not in hosts}
