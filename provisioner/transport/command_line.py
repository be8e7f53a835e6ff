"""The ssh command that connects like a run. Messages name it, so that a person can try the same."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from provisioner.model import SshTarget

_SSH = 22


def hops(target: SshTarget) -> list[SshTarget]:
    """The jump hosts of a target, the first one first, each on its own."""
    found: list[SshTarget] = []
    jump = target.jump
    while jump is not None:
        found.insert(0, replace(jump, jump=None))
        jump = jump.jump
    return found


def way(target: SshTarget) -> str:
    """The jump hosts of a target in the form of ProxyJump."""
    words = []
    for jump in hops(target):
        host = jump.alias or jump.address
        where = f"[{host}]" if ":" in host else host
        words.append(f"{jump.user}@{where}" + (f":{jump.port}" if jump.port != _SSH else ""))
    return ",".join(words)


def ssh(target: SshTarget) -> str:
    """The command, quoted for a shell. It leaves to OpenSSH's configuration what the run took from there."""
    return shlex.join(["ssh", *_words(target)])


def _words(target: SshTarget) -> list[str]:
    words = ["-F", target.config] if target.config else []
    words += _own_options(target)
    if target.jump is not None and "jump" in target.named:
        words += _through(target)
    words += ["-p", str(target.port)] if target.port != _SSH else []
    return [*words, f"{target.user}@{target.alias or target.address}"]


def _own_options(target: SshTarget) -> list[str]:
    """The options that `-J` does not pass on to jump hosts."""
    words = ["-i", str(target.key), "-o", "IdentitiesOnly=yes"] if target.key else []
    if "known_hosts" in target.named:
        path = str(target.known_hosts).replace("%", "%%")
        words += ["-o", f'UserKnownHostsFile="{path}"' if " " in path else f"UserKnownHostsFile={path}"]
    return words


def _through(target: SshTarget) -> list[str]:
    last = target.jump
    assert last is not None  # noqa: S101  the caller's condition
    if not any(map(_own_options, hops(target))):
        return ["-J", way(target)]
    named = replace(last, named=last.named | {"jump"})
    command = shlex.join(_words(named)).replace("%", "%%")
    return ["-o", f"ProxyCommand=ssh -W [%h]:%p {command}"]
