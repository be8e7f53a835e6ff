"""The values that backends return: files, services, what an engine waits for, uploaded programs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from provisioner.model import Action

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path


def digest(text: str) -> str:
    """Return the SHA-256 sum of a file's text; "" if it is empty."""
    return hashlib.sha256(text.encode()).hexdigest() if text else ""


def sums(files: Iterable[File]) -> str:
    """Return the sums of files in the format of sha256sum."""
    return "".join(f"{digest(file.text)}  {file.path}\n" for file in files)


@dataclass(frozen=True)
class File:
    """A file on a host. owner: USER:GROUP, as for chown.

    takes: what makes the running server use a changed secret file: RESTART, RELOAD, or WRITE if nothing is needed.
    """

    path: str
    text: str = field(repr=False)
    mode: str = "0644"
    owner: str = "root:root"
    takes: Action = Action.WRITE


@dataclass(frozen=True)
class Service:
    """A store's server (or agent) on one host: its unit, files and data folders.

    home: the home of `user`. folders: path -> mode; they belong to `user`.
    secrets: files whose contents are never shown. gone: existing files to remove.
    guarded: folders that `user` may read and only root may write, parents first.
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
    """A program that is uploaded from the controller.

    source: its path on the controller; may be an archive. remote: its path on hosts.
    program: unpacks it if needed; returns its path and SHA-256 sum. Raises ProvisionerError.
    """

    source: Path
    remote: str
    program: Callable[[], tuple[Path, str]]


@dataclass(frozen=True)
class Waiting:
    """How a host waits for the store's leader before its engine starts.

    command: exits with 0 if there is a leader; without shell syntax, run once a second.
    files: path -> text of the files that it needs. unit: the unit to start before.
    through: unit -> its files, of a proxy to the store that runs on the host.
    """

    command: str
    files: Mapping[str, str]
    unit: str
    through: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
