"""Labs for tests: real hosts, fresh for each test, shared as far as that is free.

    def test_something(make_lab):
        lab = make_lab(hosts=3)          # node1 to node3, as new; see provisioner.lab.Lab

PROVISIONER_NO_LAB=1 skips these tests; otherwise a machine that can't run a lab is a failure, not a skip.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

from provisioner.errors import LabError
from provisioner.lab import Lab, machine

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Running hosts that are kept for a later test of the same shape; more would only take memory.
KEPT_HOSTS = 8


class MakeLab(Protocol):
    def __call__(
        self, hosts: int = 3, image: str = "engine-20.10", *, images: Mapping[str, str] | None = None, key: str = ""
    ) -> Lab: ...


class Labs:
    """Running labs by shape, the least recently used first."""

    def __init__(self) -> None:
        self._labs: dict[tuple[object, ...], Lab] = {}
        self._count = 0

    def make(
        self, hosts: int = 3, image: str = "engine-20.10", *, images: Mapping[str, str] | None = None, key: str = ""
    ) -> Lab:
        """A lab of fresh hosts. Calls with another `key` give another lab, so that a test can have two."""
        shape = (hosts, image, tuple(sorted((images or {}).items())), key)
        lab = self._labs.pop(shape, None)
        if lab is None or not _renewed(lab, hosts):
            self._make_room(hosts)
            self._count += 1
            lab = Lab.up(f"test-{os.getpid()}-{self._count}", hosts, image, images=images, say=print)
        self._labs[shape] = lab
        return lab

    def _make_room(self, hosts: int) -> None:
        while self._labs and sum(len(lab.hosts) for lab in self._labs.values()) + hosts > KEPT_HOSTS:
            self._labs.pop(next(iter(self._labs))).down()

    def close(self) -> None:
        for lab in self._labs.values():
            lab.down()
        self._labs.clear()


def _renewed(lab: Lab, hosts: int) -> bool:
    """Put a used lab back to fresh; if that can't be done, remove it."""
    with contextlib.suppress(LabError):
        if len(lab.hosts) == hosts:
            lab.reset()
            return True
    lab.down()
    return False


def _remove_forgotten() -> None:
    """Remove labs of test runs that were killed."""
    for lab in Lab.all():
        found = re.fullmatch(r"test-([0-9]+)-[0-9]+", lab.name)
        if found and not Path(f"/proc/{found[1]}").exists():
            Lab(lab.name).down()


@pytest.fixture(scope="session")
def labs() -> Iterator[Labs]:
    if os.environ.get("PROVISIONER_NO_LAB") == "1":
        pytest.skip("PROVISIONER_NO_LAB=1")
    try:
        machine.check()
    except LabError as error:
        pytest.fail(f"{error}\n(set PROVISIONER_NO_LAB=1 to leave out the tests that need a lab)", pytrace=False)
    _remove_forgotten()
    made = Labs()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="session")
def make_lab(labs: Labs) -> MakeLab:
    """`make_lab(hosts=3, image="engine-20.10", *, images=None, key="")` gives a lab of fresh hosts."""
    return labs.make
