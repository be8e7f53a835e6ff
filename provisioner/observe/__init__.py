"""What is really there, between the hosts and on them: read-only observations, from which causes are found (provisioner.explain).

underlay: every ordered pair of hosts, on the cluster's ports: what left, what arrived, what passed the receiver's rules.
kernel: each host's links, routes, neighbours, forwarding entries and settings, also inside the overlays' namespaces.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from provisioner.errors import TimedOut, Unreachable
from provisioner.observe import kernel, underlay
from provisioner.observe.underlay import Underlay

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from provisioner.controlplane import Site
    from provisioner.errors import ProvisionerError
    from provisioner.observe.kernel import Kernel
    from provisioner.transport import Connection

__all__ = ["NAMES", "Observed", "observe"]

NAMES = ("underlay", "kernel")


@dataclass(frozen=True)
class Observed:
    """All observations of one run. unread: observation and host -> why it could not be made there.

    silent: host -> the error that shows that it answers no more.
    """

    underlay: Underlay = field(default_factory=Underlay)
    kernels: Mapping[str, Kernel] = field(default_factory=dict)
    unread: Mapping[tuple[str, str], str] = field(default_factory=dict)
    silent: Mapping[str, ProvisionerError] = field(default_factory=dict)


def observe(
    site: Site, connections: Mapping[str, Connection], say: Callable[[str, str], None], only: Collection[str] = NAMES
) -> Observed:
    """Make observations on the live hosts, side by side. Changes nothing; takes a few seconds.

    say: is told a host and what is observed there, from several threads. only: which observations.
    """
    with ThreadPoolExecutor(max_workers=2, thread_name_prefix="observe") as pool:
        paths = pool.submit(underlay.observe, site, connections, say) if "underlay" in only else None
        read = pool.submit(kernel.observe, site, connections) if "kernel" in only else None
    found, (kernels, unread) = paths.result() if paths else Underlay(), read.result() if read else ({}, {})
    whys = {("underlay", host): why for host, why in found.silent.items()}
    whys |= {("kernel", host): why.what for host, why in unread.items()}
    silent = {
        host: why for host, why in unread.items() if host in found.silent and isinstance(why, TimedOut | Unreachable)
    }
    return Observed(found, kernels, whys, silent)
