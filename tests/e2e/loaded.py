"""Runs `provisioner` in a fork of a process that has already imported it (multiprocessing's forkserver).

Starting Python and importing everything costs 0.4 s of CPU, and the tests run some 250 commands. The installed command itself
is tested by what people start: scripts/demo, the lab's commands, Vagrant's trigger.
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
    """The part of subprocess.Popen that the tests use. The new process calls each of `before`; they must be picklable."""

    def __init__(
        self, arguments: Sequence[str], before: Sequence[Callable[[], object]] = (), log: Path | None = None
    ) -> None:
        self.arguments, self.log = list(arguments), log
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
        """Wait for the end and return stdout and stderr. Raises subprocess.TimeoutExpired after `timeout` seconds."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self.arguments, timeout or 0)
        out, err = (Path(self._folder.name, name) for name in ("1", "2"))  # absent if it was killed before opening them
        return (out.read_text() if out.exists() else "", err.read_text() if err.exists() else "")

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self._process.kill()


def _run(arguments: list[str], folder: str, environment: dict[str, str], before: list[Callable[[], object]]) -> None:
    """Behave like a new process `provisioner ARGUMENTS`. stdout goes to the file "1" in `folder`, stderr to "2"."""
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
