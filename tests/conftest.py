"""For all tests."""

from __future__ import annotations

import gc
import signal
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from xdist.scheduler import LoadScopeScheduling
    from xdist.workermanage import WorkerController

LABS = 3  # workers that may have labs: each waits a third of its time, for boots, elections and gossip
_SHARING = frozenset({"tests/e2e/test_proofs.py", "tests/e2e/test_store_backends.py"})  # files whose tests share hosts
_WAITING = ("tests/unit/proofs/test_probe_pl.py", "tests/contract/transport/")  # files whose tests mostly wait
_LONG = ("tests/e2e/test_interrupted.py", "tests/e2e/test_up.py::test_plan_verify", *_SHARING)  # begun first: nobody waits for them at the end
_SHORT = "tests/e2e/lab/"  # begun last of those with labs: whoever has nothing left to do does not wait long for the others
# With labs that do nothing most of the time: one worker more has these.
_IDLE = (
    "tests/e2e/test_swarm.py",
    "tests/e2e/test_failures.py::test_a_host_that_is_cut_off",
    "tests/e2e/test_failures.py::test_apt_is_locked",
)

_MACHINES = "tests/vagrant/"  # emulated processors take what there is: beside them one worker has labs, the others what is quick

# What is imported and collected stays: looking through it for garbage is a tenth of what the quick tests cost.
gc.set_threshold(50_000)

# CI may start us with Ctrl-C ignored, which every process that we start would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """File by file, those with labs first and each of their tests by itself. Only the first workers have labs; where there
    are more, the others begin with virtual machines, and take those whose labs are idle, and what is quick. Tests that wait are
    by themselves too, and every second worker begins with them: they wait beside those that compute, and nobody waits for them
    at the end.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Apart(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            alone = (_with_labs(file) and file not in _SHARING) or file.startswith(_WAITING)
            return nodeid if alone else file

        def _assign_work_unit(self, node: WorkerController) -> None:
            """The first that this worker may have; where only others are left, it has done its part."""
            number = int(node.gateway.id.removeprefix("gw"))
            roles = len(self.nodes) > LABS
            has_labs = number < LABS or not roles
            emulated = self._emulated()

            def may(scope: str) -> bool:
                if scope.startswith(_MACHINES):
                    return number >= LABS or not roles
                if not _with_labs(scope) or (scope.startswith(_IDLE) and not has_labs):
                    return True
                return has_labs and not (emulated and roles and number)

            def place(scope: str) -> tuple[bool, ...]:
                idle, long, waiting = scope.startswith(_IDLE), scope.startswith(_LONG), scope.startswith(_WAITING)
                own = (not _with_labs(scope), has_labs is idle, not long, scope.startswith(_SHORT), (number % 2 == 0) is not waiting)
                return (not scope.startswith(_MACHINES), *own)

            fitting = sorted((scope for scope in self.workqueue if may(scope)), key=place)
            if fitting:
                self.workqueue.move_to_end(fitting[0], last=False)
                super()._assign_work_unit(node)
            elif not (emulated and roles):
                node.shutdown()

        def mark_test_complete(self, node: WorkerController, item_index: int, duration: float = 0) -> None:
            super().mark_test_complete(node, item_index, duration)
            if self.registered_collections[node][item_index].startswith(_MACHINES) and not self._emulated():
                for waiting in self.nodes:
                    self._reschedule(waiting)

        def _emulated(self) -> bool:
            """Whether there are virtual machines, or are to be."""
            units = [*self.workqueue.items(), *(unit for work in self.assigned_work.values() for unit in work.items())]
            return any(scope.startswith(_MACHINES) and not all(tests.values()) for scope, tests in units)

    config.option.loadscopereorder = False
    return Apart(config, log)


def _with_labs(scope: str) -> bool:
    return scope.startswith("tests/e2e/")
