"""The wheel in a fresh environment, as pipx installs it: it needs nothing of the checkout."""

from __future__ import annotations

import ast
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from provisioner import __version__
from tests import oracles

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = oracles.ROOT
# Files of the repository that a text can name. Those of hosts begin with a slash.
FILE = re.compile(
    r"(?<![/\w])(?:(?:docs|inventories|man|scripts|templates|tests|vagrant)/[\w./-]*\.\w+|[A-Z]{4,}\.md)\b"
)


def said(path: Path) -> Iterator[str]:
    """Yield the texts that a source can show: all strings of a module except its docstrings, or a whole template."""
    if path.suffix != ".py":
        yield path.read_text()
        return
    tree = ast.parse(path.read_text())
    bodies = (node.body for node in ast.walk(tree) if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef))
    docstrings = {id(body[0].value) for body in bodies if body and isinstance(body[0], ast.Expr)}
    strings = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))
    yield from (node.value for node in strings if id(node) not in docstrings)


class Installed:
    """An installation. share: its documents."""

    def __init__(self, folder: Path) -> None:
        source = folder / "source"
        source.mkdir()
        for line in (ROOT / ".dockerignore").read_text().split():  # the image is built from the same files
            name = line.removeprefix("!")
            if line != name and (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
            elif line != name:
                shutil.copy(ROOT / name, source / name)
        oracles.pip(Path(sys.executable), "wheel", str(source), "--no-deps", "--wheel-dir", str(folder))
        shutil.rmtree(source)
        (wheel,) = folder.glob("*.whl")
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
        self.python = folder / "venv/bin/python"
        oracles.pip(self.python, "install", str(wheel))
        (folder / "bin").mkdir()
        (folder / "bin/provisioner").symlink_to(folder / "venv/bin/provisioner")
        self.wheel, self.share, self.home = wheel, folder / "venv/share", folder / "home"
        self.home.mkdir()
        self.environment = {"PATH": f"{folder}/bin:/usr/bin:/bin", "HOME": str(self.home), "LANG": "C.UTF-8"}

    def run(self, *words: str, stdin: int = subprocess.DEVNULL) -> str:
        ended = subprocess.run(
            ["provisioner", *words],
            check=False,
            stdin=stdin,
            capture_output=True,
            text=True,
            cwd=self.home,
            env=self.environment,
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(tmp_path_factory.mktemp("installed"))


def test_the_version_is_that_of_the_package(installed: Installed) -> None:
    asked = "import importlib.metadata; print(importlib.metadata.version('provisioner'))"
    metadata = subprocess.run(
        [installed.python, "-c", asked], check=True, capture_output=True, text=True
    ).stdout.strip()
    assert installed.run("--version") == f"provisioner {__version__}\n"
    assert (metadata, installed.wheel.name.split("-")[1]) == (__version__, __version__)


def test_an_inventory_is_made_and_checked(installed: Installed) -> None:
    outer, inner = pty.openpty()
    os.write(outer, b"lab\n192.0.2.1 192.0.2.2 192.0.2.3\n" + b"\n" * 20)
    installed.run("inventory", "init", stdin=inner)
    os.close(outer)
    os.close(inner)
    assert "ok: cluster " in installed.run("inventory", "check", "cluster.yml")
    assert "overlay/demo" in installed.run("verify", "--list", "cluster.yml")
    assert "vxlan-blocked" in installed.run("causes")


def test_templates_and_data_are_there(installed: Installed) -> None:
    code = "from provisioner import render; print(render.folder(), len(render.library()))"
    said = subprocess.run(
        [installed.python, "-I", "-c", code], check=True, capture_output=True, text=True
    ).stdout.split()
    assert said[0].startswith(str(installed.share.parent))
    assert {path.name for path in Path(said[0]).iterdir()} == {path.name for path in (ROOT / "templates").iterdir()}


def test_files_that_messages_name_are_installed(installed: Installed) -> None:
    folder = installed.share / "doc/provisioner"
    assert f"Documents: {folder}\n" in installed.run("--help")
    sources = [*(ROOT / "provisioner").rglob("*.py"), *(ROOT / "templates").iterdir()]
    named = {word for path in sources for text in said(path) for word in FILE.findall(text)}
    assert {"docs/inventory.md", "inventories/three-hosts.yml", "docs/decisions/zookeeper.md"} <= named
    assert [word for word in sorted(named) if not (folder / word).is_file()] == []
    refused = subprocess.run(
        ["provisioner", "inventory", "init", "new.yml"],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=installed.home,
        env=installed.environment,
    )
    assert f"copy {folder / 'inventories/three-hosts.yml'} instead" in refused.stderr
    assert "ok: cluster" in installed.run("inventory", "check", "--no-files", str(folder / "inventories/lab.yml"))


def test_the_manual_page_is_installed(installed: Installed) -> None:
    page = installed.share / "man/man1/provisioner.1"
    assert page.read_text() == (ROOT / "man/provisioner.1").read_text()
