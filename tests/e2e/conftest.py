"""Labs for tests. Each lab is created for one test and removed after it, because even idle hosts load the machine.

    def test_something(make_lab):
        lab = make_lab(hosts=3)          # new hosts node1 to node3; see provisioner.lab.Lab

    def test_something_else(settled):
        cluster = settled("consul")      # node1 to node3 as `up` leaves them, in seconds; any kind of snapshot.SETTLED

PROVISIONER_NO_LAB=1 skips these tests. Without it, a machine that can't run a lab fails the tests.
"""

from __future__ import annotations

import functools
import itertools
import os
import re
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import pytest

from provisioner.errors import LabError
from provisioner.lab import Lab, Topology, machine
from provisioner.lab.snapshot import SETTLED
from tests.e2e.cluster import Cluster
from tests.e2e.watch import NOTICED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_FULL = 200  # seconds to wait while labs of other workers use all inotify instances that the kernel allows
_numbers = itertools.count(1)


T = TypeVar("T")


class MakeLab(Protocol):
    def __call__(
        self,
        hosts: int = 3,
        image: str = "engine-20.10",
        *,
        images: Mapping[str, str] | None = None,
        topology: Topology = Topology.FLAT,
    ) -> Lab: ...


def _when_there_is_room(work: Callable[[], T]) -> T:
    until = time.monotonic() + _FULL
    while True:
        try:
            return work()
        except LabError as error:
            if "inotify" not in error.what or time.monotonic() > until:
                raise
            time.sleep(2)


@contextmanager
def _labs() -> Iterator[MakeLab]:
    made: list[Lab] = []

    def make(
        hosts: int = 3,
        image: str = "engine-20.10",
        *,
        images: Mapping[str, str] | None = None,
        topology: Topology = Topology.FLAT,
    ) -> Lab:
        name = f"test-{os.getpid()}-{next(_numbers)}"
        made.append(
            _when_there_is_room(lambda: Lab.up(name, hosts, image, images=images, topology=topology, say=print))
        )
        return made[-1]

    try:
        yield make
    finally:
        for lab in made:
            lab.down()


def _remove_forgotten() -> None:
    """Remove labs of test runs that were killed."""
    for lab in Lab.all():
        found = re.fullmatch(r"test-([0-9]+)-[0-9a-z]+", lab.name)
        if found and not Path(f"/proc/{found[1]}").exists():
            Lab(lab.name).down()


@pytest.fixture(scope="session")
def machine_for_labs() -> None:
    if os.environ.get("PROVISIONER_NO_LAB") == "1":
        pytest.skip("PROVISIONER_NO_LAB=1")
    try:
        machine.check()
    except LabError as error:
        pytest.fail(f"{error}\n(set PROVISIONER_NO_LAB=1 to leave out the tests that need a lab)", pytrace=False)
    _remove_forgotten()


@pytest.fixture
def make_lab(machine_for_labs) -> Iterator[MakeLab]:
    """`make_lab(hosts=3, image="engine-20.10", *, images=None)` gives another lab at each call."""
    with _labs() as make:
        yield make


@pytest.fixture(scope="module")
def make_lab_for_all(machine_for_labs) -> Iterator[MakeLab]:
    """Like `make_lab`, but the labs are shared by all tests of a file."""
    with _labs() as make:
        yield make


@pytest.fixture(scope="session")
def workers_lab(machine_for_labs) -> Iterator[Callable[[], Lab]]:
    """The one lab of this worker that is reset to snapshots; created at its first use."""
    with _labs() as make:
        yield functools.cache(lambda: make(hosts=1))


@pytest.fixture
def settled(workers_lab, tmp_path: Path) -> Iterator[Callable[..., Cluster]]:
    """`settled("consul")` returns the three hosts of the snapshot "settled-consul" with the inventory that settled them.

    Call it once per test. The hosts are stopped between tests, so that they use no CPU.
    """
    used: list[Lab] = []

    def settle(kind: str = "consul") -> Cluster:
        name = f"settled-{kind}"
        used.append(workers_lab())
        _when_there_is_room(lambda: used[-1].reset(to=name, say=print))
        return Cluster(used[-1], tmp_path, store=SETTLED[name].store)

    yield settle
    for lab in used:
        lab.stop(*lab.hosts)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List what tests/e2e/watch.py has measured."""
    reports = [report for state in ("passed", "failed") for report in terminalreporter.getreports(state)]
    gaps = [
        text for report in reports if report.when == "call" for name, text in report.user_properties if name == NOTICED
    ]
    if gaps:
        terminalreporter.section("what containers noticed of changes below them")
        for text in gaps:
            terminalreporter.line(str(text))
