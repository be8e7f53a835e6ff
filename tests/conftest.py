"""Settings for all tests, and the order in which pytest-xdist's workers run them."""

from __future__ import annotations

import gc
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.produced import pytest_sessionfinish, pytest_testnodedown  # noqa: F401 - hooks of pytest
from tests.reruns import LABS, pytest_addoption, pytest_runtestloop, pytest_terminal_summary  # noqa: F401 - hooks of pytest

if TYPE_CHECKING:
    from xdist.scheduler import LoadScopeScheduling
    from xdist.workermanage import WorkerController

_SHARING = frozenset(
    {
        *("tests/e2e/test_local_user.py", "tests/e2e/test_proofs.py"),
        *("tests/e2e/test_routed_on_hosts.py", "tests/e2e/test_store_backends.py"),
    }
)  # files whose tests share hosts
_WAITING = ("tests/unit/proofs/test_probe_pl.py", "tests/contract/transport/")  # files whose tests mostly wait
_LONG = (  # started first, in this order, so that they do not run alone at the end
    "tests/e2e/test_doctor.py::test_each_fault",
    "tests/e2e/test_fix_on_hosts.py::test_what_can_be_cured",
    "tests/e2e/test_inventories.py::test_zookeeper",
    "tests/e2e/test_scripts.py::test_the_demo_runs",
    "tests/e2e/test_proofs.py",
    "tests/e2e/lab/test_snapshots.py",
    "tests/e2e/test_swarm.py::test_a_swarm_is_made",
    "tests/e2e/test_consul_security.py::test_a_running_cluster",
    "tests/e2e/test_interrupted.py",
    "tests/e2e/test_networks.py",
    "tests/e2e/test_store_backends.py",
    "tests/e2e/test_etcd.py",
    "tests/e2e/test_plugins.py",
    "tests/e2e/test_remove.py",
    "tests/e2e/test_up.py",
    *(f"tests/e2e/test_firewall_on_hosts.py::{test}" for test in ("test_nftables_with", "test_firewalld", "test_ufw")),
)
# Short tests with labs are started last, so that no worker waits long for the others at the end.
_LAB = "tests/e2e/lab/"  # classes of these files may share hosts
_SHORT = ("tests/e2e/test_firewall_on_hosts.py", _LAB)
# Emulated processors use all CPUs, and their hosts miss deadlines beside other tests. So only unit tests run with them, mostly while the
# machines' image is built.
_MACHINES, _BESIDE = "tests/vagrant/", "tests/unit/"

# Imported modules and collected tests are never freed. Scanning them for garbage would take a tenth of the quick tests' time.
gc.set_threshold(50_000)

# CI may start this process with SIGINT ignored, which all its child processes would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Distribute whole files, but single tests of files with labs, which come first.

    The last worker starts with the virtual machines. While these run, the others run unit tests, and then none. Tests that mostly
    wait are distributed singly, too. Every second worker starts with them, so that they run in parallel with tests that compute.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Apart(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            if file.startswith(_LAB):
                return nodeid.rpartition("::")[0]
            alone = (_with_labs(file) and file not in _SHARING) or file.startswith(_WAITING)
            return nodeid if alone else file

        def _assign_work_unit(self, node: WorkerController) -> None:
            """Assign the first unit that this worker may run. Without one, the worker ends."""
            number, last = int(node.gateway.id.removeprefix("gw")), len(self.nodes) - 1
            emulated = self._emulated() and last > 0  # a single worker runs every test

            def may(scope: str) -> bool:
                if scope.startswith(_MACHINES):
                    return number == last or not emulated
                # The last worker may run all tests. It has the machines' tests first, and it starts its last assigned test only
                # when it has got another one.
                return number == last or not emulated or scope.startswith(_BESIDE)

            def place(scope: str) -> tuple[int, ...]:
                long = next((at for at, begins in enumerate(_LONG) if scope.startswith(begins)), len(_LONG))
                waits = (number % 2 == 0) is not scope.startswith(_WAITING)
                return (not scope.startswith(_MACHINES), not _with_labs(scope), long, scope.startswith(_SHORT), waits)

            fitting = sorted((scope for scope in self.workqueue if may(scope)), key=place)
            if fitting:
                self.workqueue.move_to_end(fitting[0], last=False)
                super()._assign_work_unit(node)
            elif not emulated:
                node.shutdown()

        def mark_test_complete(self, node: WorkerController, item_index: int, duration: float = 0) -> None:
            super().mark_test_complete(node, item_index, duration)
            if self.registered_collections[node][item_index].startswith(_MACHINES) and not self._emulated():
                for waiting in [*self.nodes, *self.nodes]:  # a worker starts a test only when it has got another one
                    self._reschedule(waiting)

        def _emulated(self) -> bool:
            """Whether tests with virtual machines are running or not yet started."""
            units = [*self.workqueue.items(), *(unit for work in self.assigned_work.values() for unit in work.items())]
            return any(scope.startswith(_MACHINES) and not all(tests.values()) for scope, tests in units)

    config.option.loadscopereorder = False
    return Apart(config, log)


def _with_labs(scope: str) -> bool:
    return scope.startswith(LABS)
