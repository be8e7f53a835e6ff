"""The option --collect: opens the archive once the cluster's name is known, before anything connects, and finishes it."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

import typer

if TYPE_CHECKING:
    from provisioner.collect import Collection
    from provisioner.inventory import Inventory
    from provisioner.model import Report

Collect = Annotated[
    Path | None,
    typer.Option(
        "--collect",
        metavar="DIR",
        help="Also write the evidence of all hosts to an archive in this folder, without secrets.",
    ),
]


class Collector:
    """The archive of one command; without a folder, it does nothing. An unfinished archive is removed at the end."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._open = ExitStack()
        self._collection: Collection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def begin(self, inventory: Inventory) -> Collection | None:
        """Return where the evidence goes. Raises ProvisionerError if the folder can't be written to."""
        if self._folder:
            from provisioner import collect

            self._collection = collect.Collection(
                self._open.enter_context(collect.Archive(self._folder, inventory.cluster))
            )
        return self._collection

    def finish(self, result: Report) -> Report:
        """Complete the archive with this report, and return the report that names the archive. Raises ProvisionerError."""
        if not self._collection:
            return result
        from provisioner import report

        return replace(result, archive=self._collection.finish(report.to_json(result)))
