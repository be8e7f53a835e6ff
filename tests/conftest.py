"""For all tests."""

from __future__ import annotations

import signal

# CI may start us with Ctrl-C ignored, which every process that we start would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)
