"""HTTP requests from the controller to a store, over a host's network path, optionally with TLS.

Hosts can't send TLS requests themselves, because a minimal Perl has no TLS. Each request travels in a channel of the
SSH connection, and the controller does the TLS. So nothing is installed on the host, the key stays on the controller,
and the request tests the host's own path to the store.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from provisioner.errors import ProvisionerError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from provisioner.inventory import Tls
    from provisioner.system.request import Request
    from provisioner.transport import Connection, Reader
    from provisioner.transport.forward import ForwardedSocket

_PATIENCE = 5.0  # seconds
_PIECE = 65536  # bytes


def context(files: Tls) -> ssl.SSLContext:
    """Return a TLS context with the files that engines will use. Raises ProvisionerError if they are unusable."""
    import ssl  # here and below: most stores need none of it, and it takes a while to import

    def no_password() -> str:
        raise ProvisionerError(
            f"{files.key} is encrypted; engines can't use a key with a passphrase", cause="store-tls"
        )

    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        made.load_verify_locations(files.ca)
    except OSError as error:
        raise ProvisionerError(
            f"{files.ca} contains no usable certificate: {_reason(error)}", cause="store-tls"
        ) from None
    try:
        made.load_cert_chain(files.cert, files.key, password=no_password)
    except OSError as error:
        what = f"{files.cert} and {files.key} are not a certificate and its key: {_reason(error)}"
        raise ProvisionerError(what, cause="store-tls") from None
    return made


@dataclass(frozen=True)
class HttpClient:
    """A client of the endpoint `where` (ADDRESS:PORT), through one host. It uses TLS if `tls` is given."""

    connection: Connection | Reader
    where: str
    tls: ssl.SSLContext | None = None

    def __call__(self, path: str, method: str = "GET", body: str = "") -> tuple[int, str]:
        """Send one request; return the status code and the body. Raises OSError, ProvisionerError."""
        host, _, port = self.where.rpartition(":")
        head = f"{method} {path} HTTP/1.0\r\nHost: {self.where}\r\n"
        if body:
            head += f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body.encode())}\r\n"
        with self.connection.socket(int(port), host, timeout=_PATIENCE) as sock:
            text = _exchange(sock, (head + "\r\n" + body).encode(), self.tls, host).decode(errors="replace")
        first, _, rest = text.partition("\r\n\r\n")
        parts = first.split(maxsplit=2)
        if len(parts) < 2 or not re.fullmatch("[0-9]{3}", parts[1]):  # noqa: PLR2004
            raise OSError("the answer is not HTTP" + ("; the server may expect TLS" if not self.tls else ""))
        return int(parts[1]), rest

    def report(self, request: Request) -> str:
        """Return the answer in the form of a host's own reading: "200 BODY", or "000 REASON" if there is none."""
        try:
            code, text = self(request.what, request.method, request.body)
        except OSError as error:
            return f"000 {_reason(error)}"
        except ProvisionerError as error:
            return f"000 {error.what}"
        return f"{code} {text}"


def _exchange(sock: ForwardedSocket, request: bytes, tls: ssl.SSLContext | None, name: str) -> bytes:
    """Send the request, and return everything that arrives until the server closes the connection."""
    send, receive = (sock.sendall, sock.recv) if tls is None else _tls_channel(sock, tls, name)
    send(request)
    answer = b""
    while part := receive(_PIECE):
        answer += part
    return answer


def _tls_channel(
    sock: ForwardedSocket, tls: ssl.SSLContext, name: str
) -> tuple[Callable[[bytes], Any], Callable[[int], bytes]]:
    """Do the TLS handshake; return functions that send and receive. `ssl` can't wrap an SSH channel as a socket."""
    import ssl

    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = tls.wrap_bio(incoming, outgoing, server_hostname=name)

    def done(action: Callable[..., Any], *parts: Any) -> Any:
        while True:
            try:
                return action(*parts)
            except ssl.SSLWantReadError:
                sock.sendall(outgoing.read())
                part = sock.recv(_PIECE)
                incoming.write(part) if part else incoming.write_eof()
            finally:
                sock.sendall(outgoing.read())

    def receive(size: int) -> bytes:
        try:
            return bytes(done(session.read, size))
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""

    done(session.do_handshake)
    return lambda data: done(session.write, data), receive


def _reason(error: OSError) -> str:
    """Return the reason, without the position in OpenSSL's source."""
    import ssl

    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is rejected: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return str(error.reason or error).replace("_", " ").lower()
    return error.strerror or str(error) or type(error).__name__
