"""Records what happens to a file on hosts of a lab, by inotify(7). Unlike polling, this misses no change."""

from __future__ import annotations

import ctypes
import os
import struct
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provisioner.lab import Lab

REPLACED = "replaced by a whole file"
_KINDS = {0x002: "written in place", 0x040: "moved away", 0x080: REPLACED, 0x100: "created empty", 0x200: "removed"}
_EVENT = struct.Struct("iIII")  # followed by a name, whose length in bytes is the last number


@contextmanager
def file_events(lab: Lab, path: str) -> Iterator[dict[str, set[str]]]:
    """Yield a dict of host -> kinds of events of the file, filled in when the block ends. Creates the file's folder."""
    folder, _, name = path.rpartition("/")
    events: dict[str, set[str]] = {host: set() for host in lab.hosts}
    libc = ctypes.CDLL(None, use_errno=True)
    queue = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    assert queue >= 0, os.strerror(ctypes.get_errno())
    try:
        watches = dict[int, str]()
        for host in lab.hosts:
            lab.exec(host, ["mkdir", "-p", folder])
            seen = f"/proc/{lab._host(host).init}/root{folder}"
            watches[libc.inotify_add_watch(queue, seen.encode(), sum(_KINDS))] = host
        assert min(watches) > 0, os.strerror(ctypes.get_errno())
        yield events
        with suppress(BlockingIOError):  # the queue is empty
            while True:
                for watch, mask, what in _parse(os.read(queue, 1 << 16)):
                    if what == name:
                        events[watches[watch]] |= {kind for bit, kind in _KINDS.items() if mask & bit}
    finally:
        os.close(queue)


def _parse(data: bytes) -> Iterator[tuple[int, int, str]]:
    at = 0
    while at < len(data):
        watch, mask, _, size = _EVENT.unpack_from(data, at)
        at += _EVENT.size + size
        yield watch, mask, data[at - size : at].rstrip(b"\0").decode()
