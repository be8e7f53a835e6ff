"""Hosts of a lab on which a store is set up by its steps alone: no engine takes part."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from provisioner import inventory
from provisioner.runner.look import read
from provisioner.runner.run import Run
from provisioner.steps import STEPS
from tests.e2e.cluster import Cluster

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from provisioner.lab import Lab
    from provisioner.model import Event

_BEFORE_ENGINES = ("packages", "firewall", "store")


class Quiet:
    def event(self, event: Event) -> None:
        pass


@contextlib.contextmanager
def set_up(lab: Lab, folder: Path, store: str, *, packages: bool = True) -> Iterator[Run]:
    """A run that has set the store up, with its connections open; this thread is in the lab's network meanwhile.

    packages: whether any are to be installed first.
    """
    cluster = Cluster(lab, folder, store=store, extra="control_plane: kv\n")
    with lab.enter(), Run(inventory.load(cluster.inventory), Quiet()) as run:
        read(run)
        for step in STEPS:
            if step.name in _BEFORE_ENGINES and (packages or step.name != "packages"):
                run.converge(step)
        assert not run.errors, run.errors
        assert not run.session.lost, run.session.lost
        yield run
