"""Choose the host that creates the cluster's swarm, and find what prevents its creation. Pure.

Two swarms can't be merged, so a cluster must never get a second one, however an earlier run ended. Before a host creates the
swarm, every participating host records it as the founder. Later runs keep this choice, even if the founder is unreachable or
its engine does not answer. See docs/decisions/one-swarm.md.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from provisioner.controlplane.swarm import Member, View, founder
from provisioner.model import Failure
from provisioner.system import swarm as on_host
from provisioner.system.reading import DAEMON_JSON, ENGINE_OPTIONS

if TYPE_CHECKING:
    from provisioner.controlplane.site import Site
    from provisioner.system.facts import Facts


@dataclass(frozen=True)
class Founding:
    """The choice of a founder for one site."""

    site: Site

    @cached_property
    def _view(self) -> View:
        return View(self.site)

    @cached_property
    def records(self) -> dict[str, str]:
        """Live host -> the founder in its record. Founders that are no longer in the inventory do not count."""
        return {name: found for name in self.site.live if (found := founder(self.site, name))}

    @cached_property
    def hindrances(self) -> dict[str, str]:
        """Host -> why it may be in a swarm of this cluster, although no live host is known to be in one."""
        if self._view.exists:
            return {}
        return {name: why for name in self.site.inventory.hosts if (why := self._hindrance(name))}

    def _hindrance(self, name: str) -> str:
        facts, chosen = self.site.facts.get(name), name in self.records.values()
        if facts is None:
            return "it was chosen to create the swarm, and can't be reached" if chosen else ""
        if not facts.engine:
            if chosen:
                return "it was chosen to create the swarm, and its engine does not answer"
            return on_disk(facts)
        if name in self.site.live:
            return ""
        if self._of_all.member(name) in {Member.OURS, Member.UNKNOWN}:
            return "its engine is in a swarm, and the host has dropped out"
        return "it was chosen to create the swarm, and has dropped out" if chosen else ""

    @cached_property
    def _of_all(self) -> View:
        """The view that includes hosts that have dropped out, as they were last read."""
        return View(replace(self.site, live=tuple(self.site.facts)))

    @cached_property
    def initiator(self) -> str:
        """The host that creates the swarm: the recorded one, or the first manager.

        "" if there is a swarm already, or if none may be created.
        """
        if self._view.exists or self.hindrances:
            return ""
        free = [n for n in self.site.servers if n in self.site.live and self._view.member(n) is Member.NONE]
        able = [name for name in free if self.site.facts[name].engine] or free  # all, before engines are installed
        recorded = Counter(self.records.values()).most_common()
        return next((name for name, _ in recorded if name in able), next(iter(able), ""))

    @property
    def agreed(self) -> bool:
        """Whether a majority of the managers has recorded the initiator: every other majority includes one of these."""
        return sum(self.records.get(name) == self.initiator for name in self.site.servers) >= self.site.quorum

    def record(self) -> str:
        """Return the text of the record that every host gets before the initiator creates the swarm."""
        return on_host.record(
            self.site.inventory.cluster, self.initiator, str(self.site.advertise.get(self.initiator, ""))
        )


def on_disk(facts: Facts) -> str:
    """Return why a host whose engine does not answer may be in a swarm, from the files on its disk. "": it is in none."""
    if on_host.STATE in facts.files:
        return f"its engine does not answer, and is in a swarm ({on_host.STATE})"
    options = [facts.unit("docker.service").command, *(facts.files.get(path, "") for path in ENGINE_OPTIONS)]
    if "dockerd" in facts.programs and on_host.is_elsewhere(facts.files.get(DAEMON_JSON, ""), options):
        return "its engine does not answer, and may be in a swarm: its data are not in /var/lib/docker"
    return ""


def hindrance(site: Site) -> Failure | None:
    """Return why the run must stop: hosts that do not take part may be in a swarm. None: the run can continue."""
    if site.control != "swarm":
        return None
    away = {name: why for name, why in Founding(site).hindrances.items() if name not in site.live}
    if not away:
        return None
    reasons = "".join(f"\n  {name}: {why}" for name, why in away.items())
    return Failure(
        "no swarm is created: these hosts do not take part and may already be in a swarm; a cluster must not get two"
        f"{reasons}\n"
        "  next:  make these hosts and their engines answer, then run again; if a host is lost for good, remove it from the inventory first",
        "swarm-may-exist",
    )
