"""Labs for tests: real hosts, made for one test and removed after it, since hosts that only run cost a busy machine a lot.

    def test_something(make_lab):
        lab = make_lab(hosts=3)          # node1 to node3, as new; see provisioner.lab.Lab

PROVISIONER_NO_LAB=1 skips these tests; otherwise a machine that can't run a lab is a failure, not a skip.
"""

from __future__ import annotations

import itertools
import os
import re
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

from provisioner.errors import LabError
from provisioner.lab import Lab, machine

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_FULL = 200  # seconds to wait where labs of other workers have all that the kernel allows
_numbers = itertools.count(1)


class MakeLab(Protocol):
    def __call__(self, hosts: int = 3, image: str = "engine-20.10", *, images: Mapping[str, str] | None = None) -> Lab: ...


@contextmanager
def _labs() -> Iterator[MakeLab]:
    made: list[Lab] = []

    def make(hosts: int = 3, image: str = "engine-20.10", *, images: Mapping[str, str] | None = None) -> Lab:
        until = time.monotonic() + _FULL
        while True:
            try:
                made.append(Lab.up(f"test-{os.getpid()}-{next(_numbers)}", hosts, image, images=images, say=print))
            except LabError as error:
                if "inotify" not in error.what or time.monotonic() > until:
                    raise
                time.sleep(2)
            else:
                return made[-1]

    try:
        yield make
    finally:
        for lab in made:
            lab.down()


def _remove_forgotten() -> None:
    """Remove labs of test runs that were killed."""
    for lab in Lab.all():
        found = re.fullmatch(r"test-([0-9]+)-[0-9]+", lab.name)
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
    """The same, for what all tests of a file share."""
    with _labs() as make:
        yield make
