"""One command on one channel. All waiting for the network happens here, with a deadline."""

from __future__ import annotations

import time
from threading import Event
from typing import TYPE_CHECKING, Any, cast

import paramiko

from provisioner.errors import CommandFailed, Locked, Refused, TimedOut, TransportError, Unreachable
from provisioner.model import Result
from provisioner.transport.channels import WINDOW
from provisioner.transport.script import (
    COMMAND,
    COMMAND_WITH_PASSWORD,
    INCOMPLETE,
    PROMPT,
    READY,
    Opening,
    Payload,
    Word,
    on_stderr,
    opening,
)
from provisioner.transport.text import clean, public, tail

if TYPE_CHECKING:
    from provisioner.transport.deadline import Deadline
    from provisioner.transport.secrets import Password

OUTPUT_LIMIT = 16 << 20  # bytes of output, per stream
_CHUNK = 32_000  # bytes; slightly less than SSH's largest packet. A large sendall() takes quadratic time in paramiko
_SLICE = 0.25  # seconds between checks of the exit status and the transport, which wake up nobody
# Seconds without output after the exit, after which a daemon must have inherited it. sshd reports the exit before it has sent all
# output, so on a path that loses packets, the rest comes late.
_LINGER = 4.0
_LAST = 0.2  # seconds until a dying transport reports that it is dead


class _Wake:
    """An event that paramiko's two buffers set when they get data.

    A buffer would clear it when that buffer alone is empty. So clear() does nothing, and wait() clears the event.
    """

    def __init__(self) -> None:
        self._event = Event()

    def set(self) -> None:
        self._event.set()

    def clear(self) -> None:
        pass

    def wait(self, seconds: float) -> None:
        self._event.wait(seconds)
        self._event.clear()


class Process:
    """One script on one host, from its start to its exit code. Used by one thread at a time."""

    def __init__(self, transport: paramiko.Transport, channel: paramiko.Channel, host: str, tried: str) -> None:
        self._transport = transport
        self._channel = channel
        self._host = host
        self._tried = tried
        self._began = time.monotonic()
        self._nonce = ""
        self._err_started = False
        self.started: Opening | None = None  # the opening line; None until the host has sent it
        self.out = bytearray()
        self.err = bytearray()
        self._wake = _Wake()
        self._channel.in_buffer.set_event(cast("Event", self._wake))
        self._channel.in_stderr_buffer.set_event(cast("Event", self._wake))
        self._exited = 0.0

    def start(self, payload: Payload, deadline: Deadline, *, last: bool, sudo: Password | None = None) -> None:
        """Send command and script without waiting for an answer between them. `last`: nothing follows on stdin.

        sudo: the password that sudo may ask for. Then the script waits until sudo has accepted it. Raises Refused, TimedOut.
        """
        self._nonce = payload.nonce
        # exec_command() would wait for one more round trip. That is not necessary: a refusal closes the channel, which `pump`
        # notices.
        request = paramiko.Message()
        request.add_byte(b"\x62")  # SSH_MSG_CHANNEL_REQUEST, RFC 4254 section 5.4
        request.add_int(self._channel.remote_chanid)
        request.add_string("exec")
        request.add_boolean(True)  # noqa: FBT003  paramiko's signature
        request.add_string(COMMAND_WITH_PASSWORD if sudo else COMMAND)
        self._tell(request)
        if sudo:
            self._become_root(sudo, deadline)
        self.send(payload.data, deadline)
        if last:
            self.close_stdin()

    def _become_root(self, sudo: Password, deadline: Deadline) -> None:
        """Wait until the command runs as root, and answer sudo's prompt once. Raises Refused, TimedOut, Unreachable."""

        def attempt(text: str) -> bool:
            self.send(f"{text}\n".encode(), deadline)
            return self._ready(deadline, prompts=1)

        if self._ready(deadline, prompts=0) or (self._prompts and sudo.use(self._host, attempt)):
            self.out.clear()
            self.err.clear()
            return
        asked, said = bool(self._prompts), self._said().replace(PROMPT, "")
        if self.dead():
            raise self.lost()
        self.close()  # sudo reads the end of its input, and makes no further attempt
        raise not_root(self._host, self._tried, said, sudo.refused_by if asked else None)

    @property
    def _prompts(self) -> int:
        """How many times sudo has asked. A login shell may redirect stderr to stdout."""
        return (self.err + self.out).count(PROMPT.encode())

    def _ready(self, deadline: Deadline, *, prompts: int) -> bool:
        """Wait until the command runs. Returns False if sudo has ended, or has asked more than `prompts` times. Raises TimedOut."""
        while True:
            over = self.pump(deadline.left)
            if READY.encode() in self.err + self.out:
                return True
            if over or self._prompts > prompts:
                return False
            if not deadline.left:
                self.kill()
                raise self.timed_out(deadline)

    def send(self, data: bytes, deadline: Deadline) -> bool:
        """Send data to the script's stdin. Returns False if the other side no longer accepts it."""
        view = memoryview(data)
        while view:
            self._channel.settimeout(max(deadline.left, 0.001))
            try:
                sent = self._channel.send(bytes(view[:_CHUNK]))
            except TimeoutError as error:
                raise self.timed_out(deadline) from error
            except (OSError, EOFError, paramiko.SSHException):
                return False
            if sent == 0:
                return False
            view = view[sent:]
        return True

    def close_stdin(self) -> None:
        # As shutdown_write(), but with the lock: see `_tell`.
        with self._channel.lock:
            if end := cast("Any", self._channel)._send_eof():  # noqa: SLF001
                self._tell(end)  # if this fails, the reader reports how the connection ended

    def pump(self, seconds: float) -> bool:
        """Wait for output, at most this many seconds, and read all that is available. Returns True if no more will come."""
        self._wake.wait(min(seconds, _SLICE))
        over = self._over()
        try:
            self._take()
        except EOFError:  # paramiko could not enlarge the window, because the connection is being lost
            over = True
        self._strip()
        if len(self.out) > OUTPUT_LIMIT or len(self.err) > OUTPUT_LIMIT:
            self.kill()
            raise self._failed(f"the script's output is larger than {OUTPUT_LIMIT >> 20} MiB")
        return over

    def _take(self) -> None:
        channel = self._channel
        while channel.recv_ready():
            self.out += channel.recv(WINDOW)
            self._exited = 0.0
        while channel.recv_stderr_ready():
            self.err += channel.recv_stderr(WINDOW)
            self._exited = 0.0

    @property
    def code(self) -> int:
        """The exit code; -1 until there is one."""
        return self._channel.exit_status

    @property
    def over(self) -> bool:
        """Whether the channel has ended, without waiting."""
        return self._channel.closed

    def _over(self) -> bool:
        if self._channel.closed:
            return True
        if not self._channel.exit_status_ready():
            return False
        self._exited = self._exited or time.monotonic()
        return bool(self._channel.eof_received) or time.monotonic() - self._exited > _LINGER

    def wait(self, deadline: Deadline) -> None:
        """Wait until the script has ended and all its output is read. Raises TimedOut."""
        while not self.pump(deadline.left):
            if deadline.left == 0:
                raise self.timed_out(deadline)

    def result(self) -> Result:
        """Return the result of the ended script. Raises the reason why it did not run, or Unreachable."""
        code = self.code
        if code < 0 and self.dead():
            raise self.lost()
        self.close()
        start = self.started
        if start is None:
            raise self._never_ran(code)
        if start.word is not Word.RUN:
            raise self._declined(start)
        result = Result(code, clean(self.out), clean(self.err), bytes(self.out))
        if code < 0:
            raise CommandFailed("the script was killed by a signal", result, host=self._host, tried=self._tried)
        return result

    def _strip(self) -> None:
        """Drop the opening line and everything before it from both streams."""
        if self.started is None:
            self.started = opening(self.out, self._nonce)
            if self.started:
                del self.out[: self.started.end]
        if not self._err_started:
            start = opening(self.err, on_stderr(self._nonce))
            if start:
                self._err_started = True
                del self.err[: start.end]

    def hand_over(self) -> tuple[paramiko.Channel, bytes]:
        """Return the channel, for a script that continues with its own protocol, and the data that was already received."""
        came = bytes(self.out)
        self.out.clear()
        return self._channel, came

    def kill(self) -> None:
        """Kill the script on the host, if sshd supports this (OpenSSH 7.9 and later), and close the channel."""
        request = paramiko.Message()
        request.add_byte(b"\x62")
        request.add_int(self._channel.remote_chanid)
        request.add_string("signal")  # RFC 4254 section 6.9
        request.add_boolean(False)  # noqa: FBT003
        request.add_string("TERM")
        with self._channel.lock:
            if not self._channel.exit_status_ready():  # a closed channel is ready
                self._tell(request)
        self.close()

    def close(self) -> None:
        try:
            self._channel.close()
        except (OSError, EOFError, paramiko.SSHException):
            return

    def _tell(self, request: paramiko.Message) -> None:
        """Send a message about the channel. Once the script may have ended, the caller must hold the channel's lock.

        sshd ends the whole connection if a message names a channel that is gone: one for which both sides have sent "close". Paramiko's
        thread takes the lock to mark the channel as closed, and answers the host's "close" after that. So while the lock is held and
        the channel is open, a message comes before the answer.
        """
        try:
            cast("Any", self._transport)._send_user_message(request)  # noqa: SLF001  all public methods wait
        except (OSError, EOFError, paramiko.SSHException):
            return

    def dead(self) -> bool:
        # The transport's thread closes the channels first, and reports a moment later that it is dead.
        end = time.monotonic() + _LAST
        while self._transport.is_active() and time.monotonic() < end:
            time.sleep(0.01)
        return not self._transport.is_active()

    def _said(self) -> str:
        return "\n".join(filter(None, (tail(public(clean(self.out))), tail(clean(self.err[-4096:])))))

    def _failed(self, what: str) -> CommandFailed:
        return CommandFailed(what, Result(-1, "", self._said()), host=self._host, tried=self._tried)

    def timed_out(self, deadline: Deadline) -> TimedOut:
        return TimedOut(
            f"the script did not end within {deadline.seconds:g} seconds",
            host=self._host,
            tried=self._tried,
            answer=self._said(),
        )

    def lost(self) -> Unreachable:
        return Unreachable(
            f"connection lost after {time.monotonic() - self._began:.1f} seconds",
            cause="connection-lost",
            host=self._host,
            tried=self._tried,
            answer=self._said(),
            cure="check the host and the network in between, then run the same command again",
        )

    def _never_ran(self, code: int) -> TransportError:
        if code == INCOMPLETE:
            return self._failed("the script arrived incomplete, so none of it was run")
        return Refused(
            "the login succeeds, but the host runs no commands" + (f" (exit code {code})" if code >= 0 else ""),
            cause="no-shell",
            host=self._host,
            tried=self._tried,
            answer=self._said(),
            cure="give the user a login shell, and check for ForceCommand or command= in sshd_config and authorized_keys",
        )

    def _declined(self, start: Opening) -> TransportError | Locked:
        if start.word is Word.BUSY:
            return locked(self._host, self._tried, clean(start.rest.encode()))
        if start.word is Word.ODD:
            return self._failed("the host does not answer like a shell that received a script")
        if start.word is Word.TOOL:
            return Refused(
                f"{start.rest} is missing on the host",
                cause="tool-missing",
                host=self._host,
                tried=self._tried,
                cure="install the package util-linux" if start.rest == "flock" else "look at /run: is it full?",
            )
        return Refused(
            "the user is not root and has no passwordless sudo",
            cause="no-root",
            host=self._host,
            tried=self._tried,
            cure="log in as root, use --ask-sudo-password, or allow it with a line 'USER ALL=(ALL) NOPASSWD: ALL' in "
            "/etc/sudoers.d",
        )


def not_root(host: str, tried: str, answer: str, refused_by: str | None) -> Refused:
    """The error of a sudo that does not run scripts. refused_by: the first host that refused the password; None: it did not ask."""
    if refused_by == host:
        what, cure = (
            "sudo refuses the password",
            "check the password; it is the login user's own, unless sudoers has `rootpw`",
        )
    elif refused_by is not None:
        what = f"sudo's password was not tried, because {refused_by} refused it"
        cure = "check the password; hosts with other passwords need their own runs, or passwordless sudo"
    else:
        what, cure = "sudo runs no scripts", "allow it with a line 'USER ALL=(ALL) ALL' in /etc/sudoers.d"
        if "tty" in answer:
            cure = (
                "sudo requires a terminal here: install the program `script` (package bsdutils or util-linux), or add a line"
                " 'Defaults:USER !requiretty' in /etc/sudoers.d"
            )
    return Refused(what, cause="no-root", host=host, tried=tried, answer=answer, cure=cure)


def locked(host: str, tried: str, note: str) -> Locked:
    """The error that names a lock's holder. `note`: uptime now, then the holder's line: its PID, uptime then, and name."""
    now, pid, since, owner = (*note.split(" ", 3), "", "", "", "")[:4]
    try:
        age = f" for {float(now) - float(since):.0f} seconds"
    except ValueError:  # the holder has not written its line yet
        age = ""
    return Locked(
        f"another run works on this host{age}: {owner or 'it did not identify itself'}",
        host=host,
        tried=tried,
        cure="wait until it has ended"
        + (f"; if it has died with its machine, end its process on the host: kill {pid}" if pid.isdigit() else ""),
    )
