"""Channels on a connection whose host may hang."""

from __future__ import annotations

import paramiko
import pytest

from provisioner.errors import TimedOut
from provisioner.transport.channels import Channels
from provisioner.transport.deadline import Deadline


class Transport:
    """A connection that is alive; while `hangs`, the host opens no channel."""

    def __init__(self) -> None:
        self.hangs = True
        self.timeouts: list[float] = []

    def is_active(self) -> bool:
        return True

    def open_channel(self, kind, *, window_size, timeout):
        assert (kind, window_size > 0) == ("session", True)
        self.timeouts.append(round(timeout))
        if self.hangs:
            raise paramiko.SSHException("Timeout opening channel.")
        return object()


def test_a_host_that_hangs_costs_its_time_once():
    transport = Transport()
    channels = Channels(transport, "node1")
    for _ in range(2):
        with pytest.raises(TimedOut):
            channels.session("a test", Deadline(60.0))
    transport.hangs = False
    for _ in range(2):
        channels.session("a test", Deadline(60.0))
    assert transport.timeouts == [10, 1, 1, 10]
