"""Which host makes the cluster's swarm while there is none, and what forbids that any host makes one. Pure.

Two swarms never become one again, so a cluster must not get a second one, whatever became of an earlier run. Before a host
makes the swarm, it is recorded as the founder on every host that takes part. Later runs keep to that host: they do not choose
another one while it is away, or while its engine does not answer. See docs/decisions/one-swarm.md.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from provisioner.controlplane.swarm import Member, View, founder
from provisioner.system import swarm as on_host
from provisioner.system.reading import DAEMON_JSON, ENGINE_OPTIONS

if TYPE_CHECKING:
    from provisioner.controlplane.site import Site
    from provisioner.system.facts import Facts


@dataclass(frozen=True)
class Founding:
    """The choice of a founder on one site. Made where it is needed."""

    site: Site

    @cached_property
    def _view(self) -> View:
        return View(self.site)

    @cached_property
    def records(self) -> dict[str, str]:
        """Live host -> the founder that is recorded on it. Founders that the inventory no longer has do not count."""
        return {name: found for name in self.site.live if (found := founder(self.site, name))}

    @cached_property
    def hindrances(self) -> dict[str, str]:
        """Host -> why it may have a swarm of this cluster, although no live host says that it is in one."""
        if self._view.exists:
            return {}
        return {name: why for name in self.site.inventory.hosts if (why := self._hindrance(name))}

    def _hindrance(self, name: str) -> str:
        facts, chosen = self.site.facts.get(name), name in self.records.values()
        if facts is None:
            return "it was chosen to make the swarm, and can't be reached" if chosen else ""
        if not facts.engine:
            if chosen:
                return "it was chosen to make the swarm, and its engine does not answer"
            return on_disk(facts)
        if name in self.site.live:
            return ""
        if self._of_all.member(name) in {Member.OURS, Member.UNKNOWN}:
            return "its engine is in a swarm, and the host has dropped out"
        return "it was chosen to make the swarm, and has dropped out" if chosen else ""

    @cached_property
    def _of_all(self) -> View:
        """With the hosts that have dropped out, as they were last read."""
        return View(replace(self.site, live=tuple(self.site.facts)))

    @cached_property
    def initiator(self) -> str:
        """The host that makes the swarm: the recorded one, or the first manager. "" where there is a swarm, or none may be made."""
        if self._view.exists or self.hindrances:
            return ""
        free = [n for n in self.site.servers if n in self.site.live and self._view.member(n) is Member.NONE]
        able = [name for name in free if self.site.facts[name].engine] or free  # none, before the engines are installed
        recorded = Counter(self.records.values()).most_common()
        return next((name for name, _ in recorded if name in able), next(iter(able), ""))

    @property
    def agreed(self) -> bool:
        """Whether a majority of the managers has the initiator on record: any other majority meets it there."""
        return sum(self.records.get(name) == self.initiator for name in self.site.servers) >= self.site.quorum

    def record(self) -> str:
        """What is recorded on every host before the initiator makes the swarm."""
        return on_host.record(
            self.site.inventory.cluster, self.initiator, str(self.site.advertise.get(self.initiator, ""))
        )


def on_disk(facts: Facts) -> str:
    """Why a host whose engine does not answer may be in a swarm, as its disk tells it; "": it is in none."""
    if on_host.STATE in facts.files:
        return f"its engine does not answer, and is in a swarm ({on_host.STATE})"
    options = [facts.unit("docker.service").command, *(facts.files.get(path, "") for path in ENGINE_OPTIONS)]
    if "dockerd" in facts.programs and on_host.is_elsewhere(facts.files.get(DAEMON_JSON, ""), options):
        return "its engine does not answer, and may be in a swarm: it does not keep its data in /var/lib/docker"
    return ""


def hindrance(site: Site) -> str:
    """Why the run must not go on: hosts that take no part may have the swarm. "": nothing forbids it."""
    if site.control != "swarm":
        return ""
    away = {name: why for name, why in Founding(site).hindrances.items() if name not in site.live}
    if not away:
        return ""
    told = "".join(f"\n  {name}: {why}" for name, why in away.items())
    return (
        f"no swarm is made: no host that takes part is in one, but another may be, and a cluster must not get two{told}\n"
        "  next:  get these hosts and their engines to answer, and run again; a host that is gone for good: take it out of the inventory first"
    )
