"""The box of Vagrant's machines. This module needs only the standard library, so that no .venv is required."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from provisioner import labs
from provisioner.lab.locks import held

BUILD = Path(__file__).parents[2] / "vagrant/box/build"
DEADLINE = 1200  # seconds; half a minute with a fast network


def build_box() -> Path:
    """Build the box once for each recipe, next to the lab's images, and return its file."""
    boxes = labs.lab_dir() / "boxes"
    boxes.mkdir(parents=True, exist_ok=True)
    recipe = subprocess.run([BUILD, "--recipe"], check=True, capture_output=True, text=True).stdout.strip()
    path = boxes / f"{recipe}.box"
    with held(boxes, timeout=DEADLINE) as ours:
        assert ours, f"another process has been building a box for {DEADLINE} s"
        if not path.exists():
            for old in boxes.iterdir():
                shutil.rmtree(old) if old.is_dir() else old.unlink()
            built = subprocess.run([BUILD, path], check=False, capture_output=True, text=True, timeout=DEADLINE)
            assert built.returncode == 0, built.stdout + built.stderr
    return path
