"""The answer of `ansible-inventory --list`, which runs the scripts and plugins of an inventory. Used only with --trust."""

from __future__ import annotations

import json
import shlex
import subprocess
from typing import TYPE_CHECKING, Any

from provisioner.inventory.importers.found import cant, is_folder, text_of
from provisioner.inventory.problems import code, escaped

if TYPE_CHECKING:
    from pathlib import Path

_PROGRAM = "ansible-inventory"
_PATIENCE = 300.0  # seconds; a plugin may query a cloud


def listed(source: Path | None) -> Any:
    """Return the inventory as `--list` prints it. source: None is Ansible's default. Raises InventoryError."""
    words = [_PROGRAM, *([f"--inventory={source}"] if source else []), "--list"]
    if source and not is_folder(source):
        text_of(source)  # refuses keys and password files, whose content Ansible's errors would show
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
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
    try:
        answer = json.loads(done.stdout) if done.returncode == 0 else None
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        # Its messages quote lines of the files, which may be secrets.
        raise cant(
            _PROGRAM,
            f"failed (exit code {done.returncode}); to see why, run the same without provisioner: {code(shlex.join(words))}",
        )
    return answer
