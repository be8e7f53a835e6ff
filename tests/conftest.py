"""Settings for all tests, and the order in which pytest-xdist's workers run them."""

from __future__ import annotations

import gc
import os
import random
import signal
from collections import defaultdict
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
    "tests/e2e/test_doctor.py::test_two_faults",
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
_LABS_FIRST = 2  # so many workers start with labs
_SHORT = ("tests/e2e/test_firewall_on_hosts.py", _LAB)

SEED = int(os.environ.get("PROVISIONER_SEED", "0")) or random.SystemRandom().randrange(1, 10_000)

# Imported modules and collected tests are never freed. Scanning them for garbage would take a tenth of the quick tests' time.
gc.set_threshold(50_000)

# CI may start this process with SIGINT ignored, which all its child processes would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: WorkerController) -> None:
    """Give all workers of a run the same seed: they must collect the same tests."""
    node.workerinput["seed"] = SEED


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of tests with the mark `some(COUNT)`, skip all but so many with different parameters, chosen by the seed. Those that -k leaves out do not count."""
    if os.environ.get("PROVISIONER_ALL") == "1":
        return
    seed = getattr(config, "workerinput", {}).get("seed", SEED)
    alike = defaultdict(list)
    for item in items:
        if mark := item.get_closest_marker("some"):
            alike[item.nodeid.partition("[")[0], mark.args[0]].append(item)
    for (name, count), tests in alike.items():
        chosen = random.Random(f"{seed} {name}").sample(tests, min(count, len(tests)))
        for test in tests:
            if test not in chosen:
                why = f"seed {seed} chose {count} of these {len(tests)}; PROVISIONER_ALL=1 runs all"
                test.add_marker(pytest.mark.skip(reason=why))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Distribute whole files, but single tests of files with labs.

    Two workers start with labs, and the others with quick tests: on a new machine, the labs' images are still being built.
    Tests that mostly wait are distributed singly, too. Every second worker starts with them, so that they run in parallel with tests
    that compute.
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
            """Assign the first unit of this worker's order."""
            number = int(node.gateway.id.removeprefix("gw"))

            def place(scope: str) -> tuple[int, ...]:
                long = next((at for at, begins in enumerate(_LONG) if scope.startswith(begins)), len(_LONG))
                waits = (number % 2 == 0) is not scope.startswith(_WAITING)
                return (_with_labs(scope) is not (number < _LABS_FIRST), long, scope.startswith(_SHORT), waits)

            self.workqueue.move_to_end(min(self.workqueue, key=place), last=False)
            super()._assign_work_unit(node)

    config.option.loadscopereorder = False
    return Apart(config, log)


def _with_labs(scope: str) -> bool:
    return scope.startswith(LABS)
