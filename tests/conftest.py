"""For all tests."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from xdist.scheduler import LoadScopeScheduling

# CI may start us with Ctrl-C ignored, which every process that we start would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """One worker has all labs, so that at most one stands at a time; files of other tests go to another meanwhile."""
    from xdist.scheduler import LoadScopeScheduling

    class Apart(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "labs" if nodeid.startswith("tests/e2e/") else nodeid.partition("::")[0]

    return Apart(config, log)
