"""Records the arguments of every program that this machine and the lab's hosts start, from the kernel's process events.

Polling /proc misses programs that live for a few milliseconds. The kernel reports each exec (Documentation/driver-api/connector.rst,
include/uapi/linux/cn_proc.h) before the new program runs its first instruction. Each processor has a watcher, bound to it with
real-time priority. The scheduler runs the watcher before the new program, so it can read /proc/PID/cmdline in time. Late reads
are counted, and so are events that the kernel dropped.
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_CONNECTOR, _PROC, _DONE = 11, 1, 3  # NETLINK_CONNECTOR, CN_IDX_PROC and CN_VAL_PROC, NLMSG_DONE
_LISTEN, _EXEC = 1, 0x2  # PROC_CN_MCAST_LISTEN, PROC_EVENT_EXEC
_RCVBUFFORCE, _BUFFER = 33, 32 << 20  # socket(7); bytes
_HEADERS = struct.Struct("=IHHII" + "IIIIHH")  # struct nlmsghdr, struct cn_msg
_EVENT = struct.Struct("=IIQii")  # struct proc_event: what, cpu, time; process_pid, process_tgid
_LONGEST = 4 << 20  # bytes of arguments, well above what execve(2) takes by default


@dataclass
class Execs:
    """The programs that were started.

    missed: programs that ended before their arguments were read. lost: events that the kernel dropped.
    """

    arguments: set[str] = field(default_factory=set)
    count: int = 0
    missed: int = 0
    lost: int = 0

    def holding(self, words: set[str]) -> list[str]:
        """The first characters of each of `words` that appeared in an argument. Fails if the watch was incomplete."""
        assert self.count > 0
        assert (self.missed, self.lost) == (0, 0), (
            f"{self.missed} of {self.count} programs were missed; {self.lost} events were lost"
        )
        return sorted(word[:8] for word in words if any(word in arguments for arguments in self.arguments))


@contextmanager
def execs() -> Iterator[Execs]:
    """Watch all programs that start while the block runs. The result is filled in when the block ends."""
    found = Execs()
    with ExitStack() as stack:
        watchers = []
        for processor in sorted(os.sched_getaffinity(0)):
            command = [sys.executable, __file__, str(processor)]
            watcher = stack.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            stack.callback(watcher.kill)
            assert watcher.stdout.readline() == "watching\n", "no process events: this needs root outside of containers"
            watchers.append(watcher)
        yield found
        for watcher in watchers:
            seen = Execs(**json.loads(watcher.communicate(timeout=60)[0]))
            found.arguments |= set(seen.arguments)
            found.count, found.missed, found.lost = (
                found.count + seen.count,
                found.missed + seen.missed,
                found.lost + seen.lost,
            )


def _listen() -> socket.socket:
    events = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _CONNECTOR)
    events.setsockopt(socket.SOL_SOCKET, _RCVBUFFORCE, _BUFFER)
    events.bind((0, _PROC))
    # Linux before 6.6 ignores the second message, which has a filter.
    for body in (struct.pack("=I", _LISTEN), struct.pack("=II", _LISTEN, _EXEC)):
        events.send(
            _HEADERS.pack(_HEADERS.size + len(body), _DONE, 0, 0, os.getpid(), _PROC, _PROC, 0, 0, len(body), 0) + body
        )
    return events


def _watch(events: socket.socket, until: int, processor: int) -> Execs:
    """Read the events of one processor until `until` is closed. This must be fast: a program such as `true` lives for 0.4 ms."""
    seen, read = Execs(), set[bytes]()
    ready = select.poll()
    ready.register(events, select.POLLIN)
    ready.register(until, select.POLLHUP)
    while True:
        try:
            data = events.recv(4096, socket.MSG_DONTWAIT)
        except BlockingIOError:
            if ready.poll()[0][0] == until:
                seen.arguments = {each.decode(errors="replace") for each in read}
                return seen
            continue
        except OSError:  # ENOBUFS
            seen.lost += 1
            continue
        what, where, _, _, process = _EVENT.unpack_from(data, _HEADERS.size)
        if (what, where) == (_EXEC, processor):
            arguments = _arguments(process)
            seen.count += 1
            seen.missed += not arguments
            read.add(arguments)


def _arguments(process: int) -> bytes:
    try:
        file = os.open(b"/proc/%d/cmdline" % process, os.O_RDONLY)
    except OSError:
        return b""
    try:
        return os.read(file, _LONGEST)
    except OSError:
        return b""
    finally:
        os.close(file)


def main(processor: int) -> None:
    os.sched_setaffinity(0, {processor})
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    events = _listen()
    print("watching", flush=True)
    seen = _watch(events, sys.stdin.fileno(), processor)
    json.dump({**vars(seen), "arguments": sorted(seen.arguments)}, sys.stdout)


if __name__ == "__main__":
    main(int(sys.argv[1]))
