"""The network of a lab. The switch is a network namespace with a bridge for each segment; the controller also runs there.

Two segments have a router between them, in another namespace. Bind mounts on `<lab>/switch` and `<lab>/router` keep these
namespaces alive. The machine's own network does not change.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from provisioner.errors import LabError
from provisioner.lab.recipes import REPOSITORY_PORT, SWITCH_ADDRESS
from provisioner.lab.shell import run, wait_for
from provisioner.lab.topology import SECOND, Topology

if TYPE_CHECKING:
    from collections.abc import Iterator

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


def make(namespace: Path, topology: Topology) -> None:
    """Create the switch, with an address of the controller on each segment. Raises LabError."""
    make_namespace(namespace)
    ip(namespace, "link set lo up")
    for segment in topology.segments:
        ip(
            namespace,
            f"link add {segment.bridge} type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
            f"address add {segment.controller}/24 dev {segment.bridge}",
            f"link set {segment.bridge} up",
        )
        # A packet from another segment arrives through the router. The answer does not need it.
        _write(namespace, f"conf/{segment.bridge}/rp_filter", "0")
    _write(namespace, "conf/all/rp_filter", "0")


def make_router(namespace: Path, switch: Path, topology: Topology) -> None:
    """Create the router between the segments, if there are several. Raises LabError."""
    if len(topology.segments) == 1:
        return
    make_namespace(namespace)
    ip(namespace, "link set lo up")
    for number, segment in enumerate(topology.segments):
        name = f"eth{number}"
        ip(
            switch,
            f"link add {segment.port} type veth peer name {name} netns {namespace}",
            f"link set {segment.port} master {segment.bridge} up",
        )
        ip(namespace, f"address add {segment.router}/24 dev {name}", f"link set {name} up")
    _write(namespace, "ip_forward", "1")
    if topology is Topology.NAT:
        masquerade = ("POSTROUTING", "-s", SECOND.network, "-o", "eth0", "-j", "MASQUERADE")
        run(["nsenter", f"--net={namespace}", "iptables", "-w", "-t", "nat", "-A", *masquerade])


def _write(namespace: Path, setting: str, value: str) -> None:
    """Change a setting of IPv4 in a namespace. /proc/sys/net shows the settings of the namespace in which a thread is."""
    with entered(namespace):
        Path("/proc/sys/net/ipv4", setting).write_text(value)


def plug(namespace: Path, host_namespace: Path, name: str, number: int, topology: Topology) -> None:
    """Connect a host's eth0 to a port of its segment, which gets the host's name. Raises LabError."""
    ip(
        namespace,
        # The MAC address is fixed, because neighbours would use the old one for up to a minute after a reboot.
        f"link add {name} type veth peer name eth0 address 02:00:c0:a8:38:{10 + number:02x} netns {host_namespace}",
        f"link set {name} master {topology.segment(number).bridge} up",
    )
    ip(
        host_namespace,
        "link set lo up",
        f"address add {topology.address(number)}/24 dev eth0",
        "link set eth0 up",
        *(f"route add {network} via {gateway}" for network, gateway in topology.routes(number)),
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
