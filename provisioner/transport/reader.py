"""A connection that can only read, so that its users can't change a host or a store."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container
    from contextlib import AbstractContextManager

    from provisioner.model import Result
    from provisioner.transport.connection import Connection
    from provisioner.transport.deadline import Deadline
    from provisioner.transport.forward import ForwardedSocket


class Reader:
    """The read-only part of a connection, for code that waits or looks. It has no `write` and no `upload`.

    A store's client can read over it. A request that changes the store fails in `changing`, before it is sent.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def name(self) -> str:
        return self._connection.name

    @property
    def lost(self) -> bool:
        """See `Connection.lost`."""
        return self._connection.lost

    def read(self, script: str, *, deadline: float | Deadline = 30.0, accept: Container[int] = (0,)) -> Result:
        """See `Connection.read`."""
        return self._connection.read(script, deadline=deadline, accept=accept)

    def socket(self, port: int, host: str = "127.0.0.1", *, timeout: float = 10.0) -> ForwardedSocket:
        """See `Connection.socket`."""
        return self._connection.socket(port, host, timeout=timeout)

    def changing(self, *, lock: bool = False) -> AbstractContextManager[None]:
        """Refuse a request that changes a store. Raises AssertionError."""
        del lock
        raise AssertionError(f"{self.name}: a request that changes the store over a connection that only reads")
