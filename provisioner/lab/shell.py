"""Runs commands on the machine, each with a deadline, and with errors that say what was tried."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import time
from typing import TYPE_CHECKING

from provisioner.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

Answer = subprocess.CompletedProcess[str]


def record(path: Path, text: str) -> None:
    """Write a file of a lab as a whole: a process that is killed, or a full disk, leaves the former one or none. Raises OSError."""
    draft = path.with_name(f".{path.name}.new")
    draft.write_text(text)
    draft.replace(path)


def communicate(argv: Sequence[str], *, timeout: float, stdin: str | None = None) -> Answer:
    """Run `argv` and collect its output. After `timeout` seconds, the command and its children are killed.

    Raises subprocess.TimeoutExpired and OSError.
    """
    with subprocess.Popen(
        argv,
        stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate(stdin, timeout=timeout)
        except BaseException:
            # The group, not only the process: nsenter's child is in other namespaces and would survive.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(list(argv), process.returncode, out, err)


def run(argv: Sequence[str], *, timeout: float = 20, stdin: str | None = None, host: str = "", what: str = "") -> str:
    """Run a command on the machine and return its stdout.

    Raises LabError, with `what` as its first line, if the command fails or takes more than `timeout` seconds.
    """
    tried = shlex.join(argv)
    try:
        answer = communicate(argv, timeout=timeout, stdin=stdin)
    except subprocess.TimeoutExpired:
        raise LabError(what or f"the command did not end within {timeout:.0f} s", host=host, tried=tried) from None
    except OSError as error:
        raise LabError(what or "the command can't be started", host=host, tried=tried, answer=str(error)) from error
    if answer.returncode != 0:
        text = answer.stderr or answer.stdout or f"exit code {answer.returncode}"
        raise LabError(what or "a command of the machine failed", host=host, tried=tried, answer=text)
    return answer.stdout


def wait_for(ready: Callable[[], bool], *, timeout: float) -> bool:
    """Call `ready` at short, growing intervals (10 to 100 ms) for `timeout` seconds. Returns whether it became true."""
    deadline = time.monotonic() + timeout
    pause = 0.01
    while not ready():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
        pause = min(pause * 1.3, 0.1)
    return True


def mounts_under(folder: Path) -> list[str]:
    """Mount points in `folder` that this process sees, the innermost first."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:  # noqa: PTH123
        points = [line.split()[4] for line in table]
    return [point for point in reversed(points) if point == str(folder) or point.startswith(f"{folder}/")]


def remove_tree(folder: Path) -> None:
    """Remove a folder of the lab. Mounts in it are unmounted first, so that their content is not removed."""
    for last_try in (False, False, True):
        for point in mounts_under(folder):
            run(["umount", "--lazy", point])
        try:
            run(["rm", "-rf", "--one-file-system", "--", str(folder)], timeout=120)
        except LabError:
            # The last commands of a killed process may still have been writing there.
            if last_try:
                raise
            time.sleep(0.1)
        else:
            return
