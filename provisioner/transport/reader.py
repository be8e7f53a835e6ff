"""A connection for what only reads: nothing that goes over it changes a host or a store."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container
    from contextlib import AbstractContextManager

    from provisioner.model import Result
    from provisioner.transport.connection import Connection
    from provisioner.transport.forward import ForwardedSocket


class Reader:
    """The reading half of a connection, for whoever waits or looks. It has no `write` and no `upload`.

    A client that surrounds its requests with `changing` can read over it, and fails before a request that changes a store.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def name(self) -> str:
        return self._connection.name

    @property
    def lost(self) -> bool:
        """As `Connection.lost`."""
        return self._connection.lost

    def read(self, script: str, *, deadline: float = 30.0, accept: Container[int] = (0,)) -> Result:
        """As `Connection.read`."""
        return self._connection.read(script, deadline=deadline, accept=accept)

    def socket(self, port: int, host: str = "127.0.0.1", *, timeout: float = 10.0) -> ForwardedSocket:
        """As `Connection.socket`."""
        return self._connection.socket(port, host, timeout=timeout)

    def changing(self, *, lock: bool = False) -> AbstractContextManager[None]:
        """Refuse: a request that changes a store has no place here. Raises AssertionError."""
        del lock
        raise AssertionError(f"{self.name}: a request that changes the store, where it is only read")
