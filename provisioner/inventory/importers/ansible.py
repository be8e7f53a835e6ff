"""Hosts from Ansible inventories. Nothing is evaluated, decrypted or executed; such values are reported."""

from __future__ import annotations

import re
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from provisioner.errors import InventoryError
from provisioner.inventory.importers import ansible_ini, ansible_inventory, ansible_ssh, ansible_yaml, unsupported
from provisioner.inventory.importers.ansible_cfg import FALSE, Defaults
from provisioner.inventory.importers.ansible_groups import Groups
from provisioner.inventory.importers.ansible_tree import Tree, Variables, Vaulted
from provisioner.inventory.importers.folding import folded
from provisioner.inventory.importers.found import Found, Machine, cant, is_folder, text_of
from provisioner.inventory.importers.ssh_config import Here
from provisioner.inventory.problems import code, escaped, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SKIPPED = (
    ".bak",
    ".cfg",
    ".md",
    ".orig",
    ".pyc",
    ".pyo",
    ".retry",
    ".rpm",
    ".rst",
    ".swp",
    ".txt",
    "~",
)  # in a folder
_NO_SOURCES = ("group_vars", "host_vars", "vars_plugins")
_DEEPEST = 16  # folders; a link may lead to a folder around it
_YAML = (".yml", ".yaml", ".json")
_LOOKS_YAML = re.compile(r"(?:---|\{|[\"']?[\w.-]+[\"']?:(?:\s|$))")
_SSH = (
    "",
    "ssh",
    "smart",
    "openssh",
    "paramiko",
    "paramiko_ssh",
    "ansible.builtin.ssh",
    "ansible.builtin.paramiko_ssh",
)
_ARGUMENTS = ("ssh_args", "ssh_common_args", "ssh_extra_args")
# Where several of these variables are set, the last one wins, as with Ansible.
_ADDRESS = ("ansible_host", "ansible_ssh_host")
_PORT = ("ansible_port", "ansible_ssh_port")
_USER = ("ansible_user", "ansible_ssh_user")
_KEY = ("ansible_private_key_file", "ansible_ssh_private_key_file")
_CHECKED = ("ansible_host_key_checking", "ansible_ssh_host_key_checking")


def default_sources(folder: Path | None = None) -> tuple[Path, ...]:
    """Return the inventory named in ansible.cfg, one in this folder, or the machine's. Raises InventoryError."""
    here = folder or Path()
    if named := Defaults.now().inventory:
        return named
    candidates = [
        here / "hosts",
        here / "inventory",
        *sorted(here.glob("inventory.*")),
        *sorted(here.glob("hosts.y*ml")),
    ]
    for path in (*candidates, Path("/etc/ansible/hosts")):
        if path.exists():
            return (path,)
    raise cant(
        "ansible", "no ansible.cfg names an inventory, and there is no ./hosts, ./inventory or /etc/ansible/hosts"
    )


def machines(sources: tuple[Path, ...], *, group: str = "", defaults: Defaults | None = None) -> Found:
    """The hosts of inventory files or folders. Raises InventoryError."""
    tree = Tree()
    for source in sources:
        _read(source, tree, 0)
    folders = tuple(dict.fromkeys(source if is_folder(source) else source.parent for source in sources))
    return _found(tree, folders, group, defaults or Defaults.now())


def parsed(text: str, name: str, *, group: str = "", defaults: Defaults | None = None) -> Found:
    """The hosts of one inventory's text, without group_vars and host_vars. Raises InventoryError."""
    tree = Tree()
    _parse(text, name, tree)
    return _found(tree, (), group, defaults or Defaults.now())


def trusted(source: Path | None, *, group: str = "", defaults: Defaults | None = None) -> Found:
    """The hosts that `ansible-inventory` lists. It executes scripts and plugins. Raises InventoryError."""
    tree = Tree()
    ansible_yaml.add(ansible_yaml.as_written(ansible_inventory.listed(source)), "ansible-inventory", tree)
    return _found(tree, (), group, defaults or Defaults.now())


def _read(path: Path, tree: Tree, depth: int) -> None:
    if not is_folder(path):
        _parse(text_of(path), str(path), tree)
        return
    try:
        entries = sorted(path.iterdir())
    except OSError as error:
        raise cant(path, f"can't be read: {error.strerror}") from None
    for entry in entries:
        if entry.name.startswith(".") or entry.name in _NO_SOURCES or depth > _DEEPEST:
            continue
        if entry.name.endswith(_SKIPPED):
            tree.notes.append(
                f"{escaped(str(entry))}: files with this extension are not read from a folder; name the file to read it"
            )
            continue
        before = deepcopy((tree.groups, tree.hosts))
        try:
            _read(entry, tree, depth + 1)
        except InventoryError as error:
            tree.groups, tree.hosts = before  # nothing of a file that is read in part
            tree.notes.append(f"{error.problems[0]}; not read")


def _parse(text: str, name: str, tree: Tree) -> None:
    if text.startswith("#!"):
        raise cant(
            name,
            "is a script, and scripts are not executed: with --trust, ansible-inventory executes it;"
            " or run `SCRIPT --list | provisioner inventory import ansible -`",
        )
    if text.startswith("$ANSIBLE_VAULT;"):
        raise cant(
            name,
            "is encrypted with ansible-vault: run `ansible-vault view FILE | provisioner inventory import ansible -`",
        )
    if name.endswith(".toml"):
        raise cant(
            name,
            "TOML is not supported: run `ansible-inventory -i FILE --list | provisioner inventory import ansible -`",
        )
    lines = (line.strip() for line in text.split("\n"))
    first = next((line for line in lines if line and line[0] not in "#;"), "")
    if name.endswith(_YAML) or _LOOKS_YAML.match(first):
        ansible_yaml.read(text, name, tree)
    else:
        ansible_ini.read(text, name, tree)


def _found(tree: Tree, folders: tuple[Path, ...], group: str, defaults: Defaults) -> Found:
    groups = Groups(tree, folders)
    ssh = ansible_ssh.Ssh(replace(Here.now(), login=defaults.login), defaults.folder)
    found = [machine(name, groups.variables(name), defaults, ssh) for name in groups.members(group or "all")]
    unnamed = [m.name for m in found if not m.user and not m.left_out]
    of_files = (note.partition(": ")[::2] for note in dict.fromkeys(tree.notes))
    notes = [*folded(of_files, "files", str), *dict.fromkeys(ssh.notes)]
    if unnamed:
        notes.append(
            f"no user is named for {', '.join(map(code, unnamed[:3]))}{' and others' if len(unnamed) > 3 else ''}:"  # noqa: PLR2004
            f" {code(defaults.login)}, your local user, is written, as with ssh"
        )
    return Found(tuple(_with_user(m, defaults.login) for m in found), tuple(notes))


def _with_user(machine: Machine, login: str) -> Machine:
    return machine if machine.user or machine.left_out else replace(machine, user=login)


def machine(name: str, variables: Variables, defaults: Defaults, ssh: ansible_ssh.Ssh) -> Machine:
    """Return one host from its merged variables."""
    notes: list[str] = []
    address = _plain(variables, _ADDRESS, notes)
    connection = _plain(variables, ("ansible_connection",), notes)
    if connection not in _SSH:
        return Machine(name, left_out=_no_ssh(connection))
    if notes:
        return Machine(name, left_out=notes[0])
    key = _plain(variables, _KEY, notes) or defaults.key
    found = ssh.machine(name, address or name, _arguments(variables, defaults, notes))
    return replace(found, key=key or found.key).noting(*notes, *_not_carried(variables))


def _arguments(variables: Variables, defaults: Defaults, notes: list[str]) -> list[ansible_ssh.Arguments]:
    """Return the arguments with which Ansible would run ssh, in its order."""
    first, *more = (
        ansible_ssh.parsed(_plain(variables, (f"ansible_{name}",), notes) or getattr(defaults, name))
        for name in _ARGUMENTS
    )
    own = {
        "stricthostkeychecking": "no" if _unchecked(variables, defaults) else "",
        "port": _plain(variables, _PORT, notes) or defaults.port,
        "user": _plain(variables, _USER, notes) or defaults.user,
    }
    options = [(keyword, [value]) for keyword, value in own.items() if value]
    return [first, ansible_ssh.Arguments(options), *more]


def _plain(variables: Mapping[str, str], names: tuple[str, ...], notes: list[str]) -> str:
    """The value of the last variable that is set. A value that only Ansible can evaluate is noted and skipped."""
    for name in reversed(names):
        value = variables.get(name, "")
        if isinstance(value, Vaulted):
            notes.append(f"{name} is encrypted with ansible-vault, and not read")
        elif "{{" in value or "{%" in value:
            notes.append(f"{name}={shown(value)} is a template, which is not evaluated; write its value")
        elif value:
            return value
    return ""


def _unchecked(variables: Variables, defaults: Defaults) -> bool:
    """Whether Ansible's own settings switch the check of host keys off."""
    words = [variables[name].lower() for name in _CHECKED if variables.get(name)]
    return words[-1] in FALSE if words else bool(defaults.host_keys)


def _no_ssh(connection: str) -> str:
    if connection == "local":
        return (
            "ansible_connection=local: provisioner reaches every host by SSH, this machine too; add it with its address"
        )
    return f"ansible_connection={shown(connection)}: provisioner reaches hosts by SSH only"


def _not_carried(variables: Variables) -> Iterator[str]:
    if any(name in variables for name in ("ansible_password", "ansible_ssh_pass", "ansible_ssh_password")):
        yield unsupported.KEYS_ONLY
    if any(re.fullmatch(r"ansible_(become|sudo)_pass(word)?", name) for name in variables):
        yield unsupported.SUDO_ASKS
    method = variables.get("ansible_become_method", "sudo")
    if method not in ("sudo", "ansible.builtin.sudo"):
        yield f"ansible_become_method={shown(method)}: provisioner uses sudo, or logs in as root"
