"""The framing of scripts, with the /bin/sh of this machine where a shell is needed."""

import os
import shutil
import subprocess

import pytest

from provisioner import render
from provisioner.observe import kernel, underlay
from provisioner.system import reading
from provisioner.transport import script as scripts
from provisioner.transport.forward import relaying
from provisioner.transport.script import COMMAND, COMMAND_WITH_PASSWORD, INCOMPLETE, Word, name_of, opening


def run(data, path=None):
    env = {**os.environ, "PATH": f"{path}:{os.environ['PATH']}"} if path else None
    return subprocess.run(["/bin/sh", "-c", COMMAND], input=data, capture_output=True, env=env, check=False)


def test_the_command_has_no_characters_that_login_shells_treat_differently():
    for command in (COMMAND, COMMAND_WITH_PASSWORD):
        assert not set("\\!\n`") & set(command)
        assert command.count("'") == 6


def test_output_starts_after_the_opening_line():
    payload = scripts.reading("echo out; echo err >&2; exit 3")
    done = run(payload.data)
    assert done.returncode == 3
    merged = done.stderr.replace(b"err\n", b"") + done.stdout  # from a login shell that sends stderr to stdout
    streams = (done.stdout, payload.nonce, b"out\n"), (done.stderr, scripts.on_stderr(payload.nonce), b"err\n")
    for stream, nonce, said in (*streams, (merged, payload.nonce, b"out\n")):
        start = opening(b"noise\nhalf" + stream, nonce)
        assert start.word is Word.RUN
        assert (b"noise\nhalf" + stream)[start.end :] == said


def test_a_script_that_is_cut_off_anywhere_runs_nothing(tmp_path):
    payload = scripts.reading(f"touch {tmp_path}/ran\ntouch {tmp_path}/ran")
    for length in range(len(payload.data)):
        assert run(payload.data[:length]).returncode == INCOMPLETE
    assert not (tmp_path / "ran").exists()
    run(payload.data)
    assert (tmp_path / "ran").exists()


def test_a_write_that_is_cut_off_runs_nothing(tmp_path):
    payload = scripts.writing(f"touch {tmp_path}/ran", b"stdin", 1)
    for length in range(0, len(payload.data), 37):
        assert run(payload.data[:length]).returncode == INCOMPLETE


def test_data_after_the_script_is_its_stdin():
    payload = scripts.reading("read -r first; echo got $first; cat")
    assert run(payload.data + b"one\ntwo\n").stdout.endswith(b"got one\ntwo\n")


@pytest.mark.parametrize("shell", ["bash", "dash", "busybox"])
def test_shells_that_can_be_bin_sh(shell, tmp_path):
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    words = [shell, "sh"] if shell == "busybox" else [shell]
    payload = scripts.reading("echo žluť; cat")
    # Only the receiving part, because the test can't change /bin/sh.
    done = subprocess.run(
        [*words, "-c", scripts._RECEIVE], input=payload.data + b"rest", capture_output=True, check=True
    )
    assert done.stdout.endswith("žluť\nrest".encode())


@pytest.fixture
def someone(tmp_path):
    """A folder for PATH in which `id` reports an ordinary user, and a function that adds programs to it."""

    def tool(name, text):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)

    tool("id", "echo 1000")
    tool("sudo", "exit 1")
    return tmp_path, tool


def test_sudo_is_used_if_it_needs_no_password(someone):
    path, tool = someone
    tool("sudo", 'test "$1" = -n || exit 9; shift; SUDO=yes exec "$@"')
    payload = scripts.reading("echo sudo=$SUDO; cat")
    assert run(payload.data + b"rest", path).stdout.endswith(b"sudo=yes\nrest")


def test_without_sudo_a_script_runs_as_the_user(someone):
    path, _ = someone
    payload = scripts.reading("echo sudo=$SUDO; cat")
    assert run(payload.data + b"rest", path).stdout.endswith(b"sudo=\nrest")


def test_opening_waits_for_a_whole_line():
    assert opening(b"", "nonce") is None
    assert opening(b"noise nonce bu", "nonce") is None
    start = opening(b"noise nonce busy 12.5 77 3.2 ann at desk\nrest", "nonce")
    assert (start.word, start.rest) == (Word.BUSY, "12.5 77 3.2 ann at desk")
    assert opening(b"nonce hello there\n", "nonce").word is Word.ODD


@pytest.mark.parametrize(
    ("script", "name"),
    [
        ("# reading facts\necho", "reading facts"),
        ("\n  # reading facts\necho", "reading facts"),
        ("echo secret\n# later", ""),
        ("#!/bin/sh\necho", ""),
        ("", ""),
    ],
)
def test_a_first_comment_names_a_script(script, name):
    assert name_of(script) == name


@pytest.mark.parametrize(
    "script",
    [
        reading.script(reading.Sought("", "")),
        reading.script(reading.Sought("", ""), reading.ASKED),
        kernel.script([]),
        underlay._script(),
        render.receiving("/a", 1, "", 0o644),
        relaying("127.0.0.1", 1),
    ],
)
def test_each_program_has_a_name(script):
    """The tests in the lab check this for all scripts that runs send (tests/e2e/cluster.py)."""
    assert 10 < len(name_of(script)) < 60


def test_an_empty_script_succeeds():
    assert run(scripts.reading("").data).returncode == 0
    assert run(scripts.reading("# only a comment").data).returncode == 0


def test_data_that_can_t_be_sent_raises_value_error():
    with pytest.raises(ValueError, match="NUL"):
        scripts.reading("echo \0")
    with pytest.raises(ValueError, match=r"upload\(\) is for files"):
        scripts.writing("cat", b"x" * (scripts.STDIN_LIMIT + 1), 1)


def test_an_owner_cannot_leave_its_quotes(tmp_path):
    data = scripts.locking("true", f"x' ; touch {tmp_path}/ran; '\n$(touch {tmp_path}/ran)", 1).data
    checked = subprocess.run(["/bin/sh", "-n"], input=data.partition(b"\n")[2], capture_output=True, check=False)
    assert checked.returncode == 0
    assert b"'x'\"'\"' ; touch" in data
