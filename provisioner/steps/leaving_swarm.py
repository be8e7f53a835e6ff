"""The steps that take one host out of a swarm.

A remaining manager drains and demotes the host. The host then leaves, and the manager removes its node.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from provisioner import render
from provisioner.controlplane.swarm import View, address_of, in_swarm, is_down, state
from provisioner.model import Action, Drift, Kind
from provisioner.steps.base import OfHosts, Work
from provisioner.steps.swarm import of_nodes
from provisioner.system import swarm as on_host

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provisioner.controlplane import Site
    from provisioner.system.facts import Facts


def nodes(site: Site) -> list[Mapping[str, Any]]:
    """Return the nodes that the leaving host is, or was, as the acting manager lists them."""
    return [node for node in View(site).nodes.values() if address_of(node) == str(site.leaving)]


def _id(node: Mapping[str, Any]) -> str:
    return str(node["ID"])


@dataclass(frozen=True)
class Rest(OfHosts):
    """Move the host's service tasks to other hosts, and demote it to a worker."""

    host: str
    name = "members"
    title = "Host drained and demoted"
    reads = ("http",)
    patience = 30.0
    cure = "check the node on a manager (docker node ls, docker node ps NODE), then run again"

    def drift(self, site: Site, host: str) -> tuple[Drift, ...]:
        drift = []
        for node in nodes(site) if host == View(site).acting else ():
            if node["Spec"].get("Availability") != "drain":
                drift.append(Drift(Kind.SERVICES, self.host, str(node["Spec"].get("Availability")), "drain"))
            if node["Spec"]["Role"] == "manager":
                drift.append(Drift(Kind.ROLE, self.host, "manager", "worker"))
        return tuple(drift)

    def work(self, site: Site, host: str, drift: tuple[Drift, ...]) -> Work:
        there = nodes(site)
        script = of_nodes(
            drain=[_id(node) for node in there],
            rest=[_id(node) for node in there if not is_down(node)],
            demote=[_id(node) for node in there if node["Spec"]["Role"] == "manager"],
        )
        return Work(script, f"moving the services of {self.host}", deadline=300.0)


def to_leave(facts: Facts) -> tuple[Drift, ...]:
    """Return the drift of an engine that is to be in no swarm."""
    return (Drift(Kind.SWARM, "", state(facts), "inactive", Action.LEAVE),) if in_swarm(facts) else ()


def leave(*, force: bool, alone: bool = False) -> Work:
    """Return the work of an engine that leaves its swarm. force: also as a manager. alone: no other host does so meanwhile."""
    yes = "yes" if force else "no"
    script = render.script("swarm-leave.sh.j2", unit=on_host.UNIT, files=on_host.OURS, force=yes)
    return Work(script, "leaving the swarm", deadline=120.0, alone=alone)


class LeaveSwarm(OfHosts):
    """The engine leaves the swarm. Containers that belong to no service keep running."""

    name = "leave-engine"
    title = "Engine outside the swarm"
    reads = ("http", "files")
    patience = 20.0
    cure = "on this host, run: docker swarm leave; then run again"

    def drift(self, site: Site, host: str) -> tuple[Drift, ...]:
        facts = site.facts[host]
        ours = [path for path in on_host.OURS if path in facts.files]
        return (
            *to_leave(facts),
            *(Drift(Kind.FILE, path, "present", "absent", Action.REMOVE) for path in ours),
        )

    def work(self, site: Site, host: str, drift: tuple[Drift, ...]) -> Work:
        return leave(force=False)


@dataclass(frozen=True)
class Forget(OfHosts):
    """Remove the host's nodes from the swarm."""

    host: str
    name = "endpoints"
    title = "Node of the host removed"
    reads = ("http",)
    patience = 20.0
    cure = "on a manager, run: docker node rm --force NODE; then run again"

    def drift(self, site: Site, host: str) -> tuple[Drift, ...]:
        there = nodes(site) if host == View(site).acting else ()
        return tuple(Drift(Kind.NODE, _id(node)[:12], "in the swarm", "removed", of=self.host) for node in there)

    def work(self, site: Site, host: str, drift: tuple[Drift, ...]) -> Work:
        script = of_nodes(remove=[_id(node) for node in nodes(site)])
        return Work(script, f"removing the node of {self.host}", deadline=60.0)
