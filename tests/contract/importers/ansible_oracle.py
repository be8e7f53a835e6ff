"""`ansible-inventory` in an environment of its own: ansible-core is large, and its dependencies may conflict with ours."""

from __future__ import annotations

import fcntl
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / ".venv-oracles"
_NO_INDEX = re.compile(
    r"connection|resolv|name or service|unreachable|no matching distribution|timed out", re.IGNORECASE
)


def python() -> Path:
    """Install the dependency group `oracles` if necessary. Skips the test if the package index can't be reached."""
    wanted = "\n".join(tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["oracles"])
    FOLDER.mkdir(exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:  # workers of pytest-xdist wait for one another
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = FOLDER / "made-for"
        if not done.exists() or done.read_text() != wanted:
            subprocess.run([sys.executable, "-m", "venv", FOLDER], check=True)
            (FOLDER / ".gitignore").write_text("*\n")
            pip = [FOLDER / "bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check"]
            ended = subprocess.run([*pip, *wanted.split("\n")], check=False, capture_output=True, text=True)
            if ended.returncode and _NO_INDEX.search(ended.stderr):
                pytest.skip(f"ansible-core can't be installed: {ended.stderr.strip().splitlines()[-1]}")
            assert ended.returncode == 0, ended.stderr
            done.write_text(wanted)
    return FOLDER / "bin/python"


def listed(sources: dict[str, Path], folder: Path) -> dict[str, dict[str, Any]]:
    """Name -> the answer of `--list` about the source of this name, with its messages under "said"."""
    (folder / "empty.cfg").touch()
    for name, source in sources.items():
        (folder / name).mkdir()
        (folder / name / "source").write_text(str(source))
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_CONFIG": str(folder / "empty.cfg"),
        "ANSIBLE_NOCOLOR": "1",
    }
    driver = [python(), Path(__file__).with_name("ansible_driver.py")]
    subprocess.run([*driver, *(folder / name for name in sources)], check=True, env=environment)
    return {name: _answer(folder / name) for name in sources}


def _answer(folder: Path) -> dict[str, Any]:
    text, said = (folder / "listed").read_text(), (folder / "said").read_text()
    assert text, said
    return {**json.loads(text), "said": said}


def members(answer: dict[str, Any], group: str) -> set[str]:
    """All hosts of a group in an answer."""
    part = answer.get(group, {})
    return set(part.get("hosts", ())).union(*(members(answer, child) for child in part.get("children", ())))
