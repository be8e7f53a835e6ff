"""Asks a person for the secrets of a run, once, before it connects to hosts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from provisioner.errors import Refused
from provisioner.transport import keys
from provisioner.transport.login import agent_keys
from provisioner.transport.secrets import Password, Secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from provisioner.model import SshTarget

_TRIES = 3  # for a passphrase, which is checked on this machine


def passwords(ask: Callable[[str], str], *, login: bool, sudo: bool) -> Secrets:
    """Ask for the passwords. ask: shows a prompt and returns what the person types."""
    typed = ask("SSH password: ") if login else ""
    again = ask("sudo password [Enter: the same]: " if login else "sudo password: ") if sudo else ""
    return Secrets(Password(typed) if login else None, Password(again or typed) if sudo else None)


def passphrases(targets: Iterable[SshTarget], secrets: Secrets, ask: Callable[[str], str]) -> Secrets:
    """Return the secrets with the passphrase of each key file without which a target, or a jump host, has no key to try.

    A file whose passphrase is wrong three times stays locked. The error comes with the login.
    """
    known = dict(secrets.passphrases)
    seen = set()
    for target in _with_jumps(targets):
        needs = replace(target, name="", address="", port=0, user="", jump=None)  # what decides about keys
        if needs in seen or (secrets.password and target.key is None):
            continue
        seen.add(needs)
        path = _locked(target, known)
        for _ in range(_TRIES if path else 0):
            text = ask(f"Passphrase for {path}: ")
            if path and keys.unlocks(path, text):
                known[path] = text
                break
    return replace(secrets, passphrases=known)


def _with_jumps(targets: Iterable[SshTarget]) -> Iterator[SshTarget]:
    for target in targets:
        yield target
        if target.jump is not None:
            yield from _with_jumps([target.jump])


def _locked(target: SshTarget, known: dict[Path, str]) -> Path | None:
    """The encrypted file that a target needs, if it has no other key to try."""
    try:
        identities = keys.load(target, known)
    except Refused:
        return None  # the login reports it
    locked = [Path(each.label) for each in identities if each.encrypted]
    if not locked:
        return None
    with agent_keys(target, identities) as held:
        return None if any(keys.offers(identities, held, target)) else locked[0]
