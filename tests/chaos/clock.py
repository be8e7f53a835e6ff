"""The clock of a round: the controller ticks at each exchange with a host. Events happen at a tick, or some time after it.

Seconds since the start would not do: a busy machine takes three times as long, and a seed would no longer repeat a round.
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
    """A number of seconds after the start of an exchange with a host. The first exchange is number 1."""

    exchange: int
    seconds: float

    def __str__(self) -> str:
        return f"exchange {self.exchange} + {self.seconds:.2f} s"


def ticks(path: str) -> None:
    """Make this process write a byte to a named pipe at each exchange with a host, and lead its own process group."""
    from provisioner.transport.channels import Channels

    os.setpgid(0, 0)
    pipe = os.open(path, os.O_WRONLY)
    session, forward = Channels.session, Channels.forward

    def ticking(method: Callable[..., object]) -> Callable[..., object]:
        def called(*words: object, **named: object) -> object:
            os.write(pipe, b".")
            return method(*words, **named)

        return called

    Channels.session, Channels.forward = ticking(session), ticking(forward)  # type: ignore[method-assign]


class Clock:
    """Counts the ticks of a process that calls `ticks`. Create it before the process starts."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self._pipe = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self._path = path
        self._changed = threading.Condition()
        self.exchanges = 0
        self._over = False
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def start(self) -> None:
        """Start counting. Call this when the process has been started."""
        self._thread.start()

    def end(self) -> None:
        """Stop counting, and wake up all waiters. Call this when the process has ended."""
        with self._changed:
            self._over = True
            self._changed.notify_all()
        if self._thread.ident:
            self._thread.join()
        os.close(self._pipe)
        self._path.unlink()

    def wait_for(self, moment: Moment) -> bool:
        """Wait for a moment. Returns False if the process ends before it."""
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
