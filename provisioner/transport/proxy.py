"""ProxyCommand of OpenSSH: a program whose standard streams are the connection. The forms that only jump are recognised."""

from __future__ import annotations

import contextlib
import os
import shlex
import socket
import subprocess
import tempfile
from signal import SIGHUP, SIGKILL
from typing import TYPE_CHECKING

from provisioner.errors import Unreachable
from provisioner.transport.text import clean, tail

if TYPE_CHECKING:
    from typing import IO

    from provisioner.model import SshTarget

_FLAGS = frozenset({"-q", "-T", "-x", "-a", "-A", "-C"})  # options of ssh that do not matter for a jump
_NC_FLAGS = frozenset({"-q0", "-q1", "-N", "-v"})
_END = 1.0  # seconds for a program to end by itself


def as_jump(command: str) -> str:
    """The jump host of `ssh -W %h:%p [user@]bastion` or `ssh bastion nc %h %p`, in the form of ProxyJump; "" for other commands."""
    try:
        words = shlex.split(command)
    except ValueError:
        return ""
    words = words[1:] if words[:1] == ["exec"] else words
    if words[:1] not in (["ssh"], ["/usr/bin/ssh"]):
        return ""
    host, user, port, forwards, rest = "", "", "", False, words[1:]
    while rest:
        word, *rest = rest
        value = rest[0] if rest else ""
        if word == "-W" and value in {"%h:%p", "[%h]:%p"}:
            forwards, rest = True, rest[1:]
        elif word == "-l" and value:
            user, rest = value, rest[1:]
        elif word == "-p" and value:
            port, rest = value, rest[1:]
        elif word.startswith("-"):
            if word not in _FLAGS:
                return ""
        elif not host:
            host = word
        else:
            rest = [word, *rest]
            break
    if not host or forwards is bool(rest) or (rest and not _is_netcat(rest)):
        return ""
    host = f"{user}@{host}" if user and "@" not in host else host
    return f"{host}:{port}" if port else host


def _is_netcat(words: list[str]) -> bool:
    plain = [word for word in words if word not in _NC_FLAGS and word != "2>/dev/null"]
    return plain[:1] in (["nc"], ["netcat"], ["ncat"]) and plain[1:] == ["%h", "%p"]


class ProxiedSocket(socket.socket):
    """The standard streams of a running program. It ends with the connection."""

    process: subprocess.Popen[bytes]
    said: IO[bytes]

    def answer(self) -> str:
        """The last lines of the program's standard error."""
        self.said.seek(0)
        return tail(clean(self.said.read(8192)))

    def close(self) -> None:
        super().close()
        for signal in (SIGHUP, SIGKILL):
            with contextlib.suppress(subprocess.TimeoutExpired, ProcessLookupError):
                if self.process.poll() is None:
                    os.killpg(self.process.pid, signal)  # it leads its own group
                    self.process.wait(_END)
        self.said.close()


def start(target: SshTarget) -> ProxiedSocket:
    """Run the target's ProxyCommand, as ssh does. Raises Unreachable."""
    ours, theirs = socket.socketpair()
    said = tempfile.TemporaryFile()  # noqa: SIM115  closed with the socket
    try:
        process = subprocess.Popen(
            ["/bin/sh", "-c", f"exec {target.proxy}"],
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            stderr=said,
            start_new_session=True,
        )
    except OSError as error:
        ours.close()
        said.close()
        raise failed(target, str(error.strerror)) from error
    finally:
        theirs.close()
    sock = ProxiedSocket(ours.family, ours.type, ours.proto, fileno=ours.detach())
    sock.process, sock.said = process, said
    return sock


def failed(target: SshTarget, answer: str) -> Unreachable:
    return Unreachable(
        "its ProxyCommand did not reach an SSH server",
        cause="proxy-failed",
        host=target.name,
        tried="connecting with SSH through the command",
        answer=answer,
        cure=f"try it in a shell: ssh -G {target.alias or target.address} shows the command, which may contain secrets",
    )
