"""Channels on one connection. One channel is always opened in advance, so a script takes two round trips instead of three.

One round trip is not possible: OpenSSH opens a session with a window of 0, and accepts no stdin before it has started the
command.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import paramiko

from provisioner.errors import Refused, TimedOut, Unreachable

if TYPE_CHECKING:
    from provisioner.transport.deadline import Deadline

WINDOW = 512 * 1024  # bytes that a host may send ahead on one channel
_OPENED = 10.0  # seconds for an SSH server to open a channel: if it does not, the host hangs
_HANGS = 1.0  # the same, after a host has not opened the last one
_SPARED = 3.0  # seconds for a channel in advance
_FORBIDDEN = 1  # SSH_OPEN_ADMINISTRATIVELY_PROHIBITED, RFC 4254 section 5.1


class Channels:
    """Opens channels for one host. Thread-safe."""

    def __init__(self, transport: paramiko.Transport, host: str) -> None:
        self.transport = transport
        self._host = host
        self._lock = threading.Lock()
        self._spare: paramiko.Channel | None = None
        self._within = _OPENED

    def session(self, tried: str, deadline: Deadline) -> paramiko.Channel:
        """Return a channel for one command: the spare one or a new one. Raises Refused, Unreachable, TimedOut."""
        with self._lock:
            spare, self._spare = self._spare, None
        if spare is not None and not spare.closed:
            return spare
        try:
            channel = self._open(deadline, self._within)
        except paramiko.ChannelException as error:
            raise Refused(
                "the host refuses another session on the connection",
                cause="sessions-refused",
                host=self._host,
                tried=tried,
                answer=str(error),
                cure="raise MaxSessions in its sshd_config (10 is sshd's default)",
            ) from error
        except (paramiko.SSHException, EOFError, OSError) as error:
            self._within = _HANGS
            raise self._failed(tried, deadline) from error
        self._within = _OPENED
        return channel

    def _open(self, deadline: Deadline, within: float) -> paramiko.Channel:
        # With a low MaxSessions, the server may still count the channel that was closed before.
        for pause in (0.02, 0.1, 0.5):
            try:
                return self._channel(deadline, within)
            except paramiko.ChannelException:
                time.sleep(pause)
        return self._channel(deadline, within)

    def _channel(self, deadline: Deadline, within: float) -> paramiko.Channel:
        # The timeout can't be changed later, but the deadline may move closer.
        return self.transport.open_channel("session", window_size=WINDOW, timeout=min(deadline.left, within))

    def prepare(self, deadline: Deadline) -> None:
        """Open the next channel while a command runs on another one, so that nobody waits for it."""
        if self._spare is not None:
            return
        try:
            spare = self._channel(deadline, _SPARED)
        except (paramiko.SSHException, EOFError, OSError):
            return  # `session` opens a channel later, and reports the error
        with self._lock:
            self._spare, spare = spare, self._spare
        if spare is not None:
            spare.close()

    def forward(self, address: tuple[str, int], deadline: Deadline) -> paramiko.Channel:
        """Open a channel to an address from the host's point of view. Raises Refused (forbidden), Unreachable, TimedOut."""
        where = f"{address[0]}:{address[1]}"
        tried = f"reaching {where} on the host through SSH"
        try:
            return self.transport.open_channel(
                "direct-tcpip", address, ("127.0.0.1", 0), window_size=WINDOW, timeout=deadline.left
            )
        except paramiko.ChannelException as error:
            if error.code == _FORBIDDEN:
                raise Refused(
                    "its SSH server forbids forwarding",
                    cause="forwarding-forbidden",
                    host=self._host,
                    tried=tried,
                    answer=str(error),
                    cure="set 'AllowTcpForwarding local' in its sshd_config, look for PermitOpen and DisableForwarding "
                    "there, and reload sshd",
                ) from error
            raise Unreachable(
                f"nothing answers on {where} of the host",
                cause="port-unanswered",
                host=self._host,
                tried=tried,
                answer=str(error),
            ) from error
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise self._failed(tried, deadline) from error

    def _failed(self, tried: str, deadline: Deadline) -> Unreachable | TimedOut:
        if self.transport.is_active():
            return TimedOut(
                f"no answer within {min(deadline.seconds, _OPENED):g} seconds", host=self._host, tried=tried
            )
        return Unreachable(
            "the connection is lost",
            cause="connection-lost",
            host=self._host,
            tried=tried,
            cure="check the host and the network in between, then run the same command again",
        )
