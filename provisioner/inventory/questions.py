"""Create an inventory from answers. Each answer is inserted and checked at once, with the inventory's own checks."""

from __future__ import annotations

import ipaddress
import os
import re
import stat
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from provisioner.errors import InventoryError
from provisioner.inventory.engine_versions import TODAY
from provisioner.inventory.importers import names, writing
from provisioner.inventory.loading import problems
from provisioner.inventory.problems import escaped

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_HOST = re.compile(r"(?:([^=]*)=)?(?:([^@]*)@)?(.*?)(?::([0-9]+))?")
_NOBODY = writing.Entry("node1", {"address": "192.0.2.1"})  # stands for the hosts until one is named (RFC 5737)


@dataclass(frozen=True, slots=True)
class Terminal:
    """The user's terminal. ask: shows a question and its default ("" is none), returns the answer. say: prints a line."""

    ask: Callable[[str, str], str]
    say: Callable[[str], None]


def interview(terminal: Terminal, path: Path, store: str | None = None) -> str:
    """Ask until the inventory for `path` is valid, and return its text. Exceptions of `ask` end it.

    store: the value of `store`, "" for none. If it is None, the engines' versions are asked for.
    """
    (cluster,) = names.tidied([path.absolute().parent.name])
    draft = writing.Draft(cluster, (_NOBODY,), writing.free_subnet((), 1), heading=writing.heading("init"))
    draft = _asked(terminal, path, "Name of the cluster", cluster, lambda word: replace(draft, cluster=word))
    draft = _hosts(terminal, path, draft)
    named = draft
    draft = _asked(terminal, path, "User to log in as", "root", lambda word: _with_ssh(named, "user", word))
    loggedin = draft
    draft = _asked(
        terminal,
        path,
        "Private key's file (none: the SSH agent's keys and the usual files)",
        "",
        lambda word: _with_ssh(loggedin, "key", word),
    )
    keyed = draft = replace(draft, store=_store(terminal) if store is None else store)
    subnet = "Subnet of the network; no host may use it already"
    draft = _asked(terminal, path, subnet, draft.subnet, lambda word: replace(keyed, subnet=word))
    return writing.text(draft)


def write(path: Path, text: str, *, force: bool) -> None:
    """Write the text atomically. Raises InventoryError (see `refuse_present`, or if writing fails)."""
    refuse_present(path, force=force)
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        new.write_text(text, encoding="utf-8")
        new.replace(path)
    except OSError as error:
        raise _cant(path, f"can't be written: {error.strerror}") from None
    finally:
        with suppress(OSError):
            new.unlink(missing_ok=True)


def refuse_present(path: Path, *, force: bool) -> None:
    """Raise InventoryError if the file may not or can't be written."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if not path.absolute().parent.is_dir():
            raise _cant(path, "can't be written: there is no such folder") from None
    except (OSError, ValueError) as error:
        raise _cant(path, f"can't be written: {getattr(error, 'strerror', None) or 'no usable path'}") from None
    else:
        if stat.S_ISDIR(mode):
            raise _cant(path, "is a folder; name the file to write in it")
        if not force:
            raise _cant(
                path, "already exists and is left unchanged; overwrite it with `--force`, or choose another name"
            )


def _cant(path: Path, text: str) -> InventoryError:
    name = escaped(str(path))
    return InventoryError(name, (f"{name}: {text}",))


def _asked(
    terminal: Terminal, path: Path, question: str, default: str, put: Callable[[str], writing.Draft]
) -> writing.Draft:
    """Ask until the answer makes a valid text."""
    while True:
        draft = put(terminal.ask(question, default).strip() or default)
        if _sound(terminal, path, draft):
            return draft


def _sound(terminal: Terminal, path: Path, draft: writing.Draft) -> bool:
    faults = problems(writing.text(draft), path)
    for fault in faults:
        # Line numbers are removed, because the user does not see the text.
        terminal.say("  " + re.sub(r" \(line [0-9]+\)", "", fault.text))
    return not faults


def _store(terminal: Terminal) -> str:
    """Ask for the engines' versions, and return the value of `store` that suits them; "" for none."""
    while True:
        answer = terminal.ask("Docker's version on the hosts; up to 20.10, they get a store (Consul)", TODAY).strip()
        try:
            return writing.store_for(answer)
        except InventoryError as error:
            terminal.say(f"  {error.problems[0]}")


def _hosts(terminal: Terminal, path: Path, draft: writing.Draft) -> writing.Draft:
    """Ask for hosts, any number on a line, until an empty line."""
    terminal.say("Hosts: ADDRESS or NAME=ADDRESS, separated by spaces. USER@ in front and :PORT behind are allowed.")
    hosts: tuple[writing.Entry, ...] = ()
    while True:
        question = f"Host {len(hosts) + 1}" + (" (empty to finish)" if hosts else "")
        words = terminal.ask(question, "").split()
        if not words and hosts:
            return draft
        if not words:
            terminal.say("  at least one host is needed")
            continue
        more = hosts
        for word in words:
            more = (*more, _host(word.rstrip(","), more))
        subnet = writing.free_subnet((str(host.values["address"]) for host in more), len(more))
        tried = replace(draft, hosts=more, subnet=subnet)
        if _sound(terminal, path, tried):
            hosts, draft = more, tried


def _host(word: str, others: tuple[writing.Entry, ...]) -> writing.Entry:
    """Parse one typed host. A host without a name gets the first part of its host name, or a number."""
    found = _HOST.fullmatch(word)
    name, user, address, port = found.groups() if found else (None, None, word, None)
    if word.count(":") > 1:  # an IPv6 address can't have a port here
        name, user, address, port = None, None, word, None
    values: dict[str, writing.Value] = {"address": address}
    if port and len(port) < 6:  # noqa: PLR2004  a longer one is not a port, but part of the address
        values["port"] = int(port)
    elif port:
        values["address"] = f"{address}:{port}"
    if user is not None:
        values["user"] = user
    return writing.Entry(name if name is not None else _name(address, [host.name for host in others]), values)


def _name(address: str, taken: list[str]) -> str:
    if _is_address(address) or not re.search(r"[A-Za-z]", address):
        number = len(taken) + 1
        while f"node{number}" in taken:
            number += 1
        return f"node{number}"
    return names.tidied([*taken, address])[-1]


def _is_address(word: str) -> bool:
    try:
        ipaddress.ip_address(word)
    except ValueError:
        return False
    return True


def _with_ssh(draft: writing.Draft, key: str, word: str) -> writing.Draft:
    """Return the text with a value under `ssh`, unless it is the default."""
    return replace(draft, ssh={**draft.ssh, key: word}) if word and (key, word) != ("user", "root") else draft
