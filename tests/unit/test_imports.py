"""Dependencies between the modules. import-linter checks layers, and cycles between packages (pyproject.toml)."""

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
# The inventory defines the kinds. The lab's images and package managers name packages. Some causes concern one kind.
EXCEPTED = ("stores", "inventory", "lab", "system/packages", "causes")
OUTSIDE = [
    path for path in sorted(ROOT.rglob("*.py")) if not any(path.is_relative_to(ROOT / folder) for folder in EXCEPTED)
]


@pytest.fixture(scope="module")
def graph():
    """The graph of imports, including type imports."""
    return grimp.build_graph("provisioner", cache_dir=None)


def test_no_module_imports_itself_through_others(graph):
    """In an import cycle, no module can be understood or tested without the others."""
    TopologicalSorter({name: graph.find_modules_directly_imported_by(name) for name in graph.modules}).prepare()


def distinguishing(text: str) -> list[str]:
    """The places where a module distinguishes kinds of stores, by name or by comparing a store's kind."""
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


def test_kinds_of_stores_are_only_distinguished_in_stores():
    """Differences between kinds belong into the backends."""
    found = {str(path.relative_to(ROOT)): distinguishing(path.read_text()) for path in OUTSIDE}
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
def test_what_counts_as_distinguishing(text):
    assert distinguishing(text)


@pytest.mark.parametrize("text", ["entry.kind == 'ssh-rsa'", "f'foreign-{backend.kind}'", "'the log of etcd'"])
def test_what_does_not(text):
    assert not distinguishing(text)
