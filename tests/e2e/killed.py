"""`provisioner`, whose process is killed (SIGKILL) at its n-th write: `killed.py N answered|sent ARGUMENTS...`.

"answered": right after the host has answered the n-th write. "sent": when the n-th write is about to go out, a moment
later, so that the host may or may not have begun with it.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
import threading

from provisioner import cli, session

count, when = int(sys.argv[1]), sys.argv[2]
numbers = itertools.count(1)
connect_all = session.connect_all


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def wrote(_: str) -> None:
    if next(numbers) == count:
        if when == "answered":
            kill()
        threading.Timer(0.03, kill).start()


def connect(targets, **keywords):
    hook = "on_write" if when == "answered" else "before_write"
    return connect_all(targets, **{**keywords, hook: wrote})


session.connect_all = connect
sys.argv[1:] = sys.argv[3:]
cli.main()
