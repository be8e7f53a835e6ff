"""A process of `provisioner` that is killed (SIGKILL) at a moment."""

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
    """This process is going to be killed.

    when: "answered": right after a host has answered the n-th write. "sent": when the n-th write is about to go out, a moment
    later, so that the host may or may not have begun with it. "requested": right after a store has answered the n-th request
    that changes it, locks included. Or a step's name: when that step begins for the n-th time, whatever was written before.
    """
    numbers = itertools.count(1)
    connect_all, tell, requested = session.connect_all, session.Session.tell, Connection.changing

    def kill() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def wrote(_: str) -> None:
        if next(numbers) == count:
            if when == "answered":
                kill()
            threading.Timer(0.03, kill).start()

    def told(own: session.Session, event: Event) -> None:
        if isinstance(event, PhaseBegan) and event.name == when and next(numbers) == count:
            kill()
        tell(own, event)

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
        session.Session.tell = told
