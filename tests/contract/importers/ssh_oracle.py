"""`ssh -G`: what OpenSSH itself makes of a configuration."""

from __future__ import annotations

import os
import pwd
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from provisioner.inventory.importers.found import Machine

HOME = pwd.getpwuid(os.geteuid()).pw_dir  # ssh ignores $HOME


def options(file: Path, name: str) -> dict[str, list[str]] | None:
    """The options that `ssh -G` prints, or None if ssh refuses the configuration."""
    ended = subprocess.run(["ssh", "-G", "-F", file, name], check=False, capture_output=True, text=True)
    found: dict[str, list[str]] = {}
    for line in ended.stdout.splitlines():
        keyword, _, value = line.partition(" ")
        found.setdefault(keyword, []).append(value)
    return found if ended.returncode == 0 else None


def jump(file: Path, of_host: dict[str, list[str]], depth: int = 0) -> str:
    """ProxyJump with what `ssh -G` says about each hop."""
    hops: list[str] = []
    for word in of_host.get("proxyjump", ["none"])[0].removeprefix("none").split(","):
        if not (match := re.fullmatch(r"(?:ssh://)?(?:([^@]*)@)?(\[[^\]]+\]|[^@:/]+)(?::(\d+))?/?", word)):
            continue
        of = options(file, match[2].strip("[]")) or {}
        address = of["hostname"][0]
        where = f"[{address}]" if ":" in address else address
        before = jump(file, of, depth + 1) if not hops and depth < 4 else ""
        hops.append(f"{before},{match[1] or of['user'][0]}@{where}:{match[3] or of['port'][0]}".removeprefix(","))
    return ",".join(hops)


def expected(file: Path, name: str, machine: Machine, *, explicit: bool) -> Machine:
    found = options(file, name)
    assert found
    keys = [str(Path(word.replace("~", HOME, 1))) for word in found.get("identityfile", ()) if explicit]
    known = found["userknownhostsfile"][0].split()[0]
    return replace(
        machine,
        address=found["hostname"][0],
        port=found["port"][0],
        user=found["user"][0],
        key=next((word for word in keys if Path(word).is_file()), ""),
        jump=jump(file, found),
        known_hosts="" if known in ("/dev/null", "~/.ssh/known_hosts", f"{HOME}/.ssh/known_hosts") else known,
    )
