"""A person at a pseudo-terminal, who answers the questions of a command."""

from __future__ import annotations

import os
import pty
import sys
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.cluster import Cluster, Run

QUESTION = "[y/N] "


def asked(
    cluster: Cluster, command: str, *answers: tuple[str, Callable[[], object]], options: tuple[str, ...] = ()
) -> tuple[Run, str]:
    """Run a command on a terminal. answers: what is typed at each question, and what happens first. A further question is answered with no.

    Returns the run, and everything that the terminal showed.
    """
    person, terminal = pty.openpty()
    os.set_blocking(person, False)
    process = cluster.begin(command, *options, before=[partial(_sit_down, os.ttyname(terminal))])
    text, questions = "", 0
    until = time.monotonic() + 240
    while process.returncode is None:
        assert time.monotonic() < until, text
        text += _read(person)
        if text.count(QUESTION) > questions:
            word, first = answers[questions] if questions < len(answers) else ("n", lambda: None)
            questions += 1
            first()
            os.write(person, f"{word}\n".encode())
        time.sleep(0.05)
    text += _read(person)
    os.close(person)
    os.close(terminal)
    return cluster.ended(process), text


def _sit_down(path: str) -> None:
    """Make a terminal the standard input and error of this process."""
    terminal = os.open(path, os.O_RDWR | os.O_NOCTTY)
    os.dup2(terminal, 0)
    os.dup2(terminal, 2)
    sys.stdin = os.fdopen(0, closefd=False)  # multiprocessing has given it another file


def _read(person: int) -> str:
    found = b""
    with suppress(BlockingIOError, OSError):
        while data := os.read(person, 65536):
            found += data
    return found.decode(errors="replace")
