"""Texts are for people: no decision depends on one. See also renaming.py, which runs in every test of a step."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import provisioner
from provisioner import wording
from provisioner.model import Action, Kind
from provisioner.steps import STEPS

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(provisioner.__file__).parent
TEXTS = {"what", "note", "cure", "detail", "error", "reason", "remark"}  # attributes, and functions of wording.py
ANSWERS = {"stores/external_kinds.py": 1}  # file -> how often it looks into an answer of a store, which is not our text
LOOKS = {"startswith", "endswith", "removeprefix", "removesuffix", "partition", "rpartition", "split", "find", "index"}


def texts(node: ast.AST) -> Iterator[ast.AST]:
    """The attributes in an expression that are texts for people."""
    for part in ast.walk(node):
        if isinstance(part, ast.Attribute) and part.attr in TEXTS:
            yield part


def decided(source: str) -> list[int]:
    """The lines that compare a text for people, or search in it."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare) and not isinstance(node.ops[0], ast.Is | ast.IsNot):
            looked = [node.left, *node.comparators]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LOOKS:
            looked = [node.func.value]
        elif isinstance(node, ast.Match):
            looked = [node.subject]
        else:
            continue
        lines += [node.lineno for part in looked if any(texts(part))]
    return lines


def test_no_text_is_compared():
    """report/ is an exception, because it only handles texts."""
    files = [path for path in PACKAGE.rglob("*.py") if path.parent.name != "report"]
    found = {str(path.relative_to(PACKAGE)): decided(path.read_text()) for path in files}
    assert {path: len(lines) for path, lines in found.items() if lines} == ANSWERS


@pytest.mark.parametrize("source", [
    'd.note == "wait"', 'x = {d.note for d in drift} == {"wait"}', 'd.what.startswith("package ")', "wording.note(d) in texts",
    'error.what.partition(":")',
])  # fmt: skip
def test_a_comparison_of_a_text_is_found(source):
    assert decided(source) == [1]


def test_every_kind_has_a_text():
    assert set(wording._THINGS) == set(Kind)
    for kind, action in wording._TAKES_FOR:
        assert (kind in Kind, action in Action) == (True, True)


def test_every_step_is_tested_with_other_texts():
    for step in STEPS:
        assert hasattr(type(step).work, "__wrapped__"), step.name
