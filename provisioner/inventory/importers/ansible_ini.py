"""Ansible's INI inventories: sections of hosts, `[group:children]` and `[group:vars]`."""

from __future__ import annotations

import ast
import contextlib
import re
import shlex
from typing import TYPE_CHECKING

from provisioner.inventory.importers.ansible_tree import MOST_HOSTS
from provisioner.inventory.importers.found import stopped

if TYPE_CHECKING:
    from provisioner.inventory.importers.ansible_tree import Tree, Variables

_SECTION = re.compile(r"\[([^:\]\s]+)(?::(\w+))?\]\s*(?:[#;].*)?")
_HOST = re.compile(r"[\w.:\[\]%@-]+")  # names, addresses with ports, ranges like web[01:50]
_KINDS = ("hosts", "children", "vars")


def read(text: str, file: str, tree: Tree) -> None:
    """Add an INI inventory to the tree. Raises InventoryError at a line that can't be read."""
    group, kind = "ungrouped", "hosts"
    for number, line in enumerate(text.split("\n"), 1):
        bare = line.strip()
        if not bare or bare[0] in "#;":
            continue
        if (section := _SECTION.fullmatch(bare)) and (section[2] or "hosts") in _KINDS:
            group, kind = section[1], section[2] or "hosts"
            tree.group(group)
            continue
        try:
            _add(bare, group, kind, tree)
        except ValueError as error:
            raise stopped(file, text, number, str(error)) from None


def _add(line: str, group: str, kind: str, tree: Tree) -> None:
    if kind == "vars":
        name, equals, value = line.partition("=")
        if not equals:
            raise ValueError("is not of the form `name=value`")
        tree.group(group).variables[name.strip()] = _unquoted(value.strip())
        return
    words = _words(line)
    if not words:
        return
    if kind == "children":
        tree.group(group).children[words[0]] = None
        tree.group(words[0])
        return
    if not _HOST.fullmatch(words[0]):
        raise ValueError("does not begin with the name of a host")
    variables = _variables(words[1:])
    try:
        tree.add_hosts(group, words[0], variables)
    except ValueError:
        raise ValueError(f"has an invalid range of hosts, or one with more than {MOST_HOSTS} hosts") from None


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError:
        raise ValueError("a quote is not closed") from None


def _variables(words: list[str]) -> Variables:
    result = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise ValueError("has a word after the host's name that is not `name=value`")
        result[name] = _unquoted(value)
    return result


def _unquoted(value: str) -> str:
    """Remove quotes. Ansible evaluates values as Python literals; only quoted strings and numbers matter here."""
    found = re.fullmatch(r"""(["'])(.*)\1\s*(?:#.*)?""", value)
    if found:
        return found[2]
    if re.fullmatch(r"[-+]?[0-9.][\w.+-]{0,40}", value):
        with contextlib.suppress(ValueError, SyntaxError):  # 10.0.0.1 and 022 are no numbers
            return str(ast.literal_eval(value))
    return value
