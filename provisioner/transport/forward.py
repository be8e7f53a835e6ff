"""A channel that can stand in for a connected TCP socket, for HTTP clients."""

from __future__ import annotations

import io
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self, cast

if TYPE_CHECKING:
    from collections.abc import Iterator

    import paramiko
    from _typeshed import ReadableBuffer, WriteableBuffer

_CHUNK = 32_000  # bytes; one sendall() of much is quadratic in paramiko


@contextmanager
def _as_sockets_do() -> Iterator[None]:
    """While a connection is being lost any call of paramiko's may raise EOFError, which a socket never does."""
    try:
        yield
    except EOFError:
        raise ConnectionResetError("the SSH connection is lost") from None


class ForwardedSocket:
    """A connection to a port as the host sees it. Behaves as socket.socket where http.client and urllib3 look.

    As with a socket, files from makefile() keep it open until they are closed too. Times out with TimeoutError.
    """

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel
        self._files = 0
        self._closing = False

    def recv(self, size: int, flags: int = 0) -> bytes:  # noqa: ARG002  a socket's signature
        with _as_sockets_do():
            return self._channel.recv(size)

    def recv_into(self, buffer: WriteableBuffer, size: int = 0, flags: int = 0) -> int:  # noqa: ARG002
        view = memoryview(buffer).cast("B")
        data = self.recv(size or len(view))
        view[: len(data)] = data
        return len(data)

    def send(self, data: ReadableBuffer, flags: int = 0) -> int:  # noqa: ARG002
        with _as_sockets_do():
            sent = self._channel.send(bytes(memoryview(data)[:_CHUNK]))
        if not sent and memoryview(data):
            raise BrokenPipeError("the other side has closed the connection")
        return sent

    def sendall(self, data: ReadableBuffer, flags: int = 0) -> None:  # noqa: ARG002
        view = memoryview(data).cast("B")
        while view:
            view = view[self.send(view) :]

    def settimeout(self, seconds: float | None) -> None:
        self._channel.settimeout(seconds)

    def gettimeout(self) -> float | None:
        return self._channel.gettimeout()

    def setblocking(self, flag: bool) -> None:  # noqa: FBT001
        self._channel.settimeout(None if flag else 0.0)

    def setsockopt(self, *_: object) -> None:
        """Do nothing: the options of the connection below are not this one's to set."""

    def fileno(self) -> int:
        """Give a descriptor to wait on (select, poll); it can't be read or written."""
        return self._channel.fileno()

    def getpeername(self) -> Any:
        return self._channel.getpeername()

    def shutdown(self, how: int) -> None:
        with _as_sockets_do():
            self._channel.shutdown(how)

    def makefile(
        self,
        mode: str = "r",
        buffering: int | None = None,
        *,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> io.BufferedIOBase | io.RawIOBase | io.TextIOWrapper:
        """Give a file over the connection, as socket.makefile() does."""
        size = io.DEFAULT_BUFFER_SIZE if buffering is None or buffering < 0 else buffering
        raw = _Raw(self, reads="r" in mode or "w" not in mode, writes="w" in mode)
        self._files += 1
        if size == 0:
            return raw
        buffered: io.BufferedRWPair | io.BufferedReader | io.BufferedWriter
        if raw.readable() and raw.writable():
            buffered = io.BufferedRWPair(raw, raw, size)
        else:
            buffered = io.BufferedReader(raw, size) if raw.readable() else io.BufferedWriter(raw, size)
        return (
            buffered
            if "b" in mode
            else io.TextIOWrapper(cast("io.BufferedReader", buffered), encoding, errors, newline)
        )

    def close(self) -> None:
        self._closing = True
        if not self._files:
            with _as_sockets_do():
                self._channel.close()

    def file_closed(self) -> None:
        """Note that a file of makefile() was closed."""
        self._files -= 1
        if self._closing:
            self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Raw(io.RawIOBase):
    def __init__(self, sock: ForwardedSocket, *, reads: bool, writes: bool) -> None:
        self._sock = sock
        self._reads = reads
        self._writes = writes

    def readable(self) -> bool:
        return self._reads

    def writable(self) -> bool:
        return self._writes

    def readinto(self, buffer: WriteableBuffer) -> int:
        return self._sock.recv_into(buffer)

    def write(self, data: ReadableBuffer) -> int:
        return self._sock.send(data)

    def fileno(self) -> int:
        return self._sock.fileno()

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._sock.file_closed()
