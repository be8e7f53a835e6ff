"""A slow path in the lab: delays all packets of one host. This needs no netem, which kernels of small machines lack.

This program runs in the switch's network namespace and carries frames between the host's port and the switch. Frames keep their
offload headers (packet(7), PACKET_VNET_HDR), because the sender leaves checksums and segmentation to its network card.
Arguments: the host's port, the port next to it on the switch, the delay of each direction in seconds.
"""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import time
from collections import deque
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provisioner.lab import Lab

_EVERY_PROTOCOL = 3  # linux/if_ether.h: ETH_P_ALL
_SOL_PACKET, _VNET_HDR, _IGNORE_OUTGOING = 263, 15, 23  # linux/if_packet.h
_LONGEST = 70_000  # bytes of a frame before segmentation


@contextmanager
def slow(lab: Lab, host: str, seconds: float) -> Iterator[None]:
    """Delay each packet from and to the host by this many seconds."""
    inside = ["nsenter", f"--net={lab.folder / 'switch'}"]

    def links(*commands: str) -> None:
        subprocess.run([*inside, "ip", "-batch", "-"], input="\n".join(commands), text=True, check=True)

    links(
        f"link set {host} nomaster",
        "link add slow type veth peer name slow-switch",
        "link set slow-switch master switch up",
        "link set slow up",
    )
    argv = [*inside, sys.executable, __file__, host, "slow", str(seconds)]
    relay = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    try:
        assert relay.stdout.readline() == "ready\n"
        yield
    finally:
        relay.kill()
        relay.wait()
        links("link del slow", f"link set {host} master switch")


def opened(port: str) -> socket.socket:
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    made.setsockopt(_SOL_PACKET, _VNET_HDR, 1)
    made.setsockopt(_SOL_PACKET, _IGNORE_OUTGOING, 1)
    made.bind((port, _EVERY_PROTOCOL))
    return made


def main(port: str, other: str, seconds: float) -> None:
    ends = [opened(port), opened(other)]
    across = dict(zip(ends, reversed(ends), strict=True))
    waiting: deque[tuple[float, socket.socket, bytes]] = deque()
    print("ready", flush=True)
    while True:
        rest = max(waiting[0][0] - time.monotonic(), 0) if waiting else None
        for end in select.select(ends, [], [], rest)[0]:
            with suppress(BlockingIOError):
                while True:
                    frame = end.recv(_LONGEST, socket.MSG_DONTWAIT)
                    waiting.append((time.monotonic() + seconds, across[end], frame))
        while waiting and waiting[0][0] <= time.monotonic():
            _, end, frame = waiting.popleft()
            with suppress(OSError):  # as on a cable, a frame may be lost
                end.send(frame)


if __name__ == "__main__":
    os.nice(-5)
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
