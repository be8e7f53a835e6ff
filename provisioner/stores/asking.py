"""HTTP to a store as a host sees it, with TLS where it is wanted: for what the host can't ask by itself, since its Perl has no TLS.

The request travels in a channel of the SSH connection, and TLS is the controller's: nothing is installed on the host, the
key does not leave the controller for it, and what is tried is the host's own way to the store.
"""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from provisioner.errors import ProvisionerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from provisioner.inventory import Tls
    from provisioner.system.request import Request
    from provisioner.transport import Connection, Reader
    from provisioner.transport.forward import ForwardedSocket

_PATIENCE = 5.0  # seconds
_PIECE = 65536  # bytes


def context(files: Tls) -> ssl.SSLContext:
    """TLS as engines will have it. Raises ProvisionerError on files that can't be used for it."""

    def no_password() -> str:
        raise ProvisionerError(f"{files.key} is locked with a password, which an engine can't be given")

    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        made.load_verify_locations(files.ca)
    except OSError as error:
        raise ProvisionerError(f"{files.ca} holds no certificate that can be used: {_said(error)}") from None
    try:
        made.load_cert_chain(files.cert, files.key, password=no_password)
    except OSError as error:
        what = f"{files.cert} and {files.key} are no certificate with its key: {_said(error)}"
        raise ProvisionerError(what) from None
    return made


@dataclass(frozen=True)
class Asked:
    """An endpoint ADDRESS:PORT through one host; with a context over TLS."""

    connection: Connection | Reader
    where: str
    tls: ssl.SSLContext | None = None

    def __call__(self, path: str, method: str = "GET", body: str = "") -> tuple[int, str]:
        """The code and text of the answer. Raises OSError, ProvisionerError."""
        host, _, port = self.where.rpartition(":")
        head = f"{method} {path} HTTP/1.0\r\nHost: {self.where}\r\n"
        if body:
            head += f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body.encode())}\r\n"
        with self.connection.socket(int(port), host, timeout=_PATIENCE) as sock:
            text = _talked(sock, (head + "\r\n" + body).encode(), self.tls, host).decode(errors="replace")
        first, _, rest = text.partition("\r\n\r\n")
        words = first.split(maxsplit=2)
        if len(words) < 2 or not re.fullmatch("[0-9]{3}", words[1]):  # noqa: PLR2004
            raise OSError(
                "it does not answer as a web server does" + ("; is it TLS that it speaks?" if not self.tls else "")
            )
        return int(words[1]), rest

    def told(self, request: Request) -> str:
        """The answer as a host's own reading has it: "200 text", or "000 why there is none"."""
        try:
            code, text = self(request.what, request.method, request.body)
        except OSError as error:
            return f"000 {_said(error)}"
        except ProvisionerError as error:
            return f"000 {error.what}"
        return f"{code} {text}"


def _talked(sock: ForwardedSocket, request: bytes, tls: ssl.SSLContext | None, name: str) -> bytes:
    """Sends all, and gives what comes until the other side has ended."""
    send, receive = (sock.sendall, sock.recv) if tls is None else _secured(sock, tls, name)
    send(request)
    answer = b""
    while part := receive(_PIECE):
        answer += part
    return answer


def _secured(
    sock: ForwardedSocket, tls: ssl.SSLContext, name: str
) -> tuple[Callable[[bytes], Any], Callable[[int], bytes]]:
    """Sending and receiving over TLS; the handshake is done. A channel is no socket that `ssl` would take."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    talk = tls.wrap_bio(incoming, outgoing, server_hostname=name)

    def done(action: Callable[..., Any], *words: Any) -> Any:
        while True:
            try:
                return action(*words)
            except ssl.SSLWantReadError:
                sock.sendall(outgoing.read())
                part = sock.recv(_PIECE)
                incoming.write(part) if part else incoming.write_eof()
            finally:
                sock.sendall(outgoing.read())

    def receive(size: int) -> bytes:
        try:
            return bytes(done(talk.read, size))
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""

    done(talk.do_handshake)
    return lambda data: done(talk.write, data), receive


def _said(error: OSError) -> str:
    """What went wrong, without the place in OpenSSL's source."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return str(error.reason or error).replace("_", " ").lower()
    return error.strerror or str(error) or type(error).__name__
