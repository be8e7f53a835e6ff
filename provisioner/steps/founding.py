"""Before a swarm is made, every host has on record which host makes it: see controlplane/founding.py.

A record goes once its host is in the swarm. To replace one takes the lock of the host's writes. So what an earlier run began
there has ended then, and is seen when the state is read again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner import render
from provisioner.controlplane.founding import Founding as Choice
from provisioner.controlplane.swarm import View
from provisioner.model import Action, Drift, Kind
from provisioner.steps.base import OfHosts, Work
from provisioner.system.owned import Owned
from provisioner.system.swarm import FOUNDER

if TYPE_CHECKING:
    from provisioner.controlplane import Site


class Founding(OfHosts):
    name = "founding"
    owns = Owned(files=(FOUNDER,))
    title = "Founder of the swarm"
    reads = ("http", "files")
    patience = 0.0
    cure = "look at the file system of /etc, and run again"

    def drift(self, site: Site, host: str) -> tuple[Drift, ...]:
        found, choice = site.facts[host].files.get(FOUNDER, ""), Choice(site)
        if choice.initiator and found != choice.record():
            return (Drift(Kind.FILE, FOUNDER, found, choice.record(), is_file=True),)
        view = View(site)
        if found and host in view.hosts and not view.lacks_label:
            return (Drift(Kind.FILE, FOUNDER, found, action=Action.REMOVE, is_file=True),)
        return ()

    def work(self, site: Site, host: str, drift: tuple[Drift, ...]) -> Work:
        choice = Choice(site)
        script = render.script("founder.sh.j2", path=FOUNDER, text=choice.record() if choice.initiator else "")
        return Work(
            script,
            f"recording that {choice.initiator} makes the swarm"
            if choice.initiator
            else "forgetting who made the swarm",
        )
