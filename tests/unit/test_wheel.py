"""The wheel has all files that the package needs at run time, and works without the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

from provisioner import render

ROOT = Path(__file__).parents[2]


def test_the_wheel_has_every_file_and_works_without_the_checkout(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(build, check=True, cwd=ROOT, capture_output=True)
    (wheel,) = tmp_path.glob("provisioner-*.whl")
    files = [path for path in (ROOT / "provisioner").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    wanted = {str(path.relative_to(ROOT)) for path in files} | {
        f"provisioner/templates/{path.name}" for path in (ROOT / "templates").iterdir()
    }
    assert {"provisioner/lab/boot.sh", "provisioner/py.typed", "provisioner/templates/probe.pl"} < wanted
    with zipfile.ZipFile(wheel) as packed:
        assert {name for name in packed.namelist() if name.startswith("provisioner/")} == wanted
        packed.extractall(tmp_path / "site")
    code = "from provisioner import render; print(render.folder(), len(render.library()))"
    ended = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
    )
    assert ended.stdout.split() == [str(tmp_path / "site/provisioner/templates"), str(len(render.library()))]
