"""What each command of provisioner imports; kept where the collector of garbage does not touch it, so that forks share it."""

import gc

from provisioner import cli, render, report  # noqa: F401
from provisioner.lab import lab  # noqa: F401
from provisioner.report import document, people, plain  # noqa: F401
from provisioner.workflows import plan, remove, rotate, status, up, verify  # noqa: F401

gc.collect()
gc.freeze()
