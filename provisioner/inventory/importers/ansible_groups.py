"""The merged variables of a host: from its groups, from group_vars and host_vars, and its own."""

from __future__ import annotations

import errno
import stat
from typing import TYPE_CHECKING

from provisioner.errors import InventoryError
from provisioner.inventory.importers import ansible_yaml
from provisioner.inventory.importers.found import cant, text_of
from provisioner.inventory.problems import closest, code, escaped

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from provisioner.inventory.importers.ansible_tree import Tree, Variables

_ALL, _UNGROUPED = "all", "ungrouped"
_DEEPEST = 100  # levels of groups
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)
_ENDINGS = ("", ".yml", ".yaml", ".json")


class Groups:
    """The groups of a tree and its variable files. folders: folders that may contain group_vars and host_vars."""

    def __init__(self, tree: Tree, folders: tuple[Path, ...]) -> None:
        """Raises InventoryError if groups are children of one another."""
        self._tree = tree
        self._folders = folders
        self._files: dict[tuple[Path, str], Variables] = {}
        self._parents: dict[str, list[str]] = {name: [] for name in tree.groups}
        for name, group in tree.groups.items():
            for child in group.children:
                self._parents.setdefault(child, []).append(name)
        self._depths: dict[str, int] = {}
        for name in self._parents:
            self._depth(name, ())
        self._around = self._ancestors()

    def members(self, group: str) -> list[str]:
        """The hosts of a group and of its children, in the order of the files. Raises InventoryError."""
        if group not in self._tree.groups:
            meant = closest(group, self._tree.groups)
            hint = f"did you mean {code(meant)}?" if meant else f"there are {', '.join(map(code, self._tree.groups))}"
            raise cant("ansible", f"there is no group {code(group)}; {hint}")
        return [name for name in self._tree.hosts if group in self._around[name]]

    def variables(self, host: str) -> Variables:
        """Return a host's variables in Ansible's order of precedence, without those of playbooks.

        Source: Ansible's documentation, "Variable precedence", 3 to 10: groups in files, then group_vars (`all` first),
        then the host's line, then host_vars. Among groups a child wins over its parent, then priority, then the name.
        """
        groups = sorted(self._around[host], key=lambda name: (self._depths[name], self._priority(name), name))
        result: Variables = {}
        for name in groups:
            result |= self._tree.groups[name].variables
        for some in ([_ALL], [name for name in groups if name != _ALL]):
            for folder in self._folders:  # each source as a whole: a parent in a later one wins over a child
                for name in some:
                    result |= self._beside(folder / "group_vars", name)
        result |= self._tree.hosts[host]
        for folder in self._folders:
            result |= self._beside(folder / "host_vars", host)
        return result

    def _ancestors(self) -> dict[str, set[str]]:
        """Host -> the groups that contain it, directly or through child groups."""
        around: dict[str, set[str]] = {host: {_ALL} for host in self._tree.hosts}
        for name, group in self._tree.groups.items():
            above, todo = set[str](), [name]
            while todo:
                current = todo.pop()
                if current not in above:
                    above.add(current)
                    todo += self._parents[current]
            for host in group.hosts:
                around[host] |= above
        for names in around.values():  # `ungrouped` has the hosts of no other group, wherever the files put them
            (names.discard if names - {_ALL, _UNGROUPED} else names.add)(_UNGROUPED)
        return around

    def _depth(self, name: str, below: tuple[str, ...]) -> int:
        """The longest path from `all`. A group without parents is a child of `all`."""
        if name in below or len(below) > _DEEPEST:
            raise cant(
                "ansible",
                f"groups are children of one another, or nested too deep: {', '.join(map(code, (*below, name)))[:300]}",
            )
        if name not in self._depths:
            parents = [self._depth(parent, (*below, name)) for parent in self._parents[name]]
            self._depths[name] = 0 if name == _ALL else 1 + max(parents, default=0)
        return self._depths[name]

    def _priority(self, name: str) -> int:
        word = self._tree.groups[name].variables.get("ansible_group_priority", "1")
        return int(word) if word.isascii() and word.isdigit() else 1

    def _beside(self, folder: Path, name: str) -> Variables:
        """The variables of NAME in `group_vars` or `host_vars`: a file, or a folder of files."""
        if (folder, name) not in self._files:
            found: Variables = {}
            if "/" not in name and "\0" not in name and not name.startswith("."):  # a name must not be a path
                try:
                    files = _files(folder, name)
                except OSError as error:
                    self._tree.notes.append(
                        f"{escaped(str(error.filename or folder))}: can't be read: {error.strerror};"
                        " its variables are missing"
                    )
                    files = []
                for file in files:
                    found |= self._read(file)
            self._files[folder, name] = found
        return self._files[folder, name]

    def _read(self, file: Path) -> Variables:
        try:
            text = text_of(file)
            if text.startswith("$ANSIBLE_VAULT;"):
                self._tree.notes.append(f"{escaped(str(file))}: is encrypted with ansible-vault, and not read")
                return {}
            return ansible_yaml.texts(ansible_yaml.values(text, str(file)))
        except InventoryError as error:
            self._tree.notes.append(f"{error.problems[0]}; not read")
            return {}


def _files(folder: Path, name: str) -> list[Path]:
    """Return the first existing one of NAME, NAME.yml and so on; a folder yields its files. Raises OSError."""
    for ending in _ENDINGS:
        path = folder / f"{name}{ending}"
        try:
            if stat.S_ISDIR(path.stat().st_mode):
                return list(_inside(path, 0))
        except OSError as error:
            if error.errno in _ABSENT:
                continue
            raise
        return [path]
    return []


def _inside(folder: Path, depth: int) -> Iterator[Path]:
    """The variable files of a folder and of those in it: not hidden, no backups, and with the extensions of YAML or none."""
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith(".") or entry.name.endswith("~"):
            continue
        if entry.is_dir():
            if not entry.suffix and depth < _DEEPEST:
                yield from _inside(entry, depth + 1)
        elif entry.suffix in _ENDINGS:
            yield entry
