"""What the command line has beside its commands: its version, and what a shell completes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from provisioner import __version__

PROVISIONER = Path(sys.executable).with_name("provisioner")
# As bash does it at a Tab, with what `provisioner --show-completion` prints.
COMPLETE = """
eval "$(_PROVISIONER_COMPLETE=source_bash provisioner)"
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
"$(complete -p provisioner | sed 's/.* -F \\([^ ]*\\).*/\\1/')" provisioner  # the function's first argument is the command, as bash has it
printf '%s\\n' "${COMPREPLY[@]}"
"""


def test_the_version():
    ended = subprocess.run([PROVISIONER, "--version"], check=True, capture_output=True, text=True)
    assert (ended.stdout, ended.stderr) == (f"provisioner {__version__}\n", "")


@pytest.mark.parametrize(
    ("words", "wanted"),
    [(["re"], ["remove"]), (["lab", "st"], ["start", "stop"]), (["verify", "--a"], ["--all"])],
    ids=" ".join,
)
def test_bash_completes_commands_and_options(words, wanted):
    said = subprocess.run(
        ["bash", "-c", COMPLETE, "bash", "provisioner", *words],
        check=True, capture_output=True, text=True, env={"PATH": f"{PROVISIONER.parent}:/usr/bin:/bin", "HOME": "/nonexistent"},
    )  # fmt: skip
    assert (sorted(said.stdout.split()), said.stderr) == (wanted, "")
