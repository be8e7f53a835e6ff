"""Ports for servers of tests."""

import random
import socket

_DICE = random.SystemRandom()  # pytest-xdist's workers must not draw the same ports


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nothing uses.

    It is below those that the kernel gives to connections (ip_local_port_range, from 32768). Such a port could be taken before
    the server listens, or a test that waits for the server could be connected to itself.
    """
    while True:
        port = _DICE.randrange(15_000, 32_000)
        with socket.socket() as tried:
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
