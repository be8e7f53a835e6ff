"""The engines of all hosts know one another. Otherwise every host lists the overlay, but no packet passes.

An engine tries to reach a neighbour only once. Engines that start or join the store at the same moment may never find one
another, nor an engine whose port 7946 was blocked for a moment. A unit connects them at every start of an engine. This step
connects those that do not know one another now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner import render
from provisioner.controlplane import apart
from provisioner.model import Drift, Kind
from provisioner.steps.base import OfHosts, Work
from provisioner.system import gossip

if TYPE_CHECKING:
    from provisioner.controlplane import Site


class Gossip(OfHosts):
    name = "gossip"
    owns = gossip.OWNED
    title = "Engines that know one another"
    reads = ("http",)
    patience = 6.0
    cure = (
        "make sure that 7946/tcp and 7946/udp pass between this host and the others in both directions, then run again"
    )

    def drift(self, site: Site, host: str) -> tuple[Drift, ...]:
        if site.facts[host].gossip is None:
            return (Drift(Kind.GOSSIP, "", "none", "with all hosts", pending=True),)
        strangers = apart.lacking(site, host)
        without = "without " + ", ".join(strangers)
        return (Drift(Kind.GOSSIP, "", without, "with all hosts"),) if strangers else ()

    def work(self, site: Site, host: str, drift: tuple[Drift, ...]) -> Work:
        return Work(render.script("gossip.sh.j2", unit=gossip.UNIT), "connecting the engines", deadline=180.0)
