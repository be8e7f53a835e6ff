"""ProxyCommand of OpenSSH: a program whose standard streams are the connection."""

from __future__ import annotations

import contextlib
import os
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

_END = 1.0  # seconds for a program to end by itself


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
        with contextlib.suppress(ValueError):  # paramiko's thread and ours may close it at the same time
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
