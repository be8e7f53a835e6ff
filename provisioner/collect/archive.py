"""Writes the archive: one tar.gz in a folder of the controller, readable by its owner alone, complete or absent."""

from __future__ import annotations

import io
import re
import tarfile
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Self, TypeVar

from provisioner.errors import ProvisionerError, UsageError
from provisioner.outfile import Draft

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")
_TRIES = 100  # archives with the same time


def safe(name: str) -> str:
    """Return a name for a file that leads nowhere else, whatever a host called it."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)[:100].lstrip(".") or "_"


class Archive:
    """One archive. Its methods raise ProvisionerError (archive-unwritable) if it can't be written.

    It grows in a hidden file, which `finish` gives its name. Without `finish`, the end of the `with` block removes it. No other
    user's symbolic link is followed. folder: an existing folder. name: of the cluster.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._shown, self._now = folder.absolute(), int(time.time())
        self._title = f"provisioner-{safe(name)}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(self._now))}"
        self._code = UsageError.exit_code  # until it is open: the folder is at fault
        self._draft = self._attempt(lambda: Draft(self._shown))
        self._code = ProvisionerError.exit_code
        self._tar = tarfile.open(fileobj=self._draft.file, mode="w:gz")  # noqa: SIM115 - open until `finish`

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError, ValueError):
            self._tar.close()
        self._draft.close()

    def add(self, folder: str, name: str, content: bytes) -> None:
        """Add a file. folder: of a host, or "". Used by one thread at a time."""
        entry = tarfile.TarInfo("/".join(map(safe, filter(None, (self._title, folder, name)))))
        entry.size, entry.mode, entry.mtime = len(content), 0o600, self._now
        self._attempt(lambda: self._tar.addfile(entry, io.BytesIO(content)))

    def finish(self) -> tuple[Path, int]:
        """Give the archive its name. Return its path, and its size in bytes. No existing file is replaced."""
        size = self._attempt(self._written)
        for number in range(1, _TRIES):
            name = f"{self._title}{f'-{number}' if number > 1 else ''}.tar.gz"
            with suppress(FileExistsError):
                self._attempt(partial(self._draft.link, name))
                return self._shown / name, size
        raise self._error(f"{self._title}.tar.gz exists")

    def _written(self) -> int:
        self._tar.close()
        return self._draft.complete()

    def _attempt(self, do: Callable[[], T]) -> T:
        try:
            return do()
        except FileExistsError:
            raise
        except (OSError, ValueError) as error:
            raise self._error(getattr(error, "strerror", None) or str(error)) from None

    def _error(self, why: str) -> ProvisionerError:
        error = ProvisionerError(
            f"the archive can't be written to {self._shown}: {why}",
            cause="archive-unwritable",
            cure="name an existing folder in which you may write, on a disk with free space",
        )
        error.exit_code = self._code
        return error
