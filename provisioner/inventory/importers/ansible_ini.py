"""Ansible's INI inventories: sections of hosts, `[group:children]` and `[group:vars]`."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from provisioner.inventory.problems import escaped, shown

if TYPE_CHECKING:
    from provisioner.inventory.importers.ansible_tree import Tree, Variables

_SECTION = re.compile(r"\[([^:\]\s]+)(?::(\w+))?\]\s*(?:[#;].*)?")
_KINDS = ("hosts", "children", "vars")


def read(text: str, file: str, tree: Tree) -> None:
    """Add an INI inventory to the tree. A line that can't be read is noted, and left out."""
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
            tree.notes.append(f"{escaped(file)}:{number}: {error}; the line is not read")


def _add(line: str, group: str, kind: str, tree: Tree) -> None:
    if kind == "vars":
        name, equals, value = line.partition("=")
        if not equals:
            raise ValueError(f"{shown(line)} is no `name=value`")
        tree.group(group).variables[name.strip()] = _unquoted(value.strip())
        return
    words = _words(line)
    if not words:
        return
    if kind == "children":
        tree.group(group).children[words[0]] = None
        tree.group(words[0])
        return
    tree.add_hosts(group, words[0], _variables(words[1:]))


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError:
        raise ValueError(f"{shown(line)}: a quote is not closed") from None


def _variables(words: list[str]) -> Variables:
    result = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise ValueError(f"{shown(word)} is no `name=value`")
        result[name] = _unquoted(value)
    return result


def _unquoted(value: str) -> str:
    """Ansible reads values as Python's literals where they are some: of these, texts in quotes matter here."""
    found = re.fullmatch(r"""(["'])(.*)\1\s*(?:#.*)?""", value)
    return found[2] if found else value
