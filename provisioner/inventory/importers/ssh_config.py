"""Hosts from OpenSSH's client configuration, `~/.ssh/config`."""

from __future__ import annotations

import getpass
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING

from provisioner.errors import InventoryError
from provisioner.inventory.importers import ssh_lines, unsupported
from provisioner.inventory.importers.found import Found, Machine, is_there, text_of, unlistable
from provisioner.inventory.problems import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_HOST_KEYS = dict.fromkeys(("no", "off", "false", "accept-new"), "accept-new") | dict.fromkeys(
    ("yes", "true", "ask"), "strict"
)
_HOP = re.compile(r"(?:ssh://)?(?:(?P<user>[^@]*)@)?(?P<host>\[[^\]]+\]|[^@:/]+)(?::(?P<port>[0-9]+))?/?")
_BY_NAME = {
    "proxycommand": "ProxyCommand",
    "certificatefile": "CertificateFile",
    "hostkeyalias": "HostKeyAlias",
    "identityagent": "IdentityAgent",
}
_DEEPEST = 4  # levels of jump hosts that have jump hosts; a configuration may have a loop
NOT_CARRIED = {  # options that affect connections or host keys, and that an inventory can't express
    "certificatefile": "uses a certificate (CertificateFile): write it in ~/.ssh/config for the host's address",
    "hostkeyalias": "HostKeyAlias is ignored: known_hosts must list the host by its address",
    "bindaddress": "BindAddress is not used",
    "bindinterface": "BindInterface is not used",
    "identityagent": "IdentityAgent is ignored: the agent of SSH_AUTH_SOCK is used",
    "pkcs11provider": "PKCS11Provider is not used: add its keys to the agent (`ssh-add -s`)",
    "securitykeyprovider": "SecurityKeyProvider is not used",
    "knownhostscommand": "KnownHostsCommand is ignored: known_hosts must list the host",
}
_NEEDS_CONFIG = frozenset(
    {unsupported.command("ProxyCommand"), *(NOT_CARRIED[key] for key in _BY_NAME if key in NOT_CARRIED)}
)


@dataclass(frozen=True, slots=True)
class Here:
    """The machine on which the configuration is used. ssh: the folder where relative paths of Include start."""

    login: str
    ssh: Path
    folder: Path
    exists: Callable[[str], bool] = is_there

    @classmethod
    def now(cls) -> Here:
        return cls(getpass.getuser(), Path.home() / ".ssh", Path.cwd())


def machines(path: Path) -> Found:
    """The hosts of a configuration file and of those it includes. Raises InventoryError."""
    return parsed(text_of(path), str(path), Here.now())


def parsed(text: str, file: str, here: Here, evaluate: ssh_lines.Evaluate | None = None) -> Found:
    """The hosts that a text names: each `Host` without wildcards, in order, with the values that ssh would use.

    evaluate: returns these values. Without it, or if ssh can't evaluate the file, the text is interpreted here.
    """
    config = read(text, file, here)
    if evaluate and (answers := evaluate(config.names)):
        config.evaluate, config.evaluated = evaluate, dict(answers)
        config.notes = [note for note in config.notes if note not in config.matches]
    found = tuple(_machine(name, config, here) for name in config.names)
    if config.evaluate and Path(file) == here.ssh / "config":
        found = tuple(_by_name(machine, config.options(machine.name)) for machine in found)
    through = {hop for name in config.names for hop in _hops(config.options(name))}
    note = "others use it as a jump host: remove it if it is not a Docker host"
    return Found(tuple(m.noting(note) if m.name in through else m for m in found), tuple(config.notes))


def read(text: str, file: str, here: Here) -> ssh_lines.Config:
    """Parse a configuration and the files that it includes. Raises InventoryError."""
    return ssh_lines.parse(text, file, lambda argument: _included(argument, here.ssh))


def reached(name: str, options: list[tuple[str, list[str]]], config: ssh_lines.Config, here: Here) -> Machine:
    """Return what ssh would use for a name. options: of its command line, which win. The user is "" if nothing names one."""
    whole = ssh_lines.Config([ssh_lines.Block((), options), *config.blocks])
    chosen = whole.options(name)  # jump hosts get the configuration, not the command line
    return replace(_machine(name, whole, here), user=_first(chosen, "user"), jump=_jump(chosen, config, here))


def _included(argument: str, folder: Path) -> Iterable[tuple[str, str | InventoryError]]:
    """The files that an argument of Include names, in the order of their names, and why one can't be read."""
    with suppress(RuntimeError, OSError, ValueError):  # no such home folder, too long, NUL
        pattern = folder / Path(argument).expanduser()
        names = sorted(glob(str(pattern)))  # noqa: PTH207  absolute patterns too
        if not names and (why := unlistable(pattern.parent)):
            yield str(pattern.parent), why
        for name in names:
            try:
                text: str | InventoryError = text_of(Path(name))
            except InventoryError as error:
                text = error
            yield name, text


def _first(options: dict[str, list[list[str]]], keyword: str) -> str:
    return options[keyword][0][0] if keyword in options else ""


def _machine(name: str, config: ssh_lines.Config, here: Here) -> Machine:
    options = config.options(name)
    address = _first(options, "hostname").replace("%h", name).replace("%%", "%") or name
    user = _first(options, "user") or here.login
    key, key_notes = _key(options, address, user, here)
    strict = _first(options, "stricthostkeychecking").lower()
    return Machine(
        name,
        address=address,
        port=_first(options, "port") or "22",
        user=user,
        key=key,
        jump=_jump(options, config, here),
        host_keys=_HOST_KEYS.get(strict, ""),
        known_hosts=_known_hosts(options, here.folder),
        notes=(*key_notes, *_not_carried(options)),
    )


def _by_name(machine: Machine, options: ssh_lines.Options) -> Machine:
    """The machine with its name as its address, if only ~/.ssh/config itself can say how to reach it."""
    needed = [name for keyword, name in _BY_NAME.items() if _first(options, keyword).lower() not in ("", "none")]
    if not needed or (_hops(options) and needed == ["ProxyCommand"]):
        return machine
    note = f"its address is its name in ~/.ssh/config, which supplies its {', '.join(needed)} at each run"
    notes = (*(note for note in machine.notes if note not in _NEEDS_CONFIG), note)
    return replace(machine, address=machine.name, key="", jump="", notes=notes)


def _key(options: dict[str, list[list[str]]], address: str, user: str, here: Here) -> tuple[str, list[str]]:
    """The first key file that exists. ssh tries all of them, but an inventory names only one."""
    usable, notes = [], []
    for arguments in options.get("identityfile", ()):
        word = arguments[0]
        if word.lower() == "none":  # only keeps ssh from its default keys
            continue
        path = _path(word, {"d": "~", "h": address, "r": user, "u": here.login}, here.folder)
        if path is None:
            notes.append(f"IdentityFile {shown(word)}: its % or $ is not supported; not imported")
        elif not here.exists(path):
            notes.append(f"IdentityFile {shown(word)} does not exist and is left out")
        else:
            usable.append(path)
    if not usable:
        return "", notes
    more = [f"IdentityFile {shown(path)}: only one key is tried, {shown(usable[0])}" for path in usable[1:]]
    return usable[0], notes + more


def _path(word: str, tokens: dict[str, str], folder: Path) -> str | None:
    """Replace the tokens (ssh_config(5), TOKENS) in a path; None if one is unknown. A relative path starts at `folder`."""
    if re.search(r"\$\{", word) or set(re.findall(r"%(.)", word.replace("%%", ""))) - set(tokens):
        return None
    text = re.sub(r"%(.)", lambda found: "%" if found[1] == "%" else tokens[found[1]], word)
    return text if text.startswith("~") else str(folder / text)


def _known_hosts(options: dict[str, list[list[str]]], folder: Path) -> str:
    """The first file of UserKnownHostsFile. /dev/null is ignored: it means that host keys are not checked."""
    word = _first(options, "userknownhostsfile")
    return "" if word in ("", "/dev/null", "none") else _path(word, {"d": "~"}, folder) or ""


def _hops(options: dict[str, list[list[str]]]) -> list[str]:
    """The names of ProxyJump's hosts in the configuration."""
    return [match["host"].strip("[]") for match in _jumps(options)]


def _jumps(options: dict[str, list[list[str]]]) -> list[re.Match[str]]:
    word = _first(options, "proxyjump")
    matches = [_HOP.fullmatch(hop) for hop in word.split(",")] if word.lower() not in ("", "none") else []
    return [match for match in matches if match]


def _jump(options: dict[str, list[list[str]]], config: ssh_lines.Config, here: Here, depth: int = 0) -> str:
    """ProxyJump with the configuration's values for the jump hosts. The first one may have jump hosts, too."""
    hops: list[str] = []
    for match in _jumps(options):
        name = match["host"].strip("[]")
        of = config.options(name)
        address = _first(of, "hostname").replace("%h", name).replace("%%", "%") or name
        user, port = match["user"] or _first(of, "user") or here.login, match["port"] or _first(of, "port")
        before = _jump(of, config, here, depth + 1) if not hops and depth < _DEEPEST else ""
        where = f"[{address}]" if ":" in address else address
        hops.append(f"{before},{user}@{where}:{port or 22}".removeprefix(","))
    return ",".join(hops)


def _not_carried(options: dict[str, list[list[str]]]) -> Iterator[str]:
    if not _hops(options) and _first(options, "proxycommand").lower() not in ("", "none"):
        yield unsupported.command("ProxyCommand")
    password = _first(options, "preferredauthentications").lower().startswith(("password", "keyboard"))
    if password or _first(options, "pubkeyauthentication").lower() == "no":
        yield unsupported.KEYS_ONLY
    for keyword, note in NOT_CARRIED.items():
        if _first(options, keyword).lower() not in ("", "none", "any"):
            yield note
