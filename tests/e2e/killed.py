"""Makes a process of `provisioner` kill itself (SIGKILL) at a chosen moment."""

from __future__ import annotations

import itertools
import os
import signal
import threading
from contextlib import contextmanager

from provisioner.model import Event, PhaseBegan
from provisioner.runner import session
from provisioner.transport import Connection


def dies(count: int, when: str) -> None:
    """Arrange that this process is killed at the event number `count` of the kind `when`.

    when: one of
        "answered": right after a host has answered the n-th write.
        "sent": 30 ms after the n-th write is about to be sent, so that the host may or may not have started it.
        "requested": right after a store has answered the n-th request that changes it, locks included.
        a step's name: when that step begins for the n-th time.
    """
    numbers = itertools.count(1)
    connect_all, emit, requested = session.connect_all, session.Session.emit, Connection.changing

    def kill() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def wrote(_: str) -> None:
        if next(numbers) == count:
            if when == "answered":
                kill()
            threading.Timer(0.03, kill).start()

    def report(run: session.Session, event: Event) -> None:
        if isinstance(event, PhaseBegan) and event.name == when and next(numbers) == count:
            kill()
        emit(run, event)

    def connect(targets, **keywords):
        hook = "on_write" if when == "answered" else "before_write"
        return connect_all(targets, **{**keywords, hook: wrote})

    @contextmanager
    def changing(connection: Connection, **keywords):
        with requested(connection, **keywords):
            yield
        if next(numbers) == count:
            kill()

    if when in ("answered", "sent"):
        session.connect_all = connect
    elif when == "requested":
        Connection.changing = changing
    else:
        session.Session.emit = report
