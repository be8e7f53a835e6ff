"""Exchanges lines of text with a running script."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from provisioner.errors import TransportError
from provisioner.transport.deadline import Deadline
from provisioner.transport.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provisioner.model import Result
    from provisioner.transport.command import Command
    from provisioner.transport.process import Process

_SEND = 30.0  # seconds for sending a line


class Stream:
    """One running script. Leaving the `with` block ends it. Used by one thread at a time."""

    def __init__(self, process: Process, command: Command) -> None:
        self._process = process
        self._command = command
        self._over = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._over:
            self._process.close()
        else:
            self._process.kill()
        code = self._process.code
        self._command.end("stopped", code if code >= 0 else None)

    def readline(self, timeout: float) -> str | None:
        """Return the next line of stdout without its newline, or None at the end.

        `timeout` in seconds. Raises TimedOut (the script continues, and the caller may call again), Unreachable, Refused.
        """
        deadline = Deadline(timeout)
        process = self._process
        while True:
            late = not deadline.left
            end = process.out.find(b"\n") if process.started else -1
            if end >= 0:
                return self._take(end + 1)
            if self._over:
                return self._last()
            if late:
                raise process.timed_out(deadline)
            self._over = process.pump(deadline.left)

    def lines(self, timeout: float) -> Iterator[str]:
        """Yield the lines of stdout until the end, each within `timeout` seconds. Raises the same errors as readline()."""
        while (line := self.readline(timeout)) is not None:
            yield line

    def send(self, line: str) -> None:
        """Send a line to the script's stdin. Raises Unreachable, and TransportError if the script has ended."""
        if not self._over and self._process.send(f"{line}\n".encode(), Deadline(_SEND)):
            return
        if self._process.dead():
            raise self._process.lost()
        raise TransportError(
            "the script has ended and accepts no more lines", cause="command-failed", host=self._command.host
        )

    def close_stdin(self) -> None:
        """Close the script's stdin: no more lines follow."""
        self._process.close_stdin()

    def finish(self, timeout: float) -> Result:
        """Close stdin, wait for the end, and return the exit code with the unread rest of both streams.

        `timeout` in seconds. Any exit code is accepted. Raises TimedOut, Unreachable, Refused.
        """
        self._process.close_stdin()
        self._process.wait(Deadline(timeout))
        self._over = True
        return self._process.result()

    def _take(self, size: int) -> str:
        line = clean(self._process.out[:size]).rstrip("\n")
        del self._process.out[:size]
        return line

    def _last(self) -> str | None:
        if not self._process.started or self._process.code < 0:
            self._process.result()  # raises what happened
        return self._take(len(self._process.out)) if self._process.out else None
