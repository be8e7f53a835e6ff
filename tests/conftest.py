"""For all tests."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from xdist.scheduler import LoadScopeScheduling
    from xdist.workermanage import WorkerController

LABS = 2  # workers that may have labs: more hosts at a time would only wait for the two cores

# CI may start us with Ctrl-C ignored, which every process that we start would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """File by file. Those with labs come first and go to the first workers only, since much in them is waiting; the
    others, which are quick, to the last worker meanwhile.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Apart(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return nodeid.partition("::")[0]

        def _assign_work_unit(self, node: WorkerController) -> None:
            """The first file that this worker may have; where only others are left, it has done its part."""
            has_labs = node.gateway.id in {f"gw{number}" for number in range(LABS)} or self.numnodes <= LABS
            fitting = sorted(
                (file for file in self.workqueue if has_labs or not _with_labs(file)), key=lambda file: not _with_labs(file)
            )
            if not fitting:
                node.shutdown()
                return
            self.workqueue.move_to_end(fitting[0], last=False)
            super()._assign_work_unit(node)

    config.option.loadscopereorder = False
    return Apart(config, log)


def _with_labs(file: str) -> bool:
    return file.startswith("tests/e2e/")
