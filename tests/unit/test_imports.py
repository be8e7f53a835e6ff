"""How the modules of the package depend on one another. Layers and circles of packages are import-linter's (pyproject.toml)."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest

import provisioner
from provisioner.inventory.store_models import Store

ROOT = Path(provisioner.__file__).parent
KINDS = tuple(Store.model_json_schema()["properties"]["kind"]["enum"])
# The inventory defines the kinds; the lab's images and the package managers know their packages; some causes are of one kind.
EXCEPTED = ("stores", "inventory", "lab", "system/packages", "causes")
OUTSIDE = [
    path for path in sorted(ROOT.rglob("*.py")) if not any(path.is_relative_to(ROOT / folder) for folder in EXCEPTED)
]


@pytest.fixture(scope="module")
def graph():
    """Type imports are in it too."""
    return grimp.build_graph("provisioner", cache_dir=None)


def test_no_module_imports_itself_through_others(graph):
    """A circle means that no module in it can be understood, or tested, without the others."""
    TopologicalSorter({name: graph.find_modules_directly_imported_by(name) for name in graph.modules}).prepare()


def asked(text: str) -> list[str]:
    """Where a module tells the kinds of stores apart: by name, or by a comparison of a store's kind."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and str(node.value).lower() in KINDS:
            found.append(f"{node.lineno}: {node.value!r}")
        compared = [node.left, *node.comparators] if isinstance(node, ast.Compare) else []
        compared += [node.subject] if isinstance(node, ast.Match) else []
        compared += [node.slice] if isinstance(node, ast.Subscript) else []
        found += [
            f"{each.lineno}: {ast.unparse(each)}"
            for each in compared
            if isinstance(each, ast.Attribute) and each.attr in {"kind", "title"} and is_store(each.value)
        ]
    return found


def is_store(node: ast.expr) -> bool:
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    return name in {"store", "the_store", "backend"}


def test_no_kind_of_store_is_told_apart_outside_stores():
    """What differs by kind is a member of a backend."""
    found = {str(path.relative_to(ROOT)): asked(path.read_text()) for path in OUTSIDE}
    assert {name: places for name, places in found.items() if places} == {}


def test_the_modules_of_one_kind_of_store_are_imported_by_stores_alone(graph):
    own = {
        name
        for name in graph.modules
        if name.startswith("provisioner.stores.") and name.rpartition(".")[2].startswith((*KINDS, "external"))
    }
    assert len(own) > len(KINDS)
    importers = {importer for name in own for importer in graph.find_modules_that_directly_import(name)}
    assert {name for name in importers if not name.startswith("provisioner.stores")} == set()


@pytest.mark.parametrize(
    "text",
    [
        "store.kind == other",
        "x = a if inventory.the_store.kind in KINDS else b",
        "match site.backend.kind:\n    case _: pass",
        "TABLE[store.kind]",
        "if name == 'etcd': pass",
        "title != 'ZooKeeper'",
    ],
)
def test_what_counts_as_telling_apart(text):
    assert asked(text)


@pytest.mark.parametrize("text", ["entry.kind == 'ssh-rsa'", "f'foreign-{backend.kind}'", "'the log of etcd'"])
def test_what_does_not(text):
    assert not asked(text)
