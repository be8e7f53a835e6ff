"""Hosts from Ansible inventories. Nothing is evaluated, decrypted or executed; such values are reported."""

from __future__ import annotations

import configparser
import getpass
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from provisioner.errors import InventoryError
from provisioner.inventory.importers import ansible_ini, ansible_yaml, unsupported
from provisioner.inventory.importers.ansible_groups import Groups
from provisioner.inventory.importers.ansible_tree import Tree, Variables, Vaulted
from provisioner.inventory.importers.found import Found, Machine, cant, is_folder, text_of
from provisioner.inventory.problems import code, escaped, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SKIPPED = (".bak", ".cfg", ".ini", ".md", ".orig", ".pyc", ".retry", ".rst", ".swp", ".txt", "~")  # in a folder
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
_FALSE = ("false", "no", "off", "0", "f", "n")


@dataclass(frozen=True, slots=True)
class Defaults:
    """Defaults for missing variables: from ansible.cfg and the local user."""

    login: str
    inventory: tuple[Path, ...] = ()
    user: str = ""
    port: str = ""
    key: str = ""
    host_keys: str = ""

    @classmethod
    def now(cls) -> Defaults:
        """Return the defaults of this machine, from the configuration file that Ansible would use."""
        named = os.environ.get("ANSIBLE_CONFIG")
        files = [Path(named)] if named else []
        files += [Path("ansible.cfg"), Path.home() / ".ansible.cfg", Path("/etc/ansible/ansible.cfg")]
        file = next((file for file in files if file.is_file()), None)
        return configured(text_of(file), file, getpass.getuser()) if file else cls(getpass.getuser())


def configured(text: str, file: Path, login: str) -> Defaults:
    """Parse the defaults of an ansible.cfg. Raises InventoryError."""
    parser = configparser.ConfigParser(interpolation=None, strict=False, inline_comment_prefixes=(";",))
    try:
        parser.read_string(text)
    except configparser.Error as error:
        line = getattr(error, "lineno", 0) or next((number for number, _ in getattr(error, "errors", ())), 0)
        raise cant(
            file, "is not an ansible.cfg: it needs sections in brackets, and under them `name = value`", line
        ) from None
    part = parser["defaults"] if parser.has_section("defaults") else {}
    words = [word.strip() for word in part.get("inventory", "").split(",")]
    return Defaults(
        login,
        inventory=tuple(Path(file.parent, Path(os.path.expanduser(word))) for word in words if word),  # noqa: PTH111  never raises
        user=part.get("remote_user", ""),
        port=part.get("remote_port", ""),
        key=part.get("private_key_file", ""),
        host_keys="accept-new" if part.get("host_key_checking", "").lower() in _FALSE else "",
    )


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


def _read(path: Path, tree: Tree, depth: int) -> None:
    if not is_folder(path):
        _parse(text_of(path), str(path), tree)
        return
    try:
        entries = sorted(path.iterdir())
    except OSError as error:
        raise cant(path, f"can't be read: {error.strerror}") from None
    for entry in entries:
        if entry.name.startswith(".") or entry.name in ("group_vars", "host_vars") or (depth and entry.is_dir()):
            continue
        if entry.name.endswith(_SKIPPED):
            tree.notes.append(
                f"{escaped(str(entry))}: files with this extension are not read from a folder; name the file to read it"
            )
            continue
        try:
            _read(entry, tree, depth + 1)
        except InventoryError as error:
            tree.notes.append(f"{error.problems[0]}; not read")


def _parse(text: str, name: str, tree: Tree) -> None:
    if text.startswith("#!"):
        raise cant(
            name,
            "is a script, and scripts are not executed: run `SCRIPT --list | provisioner inventory import ansible -`",
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
    found = [machine(name, groups.variables(name), defaults) for name in groups.members(group or "all")]
    unnamed = [m.name for m in found if not m.user and not m.left_out]
    notes = list(dict.fromkeys(tree.notes))
    if unnamed:
        notes.append(
            f"no user is named for {', '.join(map(code, unnamed[:3]))}{' and others' if len(unnamed) > 3 else ''}:"  # noqa: PLR2004
            f" {code(defaults.login)}, your local user, is written, as with ssh"
        )
    return Found(tuple(_with_user(m, defaults.login) for m in found), tuple(notes))


def _with_user(machine: Machine, login: str) -> Machine:
    from dataclasses import replace

    return machine if machine.user or machine.left_out else replace(machine, user=login)


def machine(name: str, variables: Variables, defaults: Defaults) -> Machine:
    """Return one host from its merged variables."""
    notes: list[str] = []
    address = _plain(variables, ("ansible_host", "ansible_ssh_host"), notes)
    connection = _plain(variables, ("ansible_connection",), notes)
    if connection not in _SSH:
        return Machine(name, left_out=_no_ssh(connection))
    if notes:
        return Machine(name, left_out=notes[0])
    key = _plain(variables, ("ansible_ssh_private_key_file", "ansible_private_key_file"), notes) or defaults.key
    strict, jump, more = _arguments(variables)
    return Machine(
        name,
        address=address or name,
        port=_plain(variables, ("ansible_port", "ansible_ssh_port"), notes) or defaults.port or "22",
        user=_plain(variables, ("ansible_user", "ansible_ssh_user"), notes) or defaults.user,
        key=key if not key or key.startswith("~") else str(Path(key).absolute()),
        jump=jump,
        host_keys=strict or _host_keys(variables) or defaults.host_keys,
        notes=(*notes, *more, *_not_carried(variables)),
    )


def _plain(variables: Mapping[str, str], names: tuple[str, ...], notes: list[str]) -> str:
    """The value of the first variable that is set. A value that only Ansible can evaluate is noted and skipped."""
    for name in names:
        value = variables.get(name, "")
        if isinstance(value, Vaulted):
            notes.append(f"{name} is encrypted with ansible-vault, and not read")
        elif "{{" in value or "{%" in value:
            notes.append(f"{name}={shown(value)} is a template, which is not evaluated; write its value")
        elif value:
            return value
    return ""


def _no_ssh(connection: str) -> str:
    if connection == "local":
        return (
            "ansible_connection=local: provisioner reaches every host by SSH, this machine too; add it with its address"
        )
    return f"ansible_connection={shown(connection)}: provisioner reaches hosts by SSH only"


def _host_keys(variables: Variables) -> str:
    names = ("ansible_host_key_checking", "ansible_ssh_host_key_checking")
    return "accept-new" if any(variables.get(name, "").lower() in _FALSE for name in names) else ""


def _arguments(variables: Variables) -> tuple[str, str, list[str]]:
    """Return `host_keys`, `jump` and notes from Ansible's arguments for ssh."""
    names = [
        name
        for name in ("ansible_ssh_common_args", "ansible_ssh_extra_args", "ansible_ssh_args")
        if variables.get(name)
    ]
    words = " ".join(variables[name] for name in names)
    strict = re.search(r"StrictHostKeyChecking[= ]+[\"']?(no|off|accept-new)\b", words, re.IGNORECASE)
    notes = []
    jump = re.search(r"(?:ProxyJump[= ]+|(?:^|\s)-J\s*)[\"']?([^\s\"']+)", words, re.IGNORECASE)
    if not jump and re.search("ProxyCommand", words, re.IGNORECASE):
        notes.append(unsupported.command("ProxyCommand"))
    elif words and not (strict or jump):
        notes.append(f"{', '.join(names)}: {shown(words)} is not carried over")
    return "accept-new" if strict else "", jump[1].removeprefix("ssh://").rstrip("/") if jump else "", notes


def _not_carried(variables: Variables) -> Iterator[str]:
    if any(name in variables for name in ("ansible_password", "ansible_ssh_pass", "ansible_ssh_password")):
        yield unsupported.KEYS_ONLY
    if any(re.fullmatch(r"ansible_(become|sudo)_pass(word)?", name) for name in variables):
        yield unsupported.SUDO_ASKS
    method = variables.get("ansible_become_method", "sudo")
    if method not in ("sudo", "ansible.builtin.sudo"):
        yield f"ansible_become_method={shown(method)}: provisioner uses sudo, or logs in as root"
