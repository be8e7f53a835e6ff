"""Before a swarm is created, every host has a record of which host creates it: see controlplane/founding.py.

The record is removed when its host has joined the swarm. A write to the record waits for the lock of the host's writes. So an
earlier run's work on that host has ended by then, and its result is read afterwards.
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
    cure = "check the file system of /etc, then run again"

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
            f"recording that {choice.initiator} creates the swarm"
            if choice.initiator
            else "removing the record of the swarm's founder",
        )
