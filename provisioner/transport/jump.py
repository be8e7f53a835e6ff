"""Jump hosts: machines through which SSH reaches other hosts. All hosts behind a jump host share one connection to it."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from provisioner.errors import HostKeyRefused, Refused, TransportError, Unreachable
from provisioner.transport.command_line import ssh
from provisioner.transport.deadline import Deadline
from provisioner.transport.forward import ForwardedSocket

if TYPE_CHECKING:
    from collections.abc import Callable

    import paramiko

    from provisioner.model import SshTarget
    from provisioner.transport.connection import Connection


class JumpedSocket(ForwardedSocket):
    """A connection to a host through a jump host. `left` is called once, when it is closed."""

    def __init__(self, channel: paramiko.Channel, left: Callable[[], None]) -> None:
        super().__init__(channel)
        self._left: Callable[[], None] | None = left

    @property
    def _closed(self) -> bool:
        """Whether the channel is closed; paramiko reads this attribute of its socket."""
        return bool(self._channel.closed)

    def shutdown(self, how: int) -> None:
        with suppress(ConnectionResetError):  # the jump host is gone
            super().shutdown(how)

    def close(self) -> None:
        with suppress(OSError):
            super().close()
        left, self._left = self._left, None
        if left:
            left()


@dataclass
class _Jump:
    """One jump host: its connection while a host uses it, or the error of the connection."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    connection: Connection | None = None
    users: int = 0
    error: TransportError | None = None


class Jumps:
    """The jump hosts of a run. Thread-safe. A jump host that can't be used is tried only once."""

    def __init__(self, connect: Callable[[SshTarget], Connection]) -> None:
        self._connect = connect
        self._guard = threading.Lock()
        self._jumps: dict[SshTarget, _Jump] = {}

    def dial(self, target: SshTarget) -> JumpedSocket:
        """Connect to a target through its jump host. Raises the jump host's own error, Unreachable or Refused."""
        assert target.jump is not None  # noqa: S101  the caller's condition
        with self._guard:
            jump = self._jumps.setdefault(target.jump, _Jump())
        connection = self._enter(jump, target)
        try:
            channel = connection.forward(target.address, target.port, Deadline(target.connect_timeout))
        except TransportError as error:
            self._leave(jump)
            raise _behind(target, error) from error
        return JumpedSocket(channel, lambda: self._leave(jump))

    def _enter(self, jump: _Jump, target: SshTarget) -> Connection:
        assert target.jump is not None  # noqa: S101
        with jump.lock:
            if jump.connection is None and jump.error is None:
                try:
                    jump.connection = self._connect(target.jump)
                except TransportError as error:
                    jump.error = error
            if jump.connection is None:
                raise _not_usable(target, jump.error) from jump.error
            jump.users += 1
            return jump.connection

    def _leave(self, jump: _Jump) -> None:
        with jump.lock:
            jump.users -= 1
            last = None if jump.users else jump.connection
            jump.connection = None if last else jump.connection
        if last:
            last.close()


def _where(target: SshTarget) -> str:
    return f"[{target.address}]:{target.port}" if ":" in target.address else f"{target.address}:{target.port}"


def _not_usable(target: SshTarget, error: TransportError | None) -> TransportError:
    """The jump host's error as an error of a host behind it, with the same type."""
    assert error is not None  # noqa: S101
    kind = next(kind for kind in (HostKeyRefused, Refused, Unreachable) if isinstance(error, kind))
    what = f"its jump host {target.jump.name if target.jump else ''} can't be used: {error.what}"
    return kind(what, cause=error.cause, host=target.name, tried=error.tried, answer=error.answer, cure=error.cure)


def _behind(target: SshTarget, error: TransportError) -> TransportError:
    name = target.jump.name if target.jump else ""
    if isinstance(error, Refused):
        what = f"its jump host {name} forbids forwarding"
        return Refused(
            what, cause=error.cause, host=target.name, tried=error.tried, answer=error.answer, cure=error.cure
        )
    return Unreachable(
        f"its jump host {name} gets no answer from {_where(target)}",
        host=target.name,
        tried="connecting with SSH through a jump host",
        answer=error.answer,
        cure=f"is the host up, and is its address the one that the jump host knows? try it: {ssh(target)}",
    )
