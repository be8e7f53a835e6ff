"""Deadlines: the time that is left for an operation."""

from __future__ import annotations

import time


class Deadline:
    """A moment a number of seconds from now, on the monotonic clock."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self._end - time.monotonic())
