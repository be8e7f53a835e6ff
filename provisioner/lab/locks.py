"""Locks on folders. A lock ends with its process, however the process ends, and leaves no file behind."""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING

from provisioner.lab.shell import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def held(folder: Path, *, timeout: float) -> Iterator[bool]:
    """Hold the lock of `folder`; yield false if another process holds it for `timeout` seconds."""
    # Closed on exec, so that hosts and servers that this process starts do not hold the lock.
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield wait_for(lambda: _try_lock(descriptor), timeout=timeout)
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
