"""The ssh that Ansible would run for a host: its arguments, the file of `-F`, and the variables. Nothing is executed."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from provisioner.errors import InventoryError
from provisioner.inventory.importers import ssh_config, ssh_lines
from provisioner.inventory.importers.found import text_of
from provisioner.inventory.problems import escaped, shown
from provisioner.jumps import as_jump

if TYPE_CHECKING:
    from provisioner.inventory.importers.found import Machine

_VALUED = "BDEFIJLOQRSWbceilmopw"  # the flags of ssh with a value
_MEANINGS = {"J": "proxyjump", "l": "user", "p": "port", "i": "identityfile"}
_UNUSED = "46ACEKMNOSTVXYafgkntvxyq"  # flags that affect neither the destination nor the login
_READ = {
    "hostname", "identitiesonly", "identityfile", "port", "proxycommand", "proxyjump", "stricthostkeychecking", "user",
    "userknownhostsfile", *ssh_config.NOT_CARRIED,
}  # fmt: skip
_UNUSED_OPTIONS = {
    "addkeystoagent", "batchmode", "checkhostip", "compression", "connectionattempts", "connecttimeout", "controlmaster", "controlpath",
    "controlpersist", "exitonforwardfailure", "forwardagent", "forwardx11", "gssapiauthentication", "hashknownhosts",
    "kbdinteractiveauthentication", "loglevel", "passwordauthentication", "preferredauthentications", "pubkeyauthentication",
    "serveralivecountmax", "serveraliveinterval", "tcpkeepalive", "updatehostkeys", "visualhostkey",
}  # fmt: skip
_NO_FILE = ("none", "/dev/null")

Options = list[tuple[str, list[str]]]
"""Keywords in lower case and their values, in ssh's order: the first one wins."""


@dataclass(slots=True)
class Arguments:
    """Arguments of ssh. config: the file of -F. lost: what is not carried over, by its keyword or flag."""

    options: Options = field(default_factory=list)
    config: str = ""
    lost: list[str] = field(default_factory=list)


def parsed(text: str) -> Arguments:
    """Parse a string of arguments. Values are not shown in `lost`."""
    found = Arguments()
    try:
        words = shlex.split(text)
    except ValueError:
        return Arguments(lost=["a quote that is not closed"])
    while words:
        word = words.pop(0)
        if not word.startswith("-") or len(word) == 1:
            found.lost.append("a word that is not an option")
            continue
        flags = word[1:]
        at = next((at for at, flag in enumerate(flags) if flag in _VALUED), len(flags))
        found.lost += [f"-{flag}" for flag in flags[:at] if flag not in _UNUSED]
        if at < len(flags):
            value = flags[at + 1 :] or (words.pop(0) if words else "")
            _add(flags[at], value, found)
    return found


def _add(flag: str, value: str, found: Arguments) -> None:
    if flag == "F":
        found.config = value
    elif flag in _MEANINGS:
        found.options.append((_MEANINGS[flag], [value]))
    elif flag != "o":
        found.lost += [f"-{flag}"] if flag not in _UNUSED else []
    else:
        try:
            keyword, arguments = ssh_lines.option(value)
        except ValueError:
            found.lost.append("an option without a value")
            return
        if jump := as_jump(" ".join(arguments)) if keyword == "proxycommand" else "":
            keyword, arguments = "proxyjump", [jump]
        found.options.append((keyword, arguments))
        if keyword not in _READ | _UNUSED_OPTIONS:
            found.lost.append(shown(keyword).strip("'"))


class Ssh:
    """Resolves hosts as ssh would with these arguments. folder: that of ansible.cfg, another start of relative paths.

    notes: about files of -F, which are read once.
    """

    def __init__(self, here: ssh_config.Here, folder: Path) -> None:
        self._here, self._folder = here, folder
        self._files: dict[str, ssh_lines.Config] = {}
        self.notes: list[str] = []

    def machine(self, name: str, address: str, parts: list[Arguments]) -> Machine:
        """Return the machine under its inventory name. address: what ssh gets. Its user is "" if nothing names one."""
        options = [option for part in parts for option in part.options]
        file = next((part.config for part in reversed(parts) if part.config), "")
        found = ssh_config.reached(address, options, self._config(file), self._here)
        named_jump = next((words[0] for keyword, words in options if keyword == "proxyjump"), "")
        if named_jump and not file:  # the jump host's own user and port are not known here
            found = replace(found, jump=re.sub(r"(^|,)ssh://|/(?=,|$)", r"\1", named_jump))
        lost = dict.fromkeys(word for part in parts for word in part.lost)
        notes = (f"of the SSH arguments, {', '.join(lost)} is not carried over",) if lost else ()
        return replace(found, name=name, notes=(*notes, *found.notes))

    def _config(self, word: str) -> ssh_lines.Config:
        if word not in self._files:
            self._files[word] = self._read(word) if word and word.lower() not in _NO_FILE else ssh_lines.Config()
            self.notes += self._files[word].notes
        return self._files[word]

    def _read(self, word: str) -> ssh_lines.Config:
        paths = [Path(folder, Path(word).expanduser()) for folder in (self._here.folder, self._folder)]
        path = next((str(path) for path in paths if path.is_file()), str(paths[0]))
        try:
            return ssh_config.read(text_of(Path(path)), path, self._here)
        except InventoryError as error:
            why = f"`-F {escaped(word)}` of the SSH arguments is not carried over: {error.problems[0]}"
            return ssh_lines.Config(notes=[f"{why}; import again in the folder in which you run Ansible"])
