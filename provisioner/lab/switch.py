"""The switch of a lab: a bridge in a separate network namespace, in which the controller also runs.

A bind mount on `<lab>/switch` keeps the namespace alive. The machine's own network does not change.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import sys
from typing import TYPE_CHECKING

from provisioner.errors import LabError
from provisioner.lab.recipes import REPOSITORY_PORT, SWITCH_ADDRESS
from provisioner.lab.shell import run, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BRIDGE = "switch"
_CLONE_NEWNET = 0x40000000


def make_namespace(file: Path) -> None:
    """Create a network namespace that lives as long as `file` is mounted. Raises LabError."""
    file.touch()
    run(["unshare", f"--net={file}", "true"])


def drop_namespace(file: Path) -> None:
    run(["umount", "--lazy", str(file)])


def ip(namespace: Path, *commands: str) -> None:
    """Run commands of `ip` in a namespace; the first failure ends the batch. Raises LabError."""
    run(
        ["nsenter", f"--net={namespace}", "ip", "-batch", "-"],
        stdin="\n".join(commands) + "\n",
        what=f"the lab's network can't be configured: {'; '.join(commands)}",
    )


def make(namespace: Path) -> None:
    """Create the switch with the controller's address. Raises LabError."""
    make_namespace(namespace)
    ip(
        namespace,
        "link set lo up",
        f"link add {BRIDGE} type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
        f"address add {SWITCH_ADDRESS}/24 dev {BRIDGE}",
        f"link set {BRIDGE} up",
    )


def plug(namespace: Path, host_namespace: Path, name: str, number: int) -> None:
    """Connect a host's eth0 to a port of the switch, which gets the host's name. Raises LabError."""
    ip(
        namespace,
        # The MAC address is fixed, because neighbours would use the old one for up to a minute after a reboot.
        f"link add {name} type veth peer name eth0 address 02:00:c0:a8:38:{10 + number:02x} netns {host_namespace}",
        f"link set {name} master {BRIDGE} up",
    )
    ip(
        host_namespace,
        "link set lo up",
        f"address add 192.168.56.{10 + number}/24 dev eth0",
        "link set eth0 up",
    )


def unplug(namespace: Path, name: str) -> None:
    """Remove a host's port, if it exists. This also removes the host's eth0."""
    with contextlib.suppress(LabError):
        ip(namespace, f"link del {name}")


def set_port(namespace: Path, name: str, *, up: bool) -> None:
    ip(namespace, f"link set {name} {'up' if up else 'down'}")


def enter(namespace: Path) -> None:
    """Move the calling thread, and the threads and processes that it starts from now on, into `namespace`."""
    try:
        with namespace.open("rb") as file:
            _setns(file.fileno())
    except OSError as error:
        raise LabError(
            f"the lab's network can't be entered: {error.strerror}",
            tried=f"setns {namespace}",
            cure="see `provisioner lab list`; a lab ends when the machine restarts",
        ) from error


@contextlib.contextmanager
def entered(namespace: Path) -> Iterator[None]:
    """Move the calling thread, and no other, into `namespace` for the block. Raises LabError."""
    with open("/proc/thread-self/ns/net", "rb") as before:  # noqa: PTH123
        enter(namespace)
        try:
            yield
        finally:
            _setns(before.fileno())


def _setns(descriptor: int) -> None:
    # os.setns exists only since Python 3.12.
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def server_command(namespace: Path, folder: Path) -> list[str]:
    """The command that serves `folder` over HTTP on the controller's address of the switch."""
    return [
        *("nsenter", f"--net={namespace}", sys.executable, "-I", "-m", "http.server"),
        *("--bind", SWITCH_ADDRESS, "--directory", str(folder), str(REPOSITORY_PORT)),
    ]


def wait_served(namespace: Path, log: Path, *, timeout: float = 20) -> None:
    """Wait until the packages are served. Raises LabError after `timeout` seconds."""

    def answers() -> bool:
        with contextlib.suppress(OSError), socket.create_connection((SWITCH_ADDRESS, REPOSITORY_PORT), timeout=1):
            return True
        return False

    with entered(namespace):
        if not wait_for(answers, timeout=timeout):
            raise LabError("the lab's package repository does not answer", answer=log.read_text(errors="replace"))
