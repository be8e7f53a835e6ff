"""What befalls a file on hosts of a lab, as the kernel tells it, see inotify(7): nothing is missed, as it is between two looks."""

from __future__ import annotations

import ctypes
import os
import struct
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provisioner.lab import Lab

_TOLD = {0x002: "written in place", 0x040: "moved away", 0x080: "put whole", 0x100: "made empty", 0x200: "removed"}
_EVENT = struct.Struct("iIII")  # and a name of as many bytes as the last number says


@contextmanager
def befalling(lab: Lab, path: str) -> Iterator[dict[str, set[str]]]:
    """By host, what has befallen the file; filled in where the block ends. Its folder is made where there is none."""
    folder, _, name = path.rpartition("/")
    befell: dict[str, set[str]] = {host: set() for host in lab.hosts}
    libc = ctypes.CDLL(None, use_errno=True)
    queue = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    assert queue >= 0, os.strerror(ctypes.get_errno())
    try:
        watches = dict[int, str]()
        for host in lab.hosts:
            lab.exec(host, ["mkdir", "-p", folder])
            seen = f"/proc/{lab._host(host).init}/root{folder}"
            watches[libc.inotify_add_watch(queue, seen.encode(), sum(_TOLD))] = host
        assert min(watches) > 0, os.strerror(ctypes.get_errno())
        yield befell
        with suppress(BlockingIOError):  # all are read
            while True:
                for watch, mask, what in _events(os.read(queue, 1 << 16)):
                    if what == name:
                        befell[watches[watch]] |= {told for bit, told in _TOLD.items() if mask & bit}
    finally:
        os.close(queue)


def _events(data: bytes) -> Iterator[tuple[int, int, str]]:
    at = 0
    while at < len(data):
        watch, mask, _, size = _EVENT.unpack_from(data, at)
        at += _EVENT.size + size
        yield watch, mask, data[at - size : at].rstrip(b"\0").decode()
