"""CONTRIBUTING, the hooks and the dev container name existing files, and match scripts/test."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
SCRIPT = (ROOT / "scripts/test").read_text()
SETUP = ROOT / ".devcontainer/setup"


def git(*words: str) -> str:
    return subprocess.run(["git", "-C", ROOT, *words], check=True, capture_output=True, text=True).stdout


def packages(name: str) -> set[str]:
    return set(re.search(rf'^{name}="([^"$]*)"', SCRIPT, re.MULTILINE)[1].split())


def test_the_hooks_run_the_same_tools_as_the_script():
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"
    hooks = {hook["name"]: hook["entry"] for hook in repository["hooks"]}
    lint = re.findall(r'^ *lint "([^"]+)" "\$bin/(\S+)"(.*)$', SCRIPT, re.MULTILINE)
    assert hooks == {name: f".venv/bin/{tool}{options}" for name, tool, options in lint}


def test_the_dev_container_has_the_packages_of_the_lab_and_the_tests():
    text = re.sub(r"^//.*$", "", (ROOT / ".devcontainer/devcontainer.json").read_text(), flags=re.MULTILINE)
    container = json.loads(text)
    assert container["privileged"] is True
    assert ROOT / container["postCreateCommand"] == SETUP
    assert SETUP.stat().st_mode & 0o111
    assert packages("LAB_PACKAGES") | packages("TEST_PACKAGES") <= set(SETUP.read_text().split())


def test_the_examples_are_commits_of_this_repository():
    try:
        complete = git("rev-parse", "--is-shallow-repository").strip() == "false"
    except (subprocess.CalledProcessError, FileNotFoundError):
        complete = False
    if not complete:
        pytest.skip("this is not a checkout with its history")
    *sections, _ = re.split(r"^## ", CONTRIBUTING, flags=re.MULTILINE)
    guides = {text.splitlines()[0]: text for text in sections if text.startswith("Write a ")}
    assert list(guides) == ["Write a step", "Write a cause", "Write a store"]
    for title, text in guides.items():
        commit = re.search(r"`git show ([0-9a-f]{7})`", text)[1]
        shown = " ".join(git("show", "--stat=200,160", "--patch", commit).split())
        for block in re.findall(r"```diff\n(.*?)```", text, re.DOTALL):
            for line in block.splitlines():
                assert " ".join(line.split()).removeprefix("+ ") in shown, (title, line)


def test_the_files_that_the_documents_name_exist():
    for page in (CONTRIBUTING, (ROOT / "docs/architecture.md").read_text()):
        for path in re.findall(r"`((?:provisioner|tests|templates|scripts)/[\w./]+)`", page):
            assert (ROOT / path).exists(), path
