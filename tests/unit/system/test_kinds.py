"""No code outside system/firewall and system/packages names a packet filter or package manager: a new one needs no other change.

In Python modules, each string that is such a name counts; in templates, each line that contains one.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import provisioner
from provisioner import render
from provisioner.system import firewall, packages
from provisioner.system.firewall import others

ROOT = Path(provisioner.__file__).parent
NAMES = {
    *(program for each in firewall.FILTERS for program in each.programs),
    *(section for each in firewall.FILTERS for section in each.reads),
    *(chain for each in firewall.FILTERS for chain in each.chains),
    *(manager.name for manager in others.MANAGERS),
    *(unit for unit in others.LOADERS),
    *packages.PROGRAMS,
    *(manager.name for manager in packages.MANAGERS),
    *("dpkg", "rpm"),
}
PACKAGES = {name for name in packages.names("dockerd", "docker", "etcd", "perl", "nft") if name not in NAMES}
# Excluded: the two packages, and the lab, whose images consist of packages.
OUTSIDE = [
    path
    for path in sorted(ROOT.rglob("*.py"))
    if not any(path.is_relative_to(ROOT / folder) for folder in ("system/firewall", "system/packages", "lab"))
]
OWN = {"firewall-iptables", "firewall-nftables", "packages-apt"}
TEMPLATES = [
    path
    for path in sorted(render.folder().iterdir())
    if path.name.split(".")[0].removesuffix("-leave").removesuffix("-end") not in OWN
]


def named(text: str) -> list[str]:
    """Return the strings of a module that are such a name."""
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)]
    return [f"{node.lineno}: {node.value}" for node in nodes if node.value in NAMES | PACKAGES]


def in_lines(text: str) -> list[str]:
    """Return the lines of a script that run such a program, or look for it. Comments and messages don't count."""
    word = re.compile(
        rf"(?:^|[|;&(`] ?|\bhas |\bexec |command -v )\s*(?:{'|'.join(map(re.escape, NAMES))})(?:-save|-restore)?\b"
    )
    return [line for line in text.splitlines() if word.search(re.sub(r"^\s*#.*", "", line).lstrip())]


@pytest.mark.parametrize("path", OUTSIDE, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_outside_names_a_kind(path):
    assert named(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_no_other_template_runs_a_program_of_one_kind(path):
    assert in_lines(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "text",
    [
        "if program == 'nft': pass",
        "if 'apt-get' in programs: pass",
        "{'iptables': 1}[x]",
        "needs = {'dockerd': 'docker.io'}",
    ],
)
def test_what_counts_in_a_module(text):
    assert named(text)


@pytest.mark.parametrize(
    "text", ["cat x | iptables-restore", "has nft && x", "  apt-get install x", "a; iptables -F", "x=$(dpkg -l)"]
)
def test_what_counts_in_a_script(text):
    assert in_lines(text)


@pytest.mark.parametrize("text", ["# iptables is not asked", 'fail "no iptables here" "look at it"', "has docker"])
def test_what_does_not_count_in_a_script(text):
    assert not in_lines(text)
