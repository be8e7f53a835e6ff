"""Ansible's settings: ansible.cfg and the variables of the environment that override it."""

from __future__ import annotations

import configparser
import getpass
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from provisioner.inventory.importers.found import cant, text_of

if TYPE_CHECKING:
    from collections.abc import Mapping

FALSE = ("false", "no", "off", "0", "f", "n")
_SSH = "ssh_connection"
_PLACES = {  # field of Defaults -> sections and name in ansible.cfg, and variables of the environment; the last one wins
    "user": (("defaults",), "remote_user", ("ANSIBLE_REMOTE_USER",)),
    "port": (("defaults",), "remote_port", ("ANSIBLE_REMOTE_PORT",)),
    "key": (("defaults",), "private_key_file", ("ANSIBLE_PRIVATE_KEY_FILE",)),
    "host_keys": (
        ("defaults", _SSH),
        "host_key_checking",
        ("ANSIBLE_HOST_KEY_CHECKING", "ANSIBLE_SSH_HOST_KEY_CHECKING"),
    ),
    "ssh_args": ((_SSH,), "ssh_args", ("ANSIBLE_SSH_ARGS",)),
    "ssh_common_args": ((_SSH,), "ssh_common_args", ("ANSIBLE_SSH_COMMON_ARGS",)),
    "ssh_extra_args": ((_SSH,), "ssh_extra_args", ("ANSIBLE_SSH_EXTRA_ARGS",)),
}


@dataclass(frozen=True, slots=True)
class Defaults:
    """Defaults for missing variables: from ansible.cfg, the environment and the local user. folder: that of ansible.cfg."""

    login: str
    inventory: tuple[Path, ...] = ()
    user: str = ""
    port: str = ""
    key: str = ""
    host_keys: str = ""
    ssh_args: str = ""
    ssh_common_args: str = ""
    ssh_extra_args: str = ""
    folder: Path = Path()

    @classmethod
    def now(cls) -> Defaults:
        """Return the defaults of this machine, from the configuration file that Ansible would use."""
        named = os.environ.get("ANSIBLE_CONFIG")
        files = [Path(named)] if named else []
        files += [Path("ansible.cfg"), Path.home() / ".ansible.cfg", Path("/etc/ansible/ansible.cfg")]
        file = next((file for file in files if file.is_file()), None)
        return configured(text_of(file) if file else "", file or files[0], getpass.getuser(), os.environ)


def configured(text: str, file: Path, login: str, environment: Mapping[str, str] | None = None) -> Defaults:
    """Parse the defaults of an ansible.cfg. Raises InventoryError."""
    config, environment = _parsed(text, file), environment or {}
    found = {field: _value(config, environment, *place) for field, place in _PLACES.items()}
    found["host_keys"] = "accept-new" if found["host_keys"].lower() in FALSE else ""
    if found["key"] and "private_key_file" in config.get("defaults", {}) and not found["key"].startswith("~"):
        found["key"] = str(file.parent / found["key"])
    words = environment.get("ANSIBLE_INVENTORY") or config.get("defaults", {}).get("inventory", "")
    folder = Path() if "ANSIBLE_INVENTORY" in environment else file.parent
    sources = (Path(folder, os.path.expanduser(word.strip())) for word in words.split(",") if word.strip())  # noqa: PTH111  never raises
    return Defaults(login, tuple(sources), folder=file.parent, **found)


def _parsed(text: str, file: Path) -> dict[str, dict[str, str]]:
    parser = configparser.ConfigParser(interpolation=None, strict=False, inline_comment_prefixes=(";",))
    try:
        parser.read_string(text)
    except configparser.Error as error:
        line = getattr(error, "lineno", 0) or next((number for number, _ in getattr(error, "errors", ())), 0)
        what = "is not an ansible.cfg: it needs sections in brackets, and under them `name = value`"
        raise cant(file, what, line) from None
    return {name: dict(parser[name]) for name in parser.sections()}


def _value(
    config: dict[str, dict[str, str]],
    environment: Mapping[str, str],
    sections: tuple[str, ...],
    name: str,
    variables: tuple[str, ...],
) -> str:
    values = [config.get(section, {}).get(name, "") for section in sections]
    values += [environment.get(variable, "") for variable in variables]
    return next(filter(None, reversed(values)), "")
