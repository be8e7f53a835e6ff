"""Debian's minimal file tree, without any changes of ours. It needs only the standard library, so that no .venv is required."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from provisioner.lab import image, machine
from provisioner.lab.locks import held

if TYPE_CHECKING:
    from pathlib import Path


def build_clean_tree() -> Path:
    """Build the tree once, next to the lab's images, and return its folder."""
    tree = image.images_dir() / "clean-trixie"
    tree.parent.mkdir(parents=True, exist_ok=True)
    with held(tree.parent, timeout=image.BUILD_DEADLINE) as ours:  # two workers may build it at the same time
        assert ours, f"another process has been building an image for {image.BUILD_DEADLINE} s"
        if not tree.exists():
            building = tree.with_name(f"building-clean-{os.getpid()}")  # the next image build removes leftovers
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
