"""The moments of a controller: it ticks at each exchange with a host, and whoever listens acts on a tick, or some time after it.

Seconds since its start are no moments: on a busy machine a run takes three times as long, and a seed would mean another one.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True)
class Moment:
    """So many seconds after the n-th exchange with a host has begun; 1 is the first."""

    exchange: int
    seconds: float

    def __str__(self) -> str:
        return f"exchange {self.exchange} + {self.seconds:.2f} s"


def ticks(path: str) -> None:
    """This process tells each exchange with a host by one byte into a named pipe. It is the first of its process group."""
    from provisioner.transport.channels import Channels

    os.setpgid(0, 0)
    pipe = os.open(path, os.O_WRONLY)
    session, forward = Channels.session, Channels.forward

    def told(method: Callable[..., object]) -> Callable[..., object]:
        def called(*words: object, **named: object) -> object:
            os.write(pipe, b".")
            return method(*words, **named)

        return called

    Channels.session, Channels.forward = told(session), told(forward)  # type: ignore[method-assign]


class Clock:
    """Listens to a process that `ticks`, from before its start to its end."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self._pipe = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self._path = path
        self._changed = threading.Condition()
        self.exchanges = 0
        self._over = False
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def start(self) -> None:
        """Once the process is being started."""
        self._thread.start()

    def end(self) -> None:
        """The process is over: nobody waits any more."""
        with self._changed:
            self._over = True
            self._changed.notify_all()
        if self._thread.ident:
            self._thread.join()
        os.close(self._pipe)
        self._path.unlink()

    def comes(self, moment: Moment) -> bool:
        """Waits for it. False: the process has ended before."""
        with self._changed:
            self._changed.wait_for(lambda: self._over or self.exchanges >= moment.exchange)
            until = time.monotonic() + moment.seconds
            return not self._over and not self._changed.wait_for(lambda: self._over, until - time.monotonic())

    def _listen(self) -> None:
        while not self._over:
            try:
                got = len(os.read(self._pipe, 4096))
            except BlockingIOError:
                got = 0
            if got:
                with self._changed:
                    self.exchanges += got
                    self._changed.notify_all()
            else:
                time.sleep(0.002)
