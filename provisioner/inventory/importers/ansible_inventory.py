"""The answer of `ansible-inventory --list`, which runs the scripts and plugins of an inventory. Used only with --trust."""

from __future__ import annotations

import json
import shlex
import subprocess
from typing import TYPE_CHECKING, Any

from provisioner.inventory import foreign
from provisioner.inventory.document import LARGEST_FILE
from provisioner.inventory.importers.found import cant, is_folder
from provisioner.inventory.problems import code, escaped

if TYPE_CHECKING:
    from pathlib import Path

_PROGRAM = "ansible-inventory"
_PATIENCE = 300.0  # seconds; a plugin may query a cloud


def listed(source: Path | None) -> Any:
    """Return the inventory as `--list` prints it. source: None is Ansible's default. Raises InventoryError."""
    words = [_PROGRAM, *([f"--inventory={source}"] if source else []), "--list"]
    if source and not is_folder(source):
        _refuse_secrets(source)
    done = _run(words)
    try:
        answer = json.loads(done.stdout) if done.returncode == 0 else None
    except (ValueError, RecursionError):
        answer = None
    if isinstance(answer, dict):
        return answer
    # Its messages quote lines of the files, which may be secrets.
    why = (
        f"failed (exit code {done.returncode}); to see why, run the same without provisioner: {code(shlex.join(words))}"
    )
    raise cant(_PROGRAM, why)


def _refuse_secrets(source: Path) -> None:
    """Refuse keys and password files: Ansible would show their content. A script may be a binary program."""
    try:
        with source.open("rb") as file:
            text = file.read(LARGEST_FILE).decode("utf-8", "replace")
    except (OSError, ValueError) as error:
        raise cant(source, f"can't be read: {escaped(getattr(error, 'strerror', None) or str(error))}") from None
    if seen := foreign.secret(text):
        raise cant(source, f"the file looks like {seen.what}; its content is neither read nor shown", seen.line)


def _run(words: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            words,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE,
        )
    except FileNotFoundError:
        raise cant(
            _PROGRAM,
            "is not installed here; on a machine that has it, run `ansible-inventory -i PATH --list >listed.json`,"
            " then here `provisioner inventory import ansible listed.json`",
        ) from None
    except subprocess.TimeoutExpired:
        raise cant(_PROGRAM, f"did not end within {_PATIENCE:.0f} s") from None
    except (OSError, ValueError) as error:
        raise cant(_PROGRAM, f"can't be run: {escaped(str(error))}") from None
