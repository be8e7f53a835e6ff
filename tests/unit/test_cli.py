"""The command line: its version, and output to closed or full streams."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from provisioner import __version__

PROVISIONER = Path(sys.executable).with_name("provisioner")


def test_the_version():
    ended = subprocess.run([PROVISIONER, "--version"], check=True, capture_output=True, text=True)
    assert (ended.stdout, ended.stderr) == (f"provisioner {__version__}\n", "")


def run_in_shell(command: str) -> subprocess.CompletedProcess[str]:
    """Run a command with a shell's redirections. The shell's exit code is the command's."""
    return subprocess.run(
        ["bash", "-c", f"'{PROVISIONER}' {command}"],
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )


COMMANDS = (
    "--version",
    "--help",
    "inventory schema",
    "inventory check inventories/swarm.yml --no-files",
    "status --json /nonexistent",
)


@pytest.mark.parametrize(
    ("to", "why"),
    [(">/dev/full", "No space left on device"), (">&-", "Bad file descriptor"), (">&- <&-", "Bad file descriptor")],
)
@pytest.mark.parametrize("command", COMMANDS)
def test_output_that_can_not_be_written_is_no_success(command, to, why):
    ended = run_in_shell(f"{command} {to}")
    assert f"provisioner: can't write to standard output: {why}; the output is not complete\n" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.returncode == (64 if command.startswith("status") else 1)


@pytest.mark.parametrize(
    ("to", "code"), [("2>&-", 0), ("2>/dev/full", 0), ("<&- 2>&-", 0), ("| head -c1; exit ${PIPESTATUS[0]}", 0)]
)
def test_output_that_is_written_is_a_success_whatever_else_is_closed(to, code):
    ended = run_in_shell(f"inventory schema {to}")
    assert (ended.returncode, ended.stderr) == (code, "")
    assert ended.stdout[:1] == "{"


@pytest.mark.parametrize(
    ("command", "code"),
    [("inventory schema", 141), ("--help", 141), ("causes --json", 141), ("status --json /nonexistent", 64)],
)
def test_a_closed_pipe_ends_quietly(command, code):
    """141 is what a shell reports of a program that SIGPIPE ended."""
    read, write = os.pipe()
    os.close(read)
    ended = subprocess.run(
        [PROVISIONER, *command.split()], check=False, stdout=write, stderr=subprocess.PIPE, text=True
    )
    both = subprocess.run([PROVISIONER, *command.split()], check=False, stdout=write, stderr=write)
    os.close(write)
    assert (ended.returncode, both.returncode) == (code, code)
    assert "Traceback" not in ended.stderr
    assert ended.stderr == "" or code == 64


@pytest.mark.parametrize(("to", "code"), [("2>/dev/full", 64), ("2>&-", 64), (">&- 2>&- <&-", 64)])
def test_an_error_that_nobody_can_read_keeps_its_exit_code(to, code):
    ended = run_in_shell(f"status /nonexistent {to}")
    assert (ended.returncode, ended.stdout, ended.stderr) == (code, "", "")


def test_a_program_that_is_started_finds_its_streams_as_they_were():
    """`lab run` replaces its process by another program. This does the same without a lab."""
    become = "from provisioner.report.standard import Standard; from provisioner.cli_lab import _become; Standard(); _become(['sh', '-c', 'echo x'])"
    ended = subprocess.run(
        ["bash", "-c", f'"{sys.executable}" -c "{become}" >&-'], check=False, capture_output=True, text=True
    )
    assert ended.returncode != 0
    assert "Bad file descriptor" in ended.stderr or "I/O error" in ended.stderr, ended.stderr


def test_no_file_is_opened_under_the_number_of_a_closed_stream(tmp_path):
    """Otherwise, a connection would receive printed text."""
    code = f"from provisioner.report.standard import Standard; Standard(); file = open('{tmp_path}/x', 'w'); file.write(str(file.fileno()))"
    subprocess.run(["bash", "-c", f'"{sys.executable}" -c "{code}" <&- >&- 2>&-'], check=True)
    assert int((tmp_path / "x").read_text()) > 2
