"""One live connection to one host: scripts, uploads, forwarded ports and the session lock."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from provisioner.errors import Locked, TimedOut, Unreachable
from provisioner.transport import script as scripts
from provisioner.transport.channels import Channels
from provisioner.transport.command import Command
from provisioner.transport.deadline import Deadline
from provisioner.transport.forward import ForwardedSocket, relaying
from provisioner.transport.network import hang_up
from provisioner.transport.process import Process
from provisioner.transport.stream import Stream

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Container, Iterator
    from pathlib import Path

    import paramiko

    from provisioner.model import CommandBegan, CommandEnded, Result, SshTarget
    from provisioner.transport.secrets import Password

_OPEN = 30.0  # seconds for a script to start
_LOCK = 3.0  # seconds to retry a lock that is held
_CHUNK = 64 * 1024  # bytes
_GOES_ON = "it continues on the host; run the same command again when it has ended"
_UNNAMED = "running a script"
_SPARE = 10.0  # seconds of a write's deadline, at most half of it, that are reserved for the write itself


class Connection:
    """One live SSH connection to one host, created by `connect`.

    Scripts are POSIX sh. They run as root if the user is root, or may become root without a password (sudo -n) or with the one
    that a person typed. They start in / with LC_ALL=C, umask 022 and a PATH with the sbin folders. A script's first line is a comment, which errors and logs use as its
    name. Nothing else of a script is ever shown, because it may contain secrets.

    Only one thread at a time may call methods. The results of `stream` and `socket` may be used in parallel.
    """

    def __init__(
        self,
        target: SshTarget,
        transport: paramiko.Transport,
        sock: socket.socket | ForwardedSocket,
        before_write: Callable[[str], None] | None = None,
        on_write: Callable[[str], None] | None = None,
        *,
        sudo: Password | None = None,
        on_command: Callable[[CommandBegan | CommandEnded], None] | None = None,
    ) -> None:
        self.target = target
        self.name = target.name
        self._channels = Channels(transport, target.name)
        self._sock = sock
        self._before_write = before_write
        self._on_write = on_write
        self._on_command = on_command
        self._sudo = sudo if target.user != "root" else None
        self._writes = 0
        self._lock: Process | None = None

    @property
    def lost(self) -> bool:
        """Whether the connection is known to be broken."""
        return not self._channels.transport.is_active()

    @property
    def writes(self) -> int:
        """The number of write() and upload() calls that were sent, and of requests in `changing`."""
        return self._writes

    def read(self, script: str, *, deadline: float | Deadline = 30.0, accept: Container[int] = (0,)) -> Result:
        """Run a script that changes nothing. `deadline` in seconds, or a Deadline; `accept`: the exit codes that are not a failure.

        Raises CommandFailed, TimedOut (the script is then killed on the host, if sshd can do this), Unreachable, Refused.
        """
        until = deadline if isinstance(deadline, Deadline) else Deadline(deadline)
        with self._command(script) as command:
            process = self._begin(command, scripts.reading(script), until)
            self._wait_or_kill(process, until)
            return command.accepted(process.result(), accept)

    def write(
        self, script: str, *, deadline: float = 60.0, accept: Container[int] = (0,), stdin: bytes = b""
    ) -> Result:
        """Run a script that changes the host: as root, one at a time on the host, and always to its end.

        A script that has started continues if the connection breaks or the deadline is over. A script that is still waiting for
        another write does not start then. `deadline` in seconds includes the wait for other writes.

        `stdin` (at most 4 MiB) is the script's standard input, descriptor 0. It is sent before anything runs, so it is never
        incomplete. It appears in no argv and no file.

        Raises CommandFailed, TimedOut, Unreachable, Refused (not root, flock missing) and Locked.
        """
        payload = scripts.writing(script, stdin, max(deadline / 2, deadline - _SPARE))
        self._before()
        until = Deadline(deadline)
        with self._command(script) as command:
            process = self._begin(command, payload, until)
            try:
                process.wait(until)
                result = self._answer(process)
            except (TimedOut, Unreachable) as error:
                process.close()
                if process.started:
                    error.cure = _GOES_ON
                raise
            return command.accepted(result, accept)

    def stream(self, script: str, *, within: float = _OPEN) -> Stream:
        """Start a script and exchange lines with it. It ends with the `with` block. It must change nothing, like a probe.

        Raises Unreachable, Refused, TimedOut.
        """
        command = self._command(script)
        try:
            return Stream(self._begin(command, scripts.reading(script), Deadline(within), last=False), command)
        except BaseException as error:
            command.__exit__(None, error)
            raise

    def upload(self, local: Path, script: str, *, deadline: float = 600.0) -> None:
        """Send a large file to a script that installs it; `deadline` in seconds. This counts as a write.

        The script reads the file from its standard input and checks its size. Use write() for small files and secrets.

        Raises CommandFailed (the script refused the file), TimedOut, Unreachable, Refused; OSError for the local file.
        """
        with local.open("rb") as file:
            self._before()
            until = Deadline(deadline)
            with self._command(script) as command:
                process = self._begin(command, scripts.rooted(script), until, last=False)
                try:
                    while (chunk := file.read(_CHUNK)) and process.send(chunk, until):
                        pass
                except TimedOut:
                    process.kill()
                    raise
                process.close_stdin()
                self._wait_or_kill(process, until)
                command.accepted(self._answer(process))

    @contextmanager
    def changing(self, *, lock: bool = False) -> Iterator[None]:
        """A context for one request over `socket` that changes a store. The request is checked and counted like write().

        lock: the request takes or releases a lock of the store. It needs no lock of this run on the host.
        Raises Locked.
        """
        self._before(checked=not lock)
        yield
        self._after()

    def socket(self, port: int, host: str = "127.0.0.1", *, timeout: float = 10.0) -> ForwardedSocket:
        """Connect to a port from the host's point of view, usually on its loopback. `timeout` in seconds.

        The connection on the host belongs to root, if the user may become root.

        Raises Refused (sshd forbids forwarding), Unreachable (nothing listens there, or the connection is lost) and
        TimedOut.
        """
        until, script = Deadline(timeout), relaying(host, port)
        with self._command(script) as command:
            sock = (
                ForwardedSocket(self.forward(host, port, until))
                if self.target.user == "root"
                else self._relayed(host, port, until, command)
            )
        sock.settimeout(timeout)
        return sock

    def _relayed(self, host: str, port: int, until: Deadline, command: Command) -> ForwardedSocket:
        process = self._begin(command, scripts.reading(relaying(host, port)), until, last=False)
        while not (process.started and b"\n" in process.out) and not process.pump(until.left):
            if not until.left:
                process.kill()
                raise process.timed_out(until)
        if not process.started:
            process.result()  # raises why
        channel, came = process.hand_over()
        said, _, first = came.partition(b"\n")
        if said != b"ok":
            process.close()
            reason = said.decode(errors="replace").removeprefix("no ") or "perl does not start on the host"
            raise Unreachable(
                f"nothing answers on {host}:{port} of the host",
                cause="port-unanswered",
                host=self.name,
                tried=command.name,
                answer=reason,
            )
        return ForwardedSocket(channel, first)

    def forward(self, host: str, port: int, deadline: Deadline) -> paramiko.Channel:
        """Open a channel to an address from the host's point of view. Raises the same errors as `socket`."""
        return self._channels.forward((host, port), deadline)

    def lock(self, owner: str) -> None:
        """Take the host's session lock and hold it as long as this connection lives. `owner` identifies this run to others.

        The lock is a kernel lock of a process that ends with the connection, so there are no stale locks. A lock that is held
        is retried for 3 seconds, because its holder may just be ending. Raises Locked (with its holder, and the seconds by the
        host's uptime), Refused (not root), Unreachable.
        """
        until = Deadline(_OPEN)
        script = "# taking the lock of this host\ncat >/dev/null 9>&-"
        with self._command(script) as command:
            process = self._begin(command, scripts.locking(script, owner, _LOCK), until, last=False)
            while not process.started:
                if process.pump(until.left):
                    break
                if not until.left:
                    process.kill()
                    raise process.timed_out(until)
            if process.started is None or process.started.word is not scripts.Word.RUN:
                process.wait(until)
                process.result()  # raises why
            self._lock = process

    def close(self) -> None:
        """Close everything and release locks. Scripts of write() that are still running continue."""
        hang_up(self._sock, self._channels.transport)

    def _command(self, script: str) -> Command:
        return Command(self.name, scripts.name_of(script) or _UNNAMED, self._on_command)

    def _begin(self, command: Command, payload: scripts.Payload, until: Deadline, *, last: bool = True) -> Process:
        channel = self._channels.session(command.name, until)
        process = Process(self._channels.transport, channel, self.name, command.name)
        process.start(payload, until, last=last, sudo=self._sudo)
        self._channels.prepare(until)
        return process

    def _before(self, *, checked: bool = True) -> None:
        if checked and self._lock and self._lock.over and not self._lock.dead():
            raise Locked(
                "this run's lock on the host is lost",
                cause="lock-lost",
                host=self.name,
                tried="checking that no other run writes there",
                cure="another run may have started: find out who runs it, then run the same command again",
            )
        if self._before_write:
            self._before_write(self.name)
        self._writes += 1

    def _after(self) -> None:
        if self._on_write:
            self._on_write(self.name)

    def _answer(self, process: Process) -> Result:
        result = process.result()
        self._after()
        return result

    def _wait_or_kill(self, process: Process, until: Deadline) -> None:
        try:
            process.wait(until)
        except TimedOut:
            process.kill()
            raise
