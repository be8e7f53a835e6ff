"""The image of the controller: linted everywhere, and built where Docker runs."""

from __future__ import annotations

import platform
import shutil
import subprocess

import pytest

from provisioner import __version__
from tests import oracles

DOCKERFILE = oracles.ROOT / "Dockerfile"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="hadolint's package has no program for this machine")
def test_hadolint() -> None:
    ended = subprocess.run([oracles.program("hadolint"), DOCKERFILE], check=False, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (0, "")


def test_everything_that_the_build_needs_is_in_its_context() -> None:
    ignored = (oracles.ROOT / ".dockerignore").read_text().split()
    kept = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    assert ignored[0] == "*"
    assert [name for name in kept if not (oracles.ROOT / name).exists()] == []
    assert {"pyproject.toml", "provisioner", "templates", "docs", "inventories", "man", "README.md"} <= kept


def test_both_stages_have_the_same_python_which_the_package_supports() -> None:
    """The wheel of the first stage has to run on the second. The package's version is nowhere but in the package."""
    text = DOCKERFILE.read_text()
    (python,) = {line.split()[1] for line in text.splitlines() if line.startswith("FROM ")}
    version = python.removeprefix("python:").removesuffix("-slim")
    assert f'"Programming Language :: Python :: {version}"' in (oracles.ROOT / "pyproject.toml").read_text()
    assert __version__ not in text


def test_the_user_is_not_root() -> None:
    last = [line.split()[1] for line in DOCKERFILE.read_text().splitlines() if line.startswith("USER ")][-1]
    assert last not in ("root", "0")


def docker(*words: str) -> str:
    return subprocess.run(["docker", *words], check=True, capture_output=True, text=True, timeout=540).stdout


def has_docker() -> bool:
    return (
        bool(shutil.which("docker"))
        and not subprocess.run(["docker", "info"], check=False, capture_output=True).returncode
    )


@pytest.mark.skipif(not has_docker(), reason="Docker does not run here")
def test_the_image_runs_as_its_user() -> None:
    image = docker("build", "--quiet", str(oracles.ROOT)).strip()
    try:
        assert docker("run", "--rm", image, "--version") == f"provisioner {__version__}\n"
        assert docker("run", "--rm", "--entrypoint", "id", image, "-un") == "provisioner\n"
        assert docker("run", "--rm", "--entrypoint", "ssh", image, "-G", "host").startswith("host ")
    finally:
        docker("rmi", "--force", image)
