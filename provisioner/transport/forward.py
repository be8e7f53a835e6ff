"""A channel that replaces a connected TCP socket, for HTTP clients.

If sshd opens the socket on the host (port forwarding), it belongs to the login user. But the hosts' firewall allows only root to
access the store (system/firewall). So for a user other than root, a program that root runs opens it (`relaying`).
"""

from __future__ import annotations

import io
import shlex
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self, cast

if TYPE_CHECKING:
    from collections.abc import Iterator

    import paramiko
    from _typeshed import ReadableBuffer, WriteableBuffer

_CHUNK = 32_000  # bytes; a large sendall() takes quadratic time in paramiko
# Arguments: ADDRESS PORT. Prints a line "ok" or "no REASON", then relays bytes in both directions. At the end of its input, which
# is the end of the channel or of the request, the rest of the answer has ten seconds.
_RELAY = """
use Socket;
my ($host, $port) = @ARGV; my $address = inet_aton($host);
$SIG{PIPE} = "IGNORE";
sub all { my ($to, $data) = @_; while (length $data) { substr $data, 0, syswrite($to, $data) // exit, "" } }
socket my $socket, PF_INET, SOCK_STREAM, 0;
$address && connect $socket, pack_sockaddr_in($port, $address) or all(*STDOUT, "no " . ($address ? $! : "such name") . "\n"), exit;
all(*STDOUT, "ok\n");
my %ways = (in => [*STDIN, $socket], out => [$socket, *STDOUT]);
while (1) {
    my $bits = "";
    vec($bits, fileno $_->[0], 1) = 1 for values %ways;
    select $bits, undef, undef, undef;
    for my $way (keys %ways) {
        my ($from, $to) = @{$ways{$way}};
        next unless vec $bits, fileno $from, 1;
        if (sysread $from, my $data, 65536) { all($to, $data); next }
        exit if $way eq "out";
        shutdown $socket, 1; alarm 10; delete $ways{in};
    }
}
"""


def relaying(host: str, port: int) -> str:
    """The script that connects to a port as the user who runs it, and relays bytes between the port and its standard streams."""
    return f"# reaching {host}:{port} on the host through SSH\nexec perl -e {shlex.quote(_RELAY)} {shlex.quote(host)} {port}"


@contextmanager
def _socket_errors() -> Iterator[None]:
    """Convert EOFError, which paramiko may raise while a connection is being lost, to an error that a socket raises."""
    try:
        yield
    except EOFError:
        raise ConnectionResetError("the SSH connection is lost") from None


class ForwardedSocket:
    """A connection to a port from the host's point of view. It behaves like socket.socket as far as http.client and urllib3 use it.

    As with a socket, files from makefile() keep it open until they are closed, too. Timeouts raise TimeoutError.
    """

    def __init__(self, channel: paramiko.Channel, first: bytes = b"") -> None:
        """`first`: data that was already received over the channel."""
        self._channel = channel
        self._first = first
        self._files = 0
        self._closing = False

    def recv(self, size: int, flags: int = 0) -> bytes:  # noqa: ARG002  a socket's signature
        if self._first:
            data, self._first = self._first[:size], self._first[size:]
            return data
        with _socket_errors():
            return self._channel.recv(size)

    def recv_into(self, buffer: WriteableBuffer, size: int = 0, flags: int = 0) -> int:  # noqa: ARG002
        view = memoryview(buffer).cast("B")
        data = self.recv(size or len(view))
        view[: len(data)] = data
        return len(data)

    def send(self, data: ReadableBuffer, flags: int = 0) -> int:  # noqa: ARG002
        with _socket_errors():
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
        """Do nothing, because options would belong to the SSH connection, which others share."""

    def fileno(self) -> int:
        """Return a descriptor to wait on (select, poll). It can't be read or written."""
        return self._channel.fileno()

    def getpeername(self) -> Any:
        return self._channel.getpeername()

    def shutdown(self, how: int) -> None:
        with _socket_errors():
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
        """Return a file over the connection, like socket.makefile()."""
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
            with _socket_errors():
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
