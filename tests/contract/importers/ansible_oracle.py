"""`ansible-inventory`: what Ansible itself makes of an inventory."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tests import oracles


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
    driver = [oracles.program("python"), Path(__file__).with_name("ansible_driver.py")]
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
