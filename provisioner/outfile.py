"""Files that a user asks for: opened before the work begins, and replaced atomically when it ends."""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO, Self

from provisioner.errors import ProvisionerError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

_ROOM = 1 << 20  # bytes that are reserved at the beginning, so that a full disk is found before the work
_MODE = 0o600  # reports name addresses, rules and versions


class OutFile:
    """A file to write. Until `commit`, its contents are in a new file beside it, and an existing file stays as it is.

    The folder is opened once, and nothing in it is followed: what another user creates there meanwhile is not written to.
    file: receives the contents. Use the object as a context manager: without `commit`, nothing is left.
    """

    def __init__(self, path: Path, option: str) -> None:
        """Create the new file. option: the one that named the path, for errors. Raises UsageError if it can't be written."""
        self._path, self._option = path, option
        self._new = f".provisioner-{secrets.token_hex(8)}.new"
        try:
            _refuse_links(path)
            self._folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (OSError, ValueError) as error:
            raise self._refused(error) from None
        try:
            self._check_present()
            self.file: BinaryIO = os.fdopen(self._created(), "wb")
        except (OSError, ValueError) as error:
            os.close(self._folder)
            raise self._refused(error) from None
        try:
            os.posix_fallocate(self.file.fileno(), 0, _ROOM)
        except OSError as error:
            self.close()
            raise self._refused(error) from None

    @property
    def place(self) -> tuple[int, int, str]:
        """Equal for two paths of the same file."""
        found = os.fstat(self._folder)
        return found.st_dev, found.st_ino, self._path.name

    def write(self, contents: bytes) -> None:
        """Write the whole contents, and commit. Raises ProvisionerError; the former file is then unchanged."""
        try:
            self.file.write(contents)
            self._commit()
        except OSError as error:
            raise ProvisionerError(f"{self._what(error)}; the file is left as it was", cause="usage") from None

    def _commit(self) -> None:
        self.file.truncate(self.file.tell())
        self.file.flush()
        os.fsync(self.file.fileno())
        os.replace(self._new, self._path.name, src_dir_fd=self._folder, dst_dir_fd=self._folder)

    def close(self) -> None:
        """Close the file. If it was not committed, remove it."""
        with suppress(OSError):
            self.file.close()
        with suppress(OSError):
            os.unlink(self._new, dir_fd=self._folder)
        with suppress(OSError):
            os.close(self._folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_present(self) -> None:
        """Raise ValueError unless the path is free or a regular file: a device or a link must not be replaced."""
        try:
            mode = os.stat(self._path.name or ".", dir_fd=self._folder, follow_symlinks=False).st_mode
        except FileNotFoundError:
            return
        if stat.S_ISDIR(mode):
            raise ValueError("is a folder; name the file to write in it")
        if not stat.S_ISREG(mode):
            raise ValueError("is a symbolic link or no regular file; name a regular file")

    def _created(self) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(self._new, flags, _MODE, dir_fd=self._folder)

    def _what(self, error: OSError | ValueError) -> str:
        why = f"can't be written: {error.strerror}" if isinstance(error, OSError) else str(error)
        return f"{self._option} {self._path}: {why}"

    def _refused(self, error: OSError | ValueError) -> UsageError:
        return UsageError(
            self._what(error), cure="name a file in a folder that you may write to, on a disk with free space"
        )


def _refuse_links(path: Path) -> None:
    """Raise ValueError if another user's symbolic link is on the way to the file."""
    for folder in path.absolute().parents:
        found = folder.lstat()
        if stat.S_ISLNK(found.st_mode) and found.st_uid not in {0, os.geteuid()}:
            raise ValueError(f"{folder} is a symbolic link of another user, which is not followed")
