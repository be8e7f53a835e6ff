"""Other tools in an environment of their own, because they are large and their dependencies may conflict with ours."""

from __future__ import annotations

import fcntl
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".venv-oracles"
_NO_INDEX = re.compile(
    r"connection|resolv|name or service|unreachable|no matching distribution|timed out", re.IGNORECASE
)


def program(name: str) -> Path:
    """A program of the dependency group `oracles`, which is installed if necessary. Skips the test without a package index."""
    wanted = "\n".join(tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["oracles"])
    FOLDER.mkdir(exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:  # workers of pytest-xdist wait for one another
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = FOLDER / "made-for"
        if not done.exists() or done.read_text() != wanted:
            subprocess.run([sys.executable, "-m", "venv", FOLDER], check=True)
            (FOLDER / ".gitignore").write_text("*\n")
            pip(FOLDER / "bin/python", "install", *wanted.split("\n"))
            done.write_text(wanted)
    return FOLDER / "bin" / name


def pip(python: Path, *words: str) -> None:
    """Run pip. Skips the test if the package index can't be reached."""
    quiet = ["-q", "--disable-pip-version-check", "--no-input"]
    ended = subprocess.run(
        [python, "-m", "pip", *words[:1], *quiet, *words[1:]], check=False, capture_output=True, text=True
    )
    if ended.returncode and _NO_INDEX.search(ended.stderr):
        pytest.skip(f"pip can't install: {ended.stderr.strip().splitlines()[-1]}")
    assert ended.returncode == 0, ended.stderr
