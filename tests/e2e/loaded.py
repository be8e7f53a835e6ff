"""`provisioner` in a process of its own that need not load it: a fork of one that has (multiprocessing's forkserver).

Python and all that a command imports cost 0.4 s of CPU, which a run of the tests would pay some 250 times. The command of its
own is run by what people start: scripts/demo, the lab's commands, Vagrant's trigger.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.e2e.preloaded"])


class Provisioner:
    """What of subprocess.Popen the tests use. `before` is called in the new process, and must be picklable."""

    def __init__(self, arguments: Sequence[str], before: Sequence[Callable[[], object]] = ()) -> None:
        self.arguments = list(arguments)
        self._folder = tempfile.TemporaryDirectory()
        self._process = _context.Process(
            target=_run, args=(self.arguments, self._folder.name, dict(os.environ), list(before))
        )
        self._process.start()

    @property
    def pid(self) -> int:
        return self._process.pid or 0

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it has written, to stdout and to stderr. Raises subprocess.TimeoutExpired if it goes on; timeout in seconds."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self.arguments, timeout or 0)
        out, err = (Path(self._folder.name, name) for name in ("1", "2"))  # not there: it was killed before
        return (out.read_text() if out.exists() else "", err.read_text() if err.exists() else "")

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self._process.kill()


def _run(arguments: list[str], folder: str, environment: dict[str, str], before: list[Callable[[], object]]) -> None:
    """As if `provisioner ARGUMENTS` were begun anew, its output in files named as their numbers."""
    from provisioner import cli

    for number in range(3):
        opened = os.open(f"{folder}/{number}" if number else os.devnull, os.O_RDWR | os.O_CREAT)
        os.dup2(opened, number)
        os.close(opened)
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["provisioner", *arguments]
    atexit._clear()
    try:
        for each in before:
            each()
        cli.main()
    finally:
        atexit._run_exitfuncs()
