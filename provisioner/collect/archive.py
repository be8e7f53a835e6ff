"""Writes the archive: one tar.gz in a folder of the controller, readable by its owner alone, complete or absent."""

from __future__ import annotations

import io
import os
import re
import secrets
import tarfile
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar

from provisioner.errors import ProvisionerError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")
_NEEDED = 1 << 20  # bytes that must be free before the work begins
_TRIES = 100  # archives with the same time
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


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
        self._hidden = f".provisioner-{secrets.token_hex(8)}.part"
        self._code = UsageError.exit_code  # until it is open: the folder is at fault
        self._check_links()
        self._folder = self._attempt(lambda: os.open(self._shown, _FOLDER))
        try:
            opened = self._attempt(lambda: os.open(self._hidden, _NEW, 0o600, dir_fd=self._folder))
        except ProvisionerError:
            os.close(self._folder)
            raise
        self._file = os.fdopen(opened, "w+b")
        self._tar: tarfile.TarFile | None = None
        try:
            self._attempt(self._reserve)
        except ProvisionerError:
            self._discard()
            raise
        self._code = ProvisionerError.exit_code
        self._tar = tarfile.open(fileobj=self._file, mode="w:gz")  # noqa: SIM115 - open until `finish`

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._discard()

    def add(self, folder: str, name: str, content: bytes) -> None:
        """Add a file. folder: of a host, or "". Used by one thread at a time."""
        entry = tarfile.TarInfo("/".join(map(safe, filter(None, (self._title, folder, name)))))
        entry.size, entry.mode, entry.mtime = len(content), 0o600, self._now
        tar = self._tar
        if tar:
            self._attempt(lambda: tar.addfile(entry, io.BytesIO(content)))

    def finish(self) -> tuple[Path, int]:
        """Give the archive its name. Return its path, and its size in bytes. No existing file is replaced."""
        size = self._attempt(self._written)
        for number in range(1, _TRIES):
            name = f"{self._title}{f'-{number}' if number > 1 else ''}.tar.gz"
            with suppress(FileExistsError):
                self._attempt(partial(os.link, self._hidden, name, src_dir_fd=self._folder, dst_dir_fd=self._folder))
                return self._shown / name, size
        raise self._error(f"{self._title}.tar.gz exists")

    def _check_links(self) -> None:
        for path in (self._shown, *self._shown.parents):
            if self._attempt(path.is_symlink) and self._attempt(path.lstat).st_uid not in {0, os.geteuid()}:
                raise self._error(f"{path} is a symbolic link of another user")

    def _reserve(self) -> None:
        """Find out now whether the disk is full."""
        os.posix_fallocate(self._file.fileno(), 0, _NEEDED)
        self._file.truncate(0)

    def _written(self) -> int:
        if self._tar:
            self._tar.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._file.tell()

    def _discard(self) -> None:
        closes: list[Callable[[], Any]] = [self._tar.close] if self._tar else []
        closes += [self._file.close, lambda: os.unlink(self._hidden, dir_fd=self._folder)]
        for close in closes:
            with suppress(OSError, ValueError):
                close()
        os.close(self._folder)

    def _attempt(self, do: Callable[[], T]) -> T:
        try:
            return do()
        except FileExistsError:
            raise
        except OSError as error:
            raise self._error(error.strerror or str(error)) from None

    def _error(self, why: str) -> ProvisionerError:
        error = ProvisionerError(
            f"the archive can't be written to {self._shown}: {why}",
            cause="archive-unwritable",
            cure="name an existing folder in which you may write, on a disk with free space",
        )
        error.exit_code = self._code
        return error
