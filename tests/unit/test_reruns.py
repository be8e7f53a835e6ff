"""tests/reruns.py and tests/conftest.py themselves: pytest runs tests in a checkout with nothing else."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
FAILS_ONCE = """
from pathlib import Path

def test_fails_once():
    mark = Path(__file__).with_suffix(".seen")
    if not mark.exists():
        mark.touch()
        raise ValueError("too busy\\nno answer within 3 s")
"""
FAILS_TWICE = "def test_fails_twice():\n    assert 1 == 2, 'really broken'\n"
TEST_AND_TEARDOWN = """
import pytest
from pathlib import Path

@pytest.fixture
def first():
    mark = Path(__file__).with_suffix(".seen")
    seen = mark.exists()
    yield not seen
    mark.touch()
    assert seen, "first"

def test_and_teardown_fail_once(first):
    assert not first, "first"
"""


class Checkout:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("conftest.py", "reruns.py"):
            self.file(name, (TESTS / name).read_text())
        shutil.copy(TESTS.parent / "pyproject.toml", folder)

    def file(self, name: str, text: str) -> None:
        path = self.folder / "tests" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def run(self, *options: str) -> tuple[int, list[str]]:
        argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rerun-labs", *options]
        ended = subprocess.run(argv, cwd=self.folder, check=False, capture_output=True, text=True, timeout=120)
        return ended.returncode, (ended.stdout + ended.stderr).splitlines()


@pytest.fixture
def checkout(tmp_path) -> Checkout:
    return Checkout(tmp_path)


def test_a_test_that_fails_once_and_passes_alone_is_listed_as_flaky(checkout):
    checkout.file("e2e/test_once.py", FAILS_ONCE)
    checkout.file("e2e/test_both.py", TEST_AND_TEARDOWN)
    checkout.file("e2e/test_well.py", "def test_passes():\n    pass\n")
    code, lines = checkout.run("-n", "2")
    assert code == 0, lines
    assert sorted(lines[-3:-1]) == [
        "FLAKY tests/e2e/test_both.py::test_and_teardown_fail_once - AssertionError: first",
        "FLAKY tests/e2e/test_once.py::test_fails_once - ValueError: too busy",
    ]
    assert re.fullmatch(r"=+ 1 passed, 2 flaky in [0-9.]+s( \([0-9:]+\))? =+", lines[-1])
    assert "ValueError: too busy" in "\n".join(lines), "the first failure is printed in full"
    assert not [line for line in lines if line.startswith(("FAILED", "ERROR"))]


def test_a_test_that_fails_twice_or_needs_no_lab_fails_the_run(checkout):
    checkout.file("e2e/test_once.py", FAILS_ONCE)
    checkout.file("e2e/test_twice.py", FAILS_TWICE)
    checkout.file("unit/lab/test_quick.py", FAILS_ONCE)
    code, lines = checkout.run()
    assert code == 1
    assert lines[-2] == "FLAKY tests/e2e/test_once.py::test_fails_once - ValueError: too busy"
    assert re.fullmatch(r"=+ 2 failed, 1 flaky in [0-9.]+s.* =+", lines[-1])
    failed = {line.split(" - ")[0] for line in lines if line.startswith("FAILED ")}
    assert failed == {
        "FAILED tests/e2e/test_twice.py::test_fails_twice",
        "FAILED tests/unit/lab/test_quick.py::test_fails_once",
    }
    again = [line for line in lines if line.startswith("running again, alone")]
    assert again == [
        f"running again, alone: tests/e2e/test_{name}"
        for name in ("once.py::test_fails_once", "twice.py::test_fails_twice")
    ]


def test_many_failures_are_not_explained_by_load(checkout):
    checkout.file(
        "e2e/test_many.py", "import pytest\n@pytest.mark.parametrize('n', range(9))\ndef test_it(n):\n    assert 0\n"
    )
    code, lines = checkout.run()
    assert code == 1
    assert re.fullmatch(r"=+ 9 failed in [0-9.]+s =+", lines[-1])
    assert "9 tests with labs failed: none is run again, because load does not explain so many" in lines


def test_of_some_tests_alike_the_seed_chooses_how_many_run(checkout, monkeypatch):
    """All workers choose the same ones, and the others are counted with the reason. One that is named runs."""
    checkout.file(
        "e2e/test_some.py",
        "import pytest\n@pytest.mark.some(2)\n@pytest.mark.parametrize('n', range(5))\ndef test_it(n):\n    pass\n",
    )
    monkeypatch.delenv("PROVISIONER_ALL", raising=False)
    for seed in ("", "17"):
        monkeypatch.setenv("PROVISIONER_SEED", seed or "0")
        code, lines = checkout.run("-n", "2")
        assert code == 0, lines
        assert re.fullmatch(r"=+ 2 passed, 3 skipped in [0-9.]+s =+", lines[-1])
        (why,) = (line for line in lines if line.startswith("SKIPPED"))
        assert re.search(rf"seed {seed or '[0-9]+'} chose 2 of these 5; PROVISIONER_ALL=1 runs all", why)
    for number in (1, 4):
        assert "1 passed" in checkout.run(f"tests/e2e/test_some.py::test_it[{number}]")[1][-1]
        assert "1 passed, 4 deselected" in checkout.run("-k", f"test_it and {number}")[1][-1]
    monkeypatch.setenv("PROVISIONER_ALL", "1")
    assert "5 passed" in checkout.run()[1][-1]
