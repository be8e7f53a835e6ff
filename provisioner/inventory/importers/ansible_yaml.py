"""Ansible's YAML: inventories, JSON output of inventory scripts, and variable files. Nothing is evaluated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yaml.nodes import MappingNode, ScalarNode, SequenceNode

from provisioner.inventory import composing
from provisioner.inventory.importers.ansible_tree import Vaulted
from provisioner.inventory.importers.found import cant
from provisioner.inventory.problems import code, escaped, shown

if TYPE_CHECKING:
    from provisioner.inventory.importers.ansible_tree import Tree, Variables

_DEEPEST = 64  # levels: each level of groups takes two


def read(text: str, file: str, tree: Tree) -> None:
    """Add a YAML inventory to the tree. Raises InventoryError if the text is not YAML, or not an inventory."""
    add(values(text, file), file, tree)


def add(top: Any, file: str, tree: Tree) -> None:
    """Add groups of an inventory, or those that a script prints, to the tree. Raises InventoryError."""
    if not isinstance(top, dict):
        raise cant(file, "is not an Ansible inventory: the top level must be groups")
    if "plugin" in top:
        raise cant(
            file,
            f"is for the inventory plugin {shown(top['plugin'])}, which only Ansible can use; with --trust, ansible-inventory runs it;"
            f" or run `ansible-inventory -i {escaped(file)} --list | provisioner inventory import ansible -`",
        )
    meta = top.pop("_meta", None)
    for name, group in top.items():
        _group(name, group, file, tree)
    for name, variables in _mapping(_mapping(meta).get("hostvars")).items():  # the form of inventory scripts
        if name in tree.hosts:
            tree.hosts[name] |= texts(variables)


def _group(name: str, group: Any, file: str, tree: Tree) -> None:
    own = tree.group(name)
    if isinstance(group, list):  # a script's short form
        group = {"hosts": group}
    elif group is not None and not isinstance(group, dict):
        raise cant(
            file,
            "is not an Ansible inventory: the top level, and `children`, must have groups: mappings with hosts, vars or children",
        )
    for key, part in _mapping(group).items():  # in the order of the file: of a host's variables, the last ones win
        if key == "vars":
            own.variables |= texts(part)
        elif key == "hosts":
            _hosts(name, part, file, tree)
        elif key == "children":
            for child, inner in _entries(part).items():
                own.children[child] = None
                _group(child, inner, file, tree)
        else:
            tree.notes.append(
                f"{escaped(file)}: {code(key)} in the group {code(name)} is not one of hosts, vars, children"
            )


def _hosts(group: str, part: Any, file: str, tree: Tree) -> None:
    for pattern, variables in _entries(part).items():
        try:
            tree.add_hosts(group, pattern, texts(variables))
        except ValueError as error:
            tree.notes.append(f"{escaped(file)}: in the group {code(group)}: {error}; not read")


def _entries(part: Any) -> dict[str, Any]:
    """Return a mapping; a list of words becomes one without values."""
    if isinstance(part, list):
        return {word: None for word in part if isinstance(word, str)}
    return {part: None} if isinstance(part, str) else _mapping(part)


def _mapping(part: Any) -> dict[str, Any]:
    return part if isinstance(part, dict) else {}


def as_written(value: Any) -> Any:
    """Return values of JSON with numbers and booleans as text, as `values` does."""
    if isinstance(value, dict):
        return {str(key): as_written(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [as_written(inner) for inner in value]
    return value if value is None or isinstance(value, str) else str(value)


def texts(variables: Any) -> Variables:
    """Return the variables that are strings, numbers or booleans, as written."""
    found = {name: _unvaulted(value) for name, value in _mapping(variables).items()}
    return {name: value for name, value in found.items() if isinstance(value, str)}


def _unvaulted(value: Any) -> Any:
    return Vaulted() if isinstance(value, dict) and "__ansible_vault" in value else value


def values(text: str, file: str) -> Any:
    """Parse YAML into mappings, lists and strings; scalars stay as written. Raises InventoryError."""
    try:
        root = composing.compose(text, _DEEPEST)
        return None if root is None else _Plain(file).value(root, 0)
    except composing.Stop as stop:
        raise cant(file, stop.args[0].text, stop.args[0].line) from None


class _Plain:
    """Walks the nodes; aliases are bounded in number and depth."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._values = 0

    def value(self, node: Any, depth: int) -> Any:
        self._values += 1
        if self._values > composing.MOST_VALUES or depth > _DEEPEST:
            raise cant(self._file, "has too many values, or an alias that contains itself", node.start_mark.line + 1)
        if str(node.tag) == "!vault":
            return Vaulted()
        if isinstance(node, ScalarNode):
            return None if str(node.tag).endswith(":null") else str(node.value)
        if isinstance(node, SequenceNode):
            return [self.value(child, depth + 1) for child in node.value]
        return self._mapping(node, depth)

    def _mapping(self, node: MappingNode, depth: int) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        own: dict[str, Any] = {}
        for key, inner in node.value:
            value = self.value(inner, depth + 1)
            if isinstance(key, ScalarNode) and key.value == "<<" and not key.style:
                for part in value if isinstance(value, list) else [value]:
                    merged = _mapping(part) | merged
            elif isinstance(key, ScalarNode):
                own[str(key.value)] = value
        return merged | own
