"""Sets up a store on hosts of a lab with the store's steps only, without engines."""

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
    """Set the store up and yield the run with its connections open. The thread stays in the lab's network in the block.

    packages: whether to run the packages step first.
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
