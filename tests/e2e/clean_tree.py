"""Debian's minimal tree, without a line of ours. Only Python's own library is needed here: it can be made before there is a .venv."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from provisioner.lab import image, machine
from provisioner.lab.locks import held

if TYPE_CHECKING:
    from pathlib import Path


def build_clean_tree() -> Path:
    """The tree's folder; made once, and kept beside the lab's images."""
    tree = image.images_dir() / "clean-trixie"
    tree.parent.mkdir(parents=True, exist_ok=True)
    with held(tree.parent, timeout=image.BUILD_DEADLINE) as ours:  # two workers may want it at once
        assert ours, f"another process has been building an image for {image.BUILD_DEADLINE} s"
        if not tree.exists():
            building = tree.with_name(
                f"building-clean-{os.getpid()}"
            )  # what a killed one leaves goes with the next build
            subprocess.run(
                [
                    *image.APART,
                    *("mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--format=directory"),
                    *(f"--keyring={machine.keyring()}", "--dpkgopt=force-unsafe-io", '--aptopt=Acquire::Retries "3"'),
                    *filter(None, ("trixie", building, image.find_mirror())),
                ],
                check=True,
                timeout=280,
            )
            building.rename(tree)
    return tree
