"""Imports what every command of provisioner imports. gc.freeze() keeps the memory pages shared between forks."""

import gc

from provisioner import cli, render, report  # noqa: F401
from provisioner.lab import lab  # noqa: F401
from provisioner.report import document, people, plain  # noqa: F401
from provisioner.workflows import plan, remove, rotate, status, up, verify  # noqa: F401

gc.collect()
gc.freeze()
