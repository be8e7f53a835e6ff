"""The findings of an importer in another tool's files: unchecked strings, and notes on what an inventory can't express."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from provisioner.errors import InventoryError
from provisioner.inventory import document as yaml
from provisioner.inventory import foreign
from provisioner.inventory.problems import escaped, invalid


@dataclass(frozen=True, slots=True)
class EngineStore:
    """The external store of an engine, from its flags: cluster-store, and the pairs of cluster-store-opt."""

    url: str
    options: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine. "" means that the tool does not name a value. The strings are not checked yet.

    key, known_hosts: paths, absolute or starting with `~`. host_keys: the inventory's value. left_out: why the machine can't be
    a host. addresses: its other known addresses. store: the store of its engine.
    notes: what could not be imported, each with its reason and what to do.
    """

    name: str
    address: str = ""
    port: str = ""
    user: str = ""
    key: str = ""
    jump: str = ""
    advertise: str = ""
    host_keys: str = ""
    known_hosts: str = ""
    left_out: str = ""
    notes: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    store: EngineStore | None = None

    def noting(self, *notes: str) -> Machine:
        return replace(self, notes=(*self.notes, *notes))


@dataclass(frozen=True, slots=True)
class Found:
    """Everything found in a tool's files. notes: about the files, not single machines. advertise: for all machines, if known."""

    machines: tuple[Machine, ...]
    notes: tuple[str, ...] = ()
    advertise: str = ""


def cant(path: Path | str, text: str, line: int = 0) -> InventoryError:
    """An error about a source: `path:line: text`, exit code 64."""
    name = escaped(str(path))
    return InventoryError(name, (f"{name}:{line}: {text}" if line else f"{name}: {text}",))


def text_of(path: Path) -> str:
    """A file's text, at most 1 MiB of UTF-8. Raises InventoryError."""
    document = yaml.Document()
    text = yaml.text_of(path, document)
    if text is None:
        raise invalid(path, document.problems)
    return text


def decoded(stream: IO[bytes], name: str) -> str:
    """The content of a stream, at most 1 MiB of UTF-8. Raises InventoryError."""
    document = yaml.Document()
    text = yaml.decoded(stream.read(yaml.LARGEST_FILE + 1), document)
    if text is None:
        raise invalid(name, document.problems)
    return text


def stopped(path: Path | str, text: str, line: int, why: str) -> InventoryError:
    """An error about an invalid line. Its content is not shown, because it may be a secret."""
    return cant(path, f"{why}; the import stops here{foreign.looks_like(text)}", line)


def is_there(path: str) -> bool:
    """Whether a path of another tool is an ordinary file; `~` is the user's home."""
    try:
        return Path(path).expanduser().is_file()
    except (OSError, RuntimeError, ValueError):  # too long, no such home, NUL
        return False


def is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def unlistable(path: Path) -> InventoryError | None:
    """The error about a folder whose entries can't be listed; None if they can, or if there is no such folder."""
    try:
        os.scandir(path).close()
    except PermissionError as error:
        return cant(path, f"can't be read: {error.strerror}")
    except OSError:
        pass
    return None


def only(found: Found, patterns: tuple[str, ...]) -> Found:
    """The machines whose name matches one of the patterns (`*`, `?`, `[...]`); without patterns, all."""
    from fnmatch import fnmatchcase

    if not patterns:
        return found
    chosen = tuple(m for m in found.machines if any(fnmatchcase(m.name, pattern) for pattern in patterns))
    return replace(found, machines=chosen)
