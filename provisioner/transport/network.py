"""Opens TCP connections to SSH servers, with options that paramiko does not set, and checks the server's banner."""

from __future__ import annotations

import contextlib
import select
import socket
from typing import TYPE_CHECKING

from provisioner.errors import TransportError, Unreachable
from provisioner.transport import proxy
from provisioner.transport.deadline import Deadline
from provisioner.transport.text import clean, tail

if TYPE_CHECKING:
    import paramiko

    from provisioner.model import SshTarget
    from provisioner.transport.forward import ForwardedSocket

_OPTIONS = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),  # 35 ms instead of 76 for connect, exec, close
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, getattr(socket, "TCP_KEEPIDLE", 0), 15),  # seconds
    (socket.IPPROTO_TCP, getattr(socket, "TCP_KEEPINTVL", 0), 5),
    (socket.IPPROTO_TCP, getattr(socket, "TCP_KEEPCNT", 0), 4),
    # Keepalive sends nothing while data waits for an acknowledgement. Then this timeout (milliseconds) detects a dead peer.
    (socket.IPPROTO_TCP, getattr(socket, "TCP_USER_TIMEOUT", 0), 30_000),
)
_BANNER = 1024  # bytes to look at
_BURST = (b"Exceeded MaxStartups", b"Not allowed at this time")  # OpenSSH's srclimit and startups, 9.8 and later


class Busy(Unreachable):
    """The SSH server rejects connections at the moment. A retry may help."""


class Closed(Unreachable):
    """The port is closed. A retry may help for a short time, because the server may be restarting."""


def dial(target: SshTarget) -> socket.socket:
    """Connect within the target's connect_timeout, and wait for the banner of an SSH server.

    Raises Unreachable, or its subclasses Busy and Closed, for which a retry may help.
    """
    deadline = Deadline(target.connect_timeout)
    sock = proxy.start(target) if target.proxy else _connect(target, deadline)
    try:
        _listen(sock, target, deadline)
    except TransportError as error:
        answer = sock.answer() if isinstance(sock, proxy.ProxiedSocket) else ""
        sock.close()
        raise proxy.failed(target, answer or error.answer) if target.proxy else error from error
    except BaseException:
        sock.close()
        raise
    return sock


def hang_up(sock: socket.socket | ForwardedSocket, transport: paramiko.Transport | None) -> None:
    """Close a connection without waiting until its thread checks the socket again."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    if transport is not None:
        transport.close()
    sock.close()


def _connect(target: SshTarget, deadline: Deadline) -> socket.socket:
    try:
        addresses = socket.getaddrinfo(target.address, target.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise _unreachable(
            target, f"the name {target.address} does not resolve", error, cause="address-unresolved"
        ) from error
    problem: OSError = OSError("no address")
    for number, (family, kind, protocol, _, address) in enumerate(addresses):
        sock = socket.socket(family, kind, protocol)
        try:
            for level, option, value in _OPTIONS:
                if option:
                    sock.setsockopt(level, option, value)
            # An address that does not answer must leave time for the other ones.
            sock.settimeout(max(deadline.left / (len(addresses) - number), 0.01))
            sock.connect(address)
        except OSError as error:
            sock.close()
            problem = error
        else:
            return sock
    if isinstance(problem, ConnectionRefusedError):
        raise Closed(
            f"nothing listens on {_where(target)}",
            cause="ssh-closed",
            host=target.name,
            tried="connecting with SSH",
            cure="start sshd on the host, or correct its address and port in the inventory",
        ) from problem
    if isinstance(problem, TimeoutError):
        raise _unreachable(
            target, f"no answer from {_where(target)} in {target.connect_timeout:g} seconds"
        ) from problem
    raise _unreachable(target, f"can't connect to {_where(target)}", problem) from problem


def _listen(sock: socket.socket, target: SshTarget, deadline: Deadline) -> None:
    """Look at the server's banner and leave it in the socket. paramiko would hide why a server rejects the connection."""
    said = b""
    try:
        while b"SSH-" not in said:
            if not select.select([sock], [], [], deadline.left)[0]:
                raise _unreachable(
                    target, f"{_where(target)} accepts connections but says nothing", cause="not-ssh", said=said
                )
            now = sock.recv(_BANNER, socket.MSG_PEEK)
            if any(word in now for word in _BURST) or now == said:  # readable without new data: the server hung up
                raise _busy(target, now)
            if len(now) == _BANNER or (b"\n" in now and now.startswith((b"HTTP/", b"220 "))):
                raise _unreachable(
                    target, f"what answers on {_where(target)} is not an SSH server", cause="not-ssh", said=now
                )
            said = now
    except OSError as error:
        raise _busy(target, said) from error


def _where(target: SshTarget) -> str:
    return f"[{target.address}]:{target.port}" if ":" in target.address else f"{target.address}:{target.port}"


def _unreachable(
    target: SshTarget, what: str, problem: OSError | None = None, said: bytes = b"", cause: str = ""
) -> Unreachable:
    return Unreachable(
        what,
        cause=cause,
        host=target.name,
        tried="connecting with SSH",
        answer=(problem.strerror or str(problem)) if problem else tail(clean(said)),
        cure=f"is the host up, and is the address right that OpenSSH's configuration gives for {target.alias}?"
        if target.alias
        else "is the host up, and is the address in the inventory right?",
    )


def _busy(target: SshTarget, said: bytes) -> Busy:
    return Busy(
        f"the SSH server at {_where(target)} closes the connection at once",
        cause="ssh-busy",
        host=target.name,
        tried="connecting with SSH",
        answer=tail(clean(said)),
        cure="check MaxStartups and PerSourcePenalties in its sshd_config, and its log (journalctl -u ssh)",
    )
