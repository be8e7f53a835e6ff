"""One live connection to one host, and what can be done over it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.errors import CommandFailed, TimedOut
from provisioner.transport import script as scripts
from provisioner.transport.network import hang_up
from provisioner.transport.process import Deadline, Process

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Container

    import paramiko

    from provisioner.model import Result, SshTarget

_UNHURRIED = 0.9  # of a write's deadline may be spent waiting for another write


class Connection:
    """One live SSH connection to one host, made by `connect`.

    Scripts are POSIX sh and run as root where the user is root or may become it without a password (sudo -n). They
    begin in / with LC_ALL=C, umask 022 and a PATH with the sbin folders. A first line that is a comment names the
    script in errors; nothing else of it is ever shown, since it may hold secrets. One thread at a time may call; what
    `stream` and `socket` give may be used beside it.
    """

    def __init__(
        self,
        target: SshTarget,
        transport: paramiko.Transport,
        sock: socket.socket,
        before_write: Callable[[str], None] | None = None,
        on_write: Callable[[str], None] | None = None,
    ) -> None:
        self.target = target
        self.name = target.name
        self._transport = transport
        self._sock = sock
        self._before_write = before_write
        self._on_write = on_write
        self._writes = 0
        self._lock: Process | None = None

    @property
    def writes(self) -> int:
        """How many write() and upload() calls went out."""
        return self._writes

    def read(self, script: str, *, deadline: float = 30.0, accept: Container[int] = (0,)) -> Result:
        """Run a script that changes nothing. `deadline` in seconds; `accept`: the exit codes that are no failure.

        Raises CommandFailed, TimedOut (the script is ended on the host, as far as sshd can), Unreachable, Refused.
        """
        until = Deadline(deadline)
        process = Process(self._transport, self.name, _tried(script, "reading"), until)
        try:
            process.start(scripts.reading(script), until, last=True)
            process.wait(until)
        except TimedOut:
            process.kill()
            raise
        return self._accepted(process, script, accept)

    def write(
        self, script: str, *, deadline: float = 60.0, accept: Container[int] = (0,), stdin: bytes = b""
    ) -> Result:
        """Run a script that changes the host: as root, alone among the writes there, and to its end.

        Once it has begun it goes on without us, if the connection breaks or the deadline is over; a script that still
        waits for another's write does not begin any more then. `stdin` (at most 4 MiB) is the script's standard input,
        descriptor 0; it is part of what is sent before anything runs, so it is never read in half, and it is in no
        argv and no file. `deadline` in seconds, waiting for other writes included.

        Raises CommandFailed, TimedOut, Unreachable, Refused (not root, flock missing) and Locked.
        """
        self._before()
        until = Deadline(deadline)
        process = Process(self._transport, self.name, _tried(script, "writing"), until)
        try:
            process.start(scripts.writing(script, stdin, deadline * _UNHURRIED), until, last=True)
            process.wait(until)
        except TimedOut as error:
            began = process.started()
            process.close()
            error.cure = (
                "it goes on to its end on the host; run the same command again after that"
                if began
                else ("nothing was changed by it: it had not begun")
            )
            raise
        result = self._accepted(process, script, accept)
        self._after()
        return result

    def close(self) -> None:
        """Close everything. What write() left running goes on; locks are released."""
        hang_up(self._sock, self._transport)

    def _before(self) -> None:
        if self._before_write:
            self._before_write(self.name)
        self._writes += 1

    def _after(self) -> None:
        if self._on_write:
            self._on_write(self.name)

    def _accepted(self, process: Process, script: str, accept: Container[int]) -> Result:
        result = process.result()
        if result.code not in accept:
            raise CommandFailed(f"exit code {result.code}", result, host=self.name, tried=_tried(script, "running"))
        return result


def _tried(script: str, otherwise: str) -> str:
    return scripts.name_of(script) or f"{otherwise}: an unnamed script"
