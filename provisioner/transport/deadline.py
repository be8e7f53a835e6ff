"""Deadlines: the time that is left for an operation."""

from __future__ import annotations

import time
from threading import Lock


class Deadline:
    """A moment a number of seconds from now, on the monotonic clock. It is moved by setting `seconds`."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._began = time.monotonic()

    @property
    def left(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self._began + self.seconds - time.monotonic())


class Together:
    """The deadlines of hosts that do the same work side by side. A host that hangs is recognised by comparison with the others.

    Once half of the hosts have ended, the others get `times` as long as these needed, and at least `least` seconds.
    """

    def __init__(self, hosts: int, most: float, least: float = 15.0, times: float = 5.0) -> None:
        self._seconds, self._least, self._times = most, least, times
        self._began = time.monotonic()
        self._hosts, self._compared = hosts, False
        self._took: list[float] = []  # seconds of the hosts that have ended
        self._deadlines: list[Deadline] = []
        self._lock = Lock()

    def deadline(self) -> Deadline:
        """The deadline of one host. It may move closer while the host works."""
        with self._lock:
            self._deadlines.append(Deadline(self._seconds))
            return self._deadlines[-1]

    def ended(self) -> None:
        """One host has ended its work."""
        with self._lock:
            self._took.append(time.monotonic() - self._began)
            self._compare()

    def among(self, hosts: int) -> None:
        """Only so many hosts do the work after all."""
        with self._lock:
            self._hosts = hosts
            self._compare()

    def _compare(self) -> None:
        half = max(-(-self._hosts // 2), 1)
        if len(self._took) >= half and not self._compared:
            self._compared = True
            self._seconds = min(self._seconds, max(self._least, self._times * self._took[half - 1]))
            for each in self._deadlines:
                each.seconds = min(each.seconds, self._seconds)
