"""What backends give to the layers above: files, a server's service, what an engine waits for, an uploaded program."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from provisioner.model import Action

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path


def digest(text: str) -> str:
    """The SHA-256 sum of a file's text; "" of none."""
    return hashlib.sha256(text.encode()).hexdigest() if text else ""


def sums(files: Iterable[File]) -> str:
    """As sha256sum tells of them."""
    return "".join(f"{digest(file.text)}  {file.path}\n" for file in files)


@dataclass(frozen=True)
class File:
    """A file on a host. `owner` as chown takes it.

    takes: how the running server takes it up, of a secret file: RESTART, RELOAD, or WRITE where it needs nothing.
    """

    path: str
    text: str = field(repr=False)
    mode: str = "0644"
    owner: str = "root:root"
    takes: Action = Action.WRITE


@dataclass(frozen=True)
class Service:
    """A store's server (or agent) on one host: its unit, its files, the folders that it keeps its data in.

    folders: path -> mode; they belong to `user`. home: that of the user. secrets: files whose contents are never shown.
    gone: files that are there and must go. guarded: folders that `user` may read and root alone may write, parents first.
    """

    unit: str
    user: str
    home: str
    files: tuple[File, ...]
    folders: Mapping[str, str]
    secrets: tuple[File, ...] = ()
    gone: tuple[str, ...] = ()
    guarded: tuple[str, ...] = ()


@dataclass(frozen=True)
class Uploaded:
    """A program that comes from the controller: `source` there (it may be an archive), `remote` on hosts.

    program: gives the program itself, taken out of its archive, and its SHA-256 sum. Raises ProvisionerError.
    """

    source: Path
    remote: str
    program: Callable[[], tuple[Path, str]]


@dataclass(frozen=True)
class Waiting:
    """How a host waits for the store's leader before its engine starts.

    command: exits with 0 when there is one; plain words, tried once a second. files: path -> text of what it needs. unit: to be started first.
    through: unit -> its files, of what runs on the host for the engine to reach the store through.
    """

    command: str
    files: Mapping[str, str]
    unit: str
    through: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
