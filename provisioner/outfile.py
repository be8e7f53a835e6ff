"""Files that a user asks for: opened before the work begins, safely also in folders where other users can write."""

from __future__ import annotations

import os
import re
import secrets
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO, Self

from provisioner.errors import ProvisionerError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

_ROOM = 1 << 20  # bytes that are reserved at the beginning, so that a full disk is found before the work
_MODE = 0o600  # reports name addresses, rules and versions
_CURE = "name a file in a folder that you may write to, on a disk with free space"
_LOGGED = re.compile(rb"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{8,12}Z ")  # how each line of a log begins
_NEW = os.O_CREAT | os.O_EXCL


class Folder:
    """A folder that is opened once, by its name. Nothing in it is followed. Its methods raise OSError."""

    def __init__(self, path: Path) -> None:
        """Open it. Raises OSError, and ValueError if another user's symbolic link is on the way."""
        _refuse_links(path)
        self.descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def open(self, name: str, flags: int) -> int:
        """Open a file in it, and return the descriptor. A new one is readable by its owner alone."""
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE, dir_fd=self.descriptor)

    def check(self, name: str) -> bool:
        """Return whether the file exists. Raises ValueError if it is not a regular one: a device or a link must not be replaced."""
        try:
            mode = os.stat(name or ".", dir_fd=self.descriptor, follow_symlinks=False).st_mode
        except FileNotFoundError:
            return False
        if stat.S_ISDIR(mode):
            raise ValueError("is a folder; name the file to write in it")
        if not stat.S_ISREG(mode):
            raise ValueError("is a symbolic link or no regular file; name a regular file")
        return True

    def close(self) -> None:
        with suppress(OSError):
            os.close(self.descriptor)


class Draft:
    """A new file with a hidden name. It gets its own name when it is complete; without one, `close` removes it.

    file: receives the contents. Its methods raise OSError.
    """

    def __init__(self, folder: Path) -> None:
        """Create it, and reserve some space. Raises OSError, ValueError."""
        self.folder = Folder(folder)
        self._name = f".provisioner-{secrets.token_hex(8)}.new"
        try:
            self.file: BinaryIO = os.fdopen(self.folder.open(self._name, os.O_RDWR | _NEW), "w+b")
        except OSError:
            self.folder.close()
            raise
        try:
            os.posix_fallocate(self.file.fileno(), 0, _ROOM)
        except OSError:
            self.close()
            raise

    def complete(self) -> int:
        """Write all of it to the disk. Returns its size in bytes."""
        size = self.file.tell()
        self.file.truncate(size)
        self.file.flush()
        os.fsync(self.file.fileno())
        return size

    def replace(self, name: str) -> None:
        """Give it a name; an existing file is replaced."""
        folder = self.folder.descriptor
        os.replace(self._name, name, src_dir_fd=folder, dst_dir_fd=folder)

    def link(self, name: str) -> None:
        """Give it a name. Raises FileExistsError."""
        folder = self.folder.descriptor
        os.link(self._name, name, src_dir_fd=folder, dst_dir_fd=folder)

    def close(self) -> None:
        with suppress(OSError):
            self.file.close()
        with suppress(OSError):
            os.unlink(self._name, dir_fd=self.folder.descriptor)
        self.folder.close()


class OutFile:
    """A file to write as a whole. Until then, an existing file stays as it is.

    Use it as a context manager: without `write`, nothing is left.
    """

    def __init__(self, path: Path, option: str) -> None:
        """Create a draft of it. option: the one that named the path, for errors. Raises UsageError if it can't be written."""
        self._path, self._option = path, option
        try:
            self._draft = Draft(path.parent)
        except (OSError, ValueError) as error:
            raise UsageError(self._what(error), cure=_CURE) from None
        try:
            self._draft.folder.check(path.name)
            self.place = _place(self._draft.folder, path)
        except (OSError, ValueError) as error:
            self._draft.close()
            raise UsageError(self._what(error), cure=_CURE) from None

    def write(self, contents: bytes) -> None:
        """Write the whole contents. Raises ProvisionerError; the former file is then unchanged."""
        try:
            self._draft.file.write(contents)
            self._draft.complete()
            self._draft.replace(self._path.name)
        except OSError as error:
            raise ProvisionerError(f"{self._what(error)}; the file is left as it was", cause="usage") from None

    def close(self) -> None:
        """Close the file. If it was not written, remove the draft."""
        self._draft.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _what(self, error: OSError | ValueError) -> str:
        return f"{self._option} {self._path}: {_why(error)}"


class LogFile:
    """A file that grows while the run works, so that it is complete whenever the run ends. An existing one is continued."""

    def __init__(self, path: Path, option: str) -> None:
        """Create or continue it. option: the one that named the path, for errors. Raises UsageError if it can't be written."""
        self.named = f"{option} {path}"
        try:
            folder = Folder(path.parent)
            try:
                self.place = _place(folder, path)
                self._descriptor = _continued(folder, path.name)
            finally:
                folder.close()
        except (OSError, ValueError) as error:
            raise UsageError(f"{self.named}: {_why(error)}", cure=_CURE) from None

    def write(self, data: bytes) -> None:
        """Write it at once. Raises OSError."""
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]

    def close(self) -> None:
        with suppress(OSError):
            os.close(self._descriptor)


def _continued(folder: Folder, name: str) -> int:
    """Open a file to append to it. Raises OSError, and ValueError for a file of another kind, or one that others can read."""
    flags = os.O_RDWR | os.O_APPEND
    if not folder.check(name):
        return folder.open(name, flags | _NEW)
    descriptor = folder.open(name, flags | os.O_NONBLOCK)  # it may have become a pipe, whose opening would wait
    found = os.fstat(descriptor)
    for refused, why in (
        (not stat.S_ISREG(found.st_mode), "is no regular file"),
        (found.st_uid != os.geteuid(), "belongs to another user"),
        (found.st_nlink != 1, "has a second name (a hard link)"),
        (found.st_mode & 0o077, "can be read or changed by other users (chmod 600 prevents that)"),
        (found.st_size and not _LOGGED.match(os.read(descriptor, 32)), "is no log of provisioner"),
    ):
        if refused:
            os.close(descriptor)
            raise ValueError(f"{why}, so nothing is appended to it")
    return descriptor


def _place(folder: Folder, path: Path) -> tuple[int, int, str]:
    """Equal for two paths of the same file."""
    found = os.fstat(folder.descriptor)
    return found.st_dev, found.st_ino, path.name


def _why(error: OSError | ValueError) -> str:
    return f"can't be written: {error.strerror}" if isinstance(error, OSError) else str(error)


def _refuse_links(path: Path) -> None:
    """Raise ValueError if another user's symbolic link is on the way to a folder."""
    for folder in (path.absolute(), *path.absolute().parents):
        found = folder.lstat()
        if stat.S_ISLNK(found.st_mode) and found.st_uid not in {0, os.geteuid()}:
            raise ValueError(f"{folder} is a symbolic link of another user, which is not followed")
