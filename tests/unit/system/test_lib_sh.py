"""templates/lib.sh, run in each shell that may be /bin/sh on a host."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest

from provisioner import render

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SHELLS = [shell for shell in (["dash"], ["bash", "--posix"]) if shutil.which(shell[0])]
SELF = f"{os.getuid()}:{os.getgid()}"
TEXT = "odd: \\ $(id) `id` 'q' \"q\" %s \\n é\n\nno final newline"
HOSTILE = "a b$(id)'\"`id`;*"


@pytest.fixture(params=SHELLS, ids=lambda words: words[0])
def sh(request, tmp_path):
    def run(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        # In a subshell, as the transport runs it.
        whole = f"(\n{render.library()}{script}\n)"
        command = [*request.param, "-c", whole, "sh", *map(str, arguments)]
        return subprocess.run(command, text=True, capture_output=True, cwd=tmp_path, timeout=20, check=False)

    return run


@pytest.fixture
def tiny(tmp_path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    disk = tmp_path / "tiny"
    disk.mkdir()
    if os.getuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", disk], check=False).returncode:
        pytest.skip("needs to mount a tmpfs")
    yield disk
    subprocess.run(["umount", disk], check=True)


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


# A Perl module that logs each sync and rename, in order, and then performs it.
WATCHED = r"""
package Watched;
use IO::Handle;
use IO::File;
sub log_call { open my $calls, ">>", $ENV{CALLS}; print $calls "@_\n" }
my $sync = \&IO::Handle::sync;
no warnings "redefine";
*IO::Handle::sync = sub { log_call("sync", readlink "/proc/self/fd/" . fileno $_[0]); goto &$sync };
*CORE::GLOBAL::rename = sub { log_call("rename", @_); CORE::rename($_[0], $_[1]) };
1;
"""
PUT = 'put "$1" "$2" "$3" "$4"'


class TestPut:
    def test_a_new_file_in_a_new_folder(self, sh, tmp_path):
        path = tmp_path / "new" / "folder" / HOSTILE
        done = sh(PUT, path, "0640", SELF, b64(TEXT))
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert path.read_bytes() == TEXT.encode()
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        assert names(path.parent) == [HOSTILE]

    def test_an_old_file_is_replaced_and_never_overwritten_in_place(self, sh, tmp_path):
        path = tmp_path / "file"
        path.write_text("old")
        with path.open() as reader:
            assert sh(PUT, path, "0600", SELF, b64("new")).returncode == 0
            assert reader.read() == "old"  # a concurrent reader gets the whole old file
        assert path.read_text() == "new"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert names(tmp_path) == ["file"]

    def test_the_text_is_on_the_disk_before_it_has_its_name(self, sh, tmp_path, monkeypatch):
        """Otherwise a power cut could replace the old file with an empty one."""
        calls, folder = tmp_path / "calls", tmp_path / "folder"
        folder.mkdir()
        (tmp_path / "Watched.pm").write_text(WATCHED)
        for name, value in (("PERL5LIB", tmp_path), ("PERL5OPT", "-MWatched"), ("CALLS", calls)):
            monkeypatch.setenv(name, str(value))
        assert sh(PUT, folder / "file", "0644", SELF, b64("new")).returncode == 0
        first, second, third = (line.split() for line in calls.read_text().splitlines())
        assert (first[0], second[0], third) == ("sync", "rename", ["sync", str(folder)])
        assert first[1].startswith(f"{folder}/")

    @pytest.mark.skipif(os.getuid() != 0, reason="needs root")
    def test_the_owner(self, sh, tmp_path):
        path = tmp_path / "file"
        assert sh(PUT, path, "0644", "1:2", b64(TEXT)).returncode == 0
        assert (path.stat().st_uid, path.stat().st_gid) == (1, 2)

    def test_an_empty_file(self, sh, tmp_path):
        assert sh(PUT, tmp_path / "file", "0644", SELF, "").returncode == 0
        assert (tmp_path / "file").read_text() == ""

    @pytest.mark.parametrize(
        ("words", "why"),
        [
            (("0644", SELF, "!no base64!"), "its text arrived incomplete"),
            (("0644", "no-such-user-here:root", b64("x")), "its owner or mode is invalid"),
            (("rubbish", SELF, b64("x")), "its owner or mode is invalid"),
        ],
    )
    def test_a_failure_leaves_the_old_file_and_nothing_else(self, sh, tmp_path, words, why):
        (tmp_path / "file").write_text("old")
        done = sh(f"{PUT}; echo went on", tmp_path / "file", *words)
        assert done.returncode == 70
        assert done.stdout == ""
        assert (
            f"provisioner: file-failed\tcan't write {tmp_path}/file: {why}; the old file is unchanged\t" in done.stderr
        )
        assert (tmp_path / "file").read_text() == "old"
        assert names(tmp_path) == ["file"]

    def test_a_limited_file(self, sh, tmp_path):
        (tmp_path / "file").write_text("old")
        done = sh(f"ulimit -f 8; {PUT}", tmp_path / "file", "0644", SELF, b64("x" * 30_000))
        assert done.returncode == 70
        assert (tmp_path / "file").read_text() == "old"
        assert names(tmp_path) == ["file"]

    def test_a_full_disk(self, sh, tiny):
        (tiny / "file").write_text("old")
        done = sh(PUT, tiny / "file", "0644", SELF, b64("x" * 90_000))
        assert done.returncode == 70
        assert f"df {tiny}\n" in done.stderr
        assert (tiny / "file").read_text() == "old"
        assert names(tiny) == ["file"]
        assert sh(PUT, tiny / "file", "0644", SELF, b64("x" * 9_000)).returncode == 0  # the room is free again

    def test_a_folder_that_can_not_be_made(self, sh, tmp_path):
        (tmp_path / "plain").write_text("a file")
        done = sh(PUT, tmp_path / "plain" / "file", "0644", SELF, b64("x"))
        assert done.returncode == 70
        assert f"provisioner: file-failed\tcan't create the folder {tmp_path}/plain: Not a directory\t" in done.stderr


class TestKeep:
    def copy(self, path: Path, text: str) -> Path:
        return path.with_name(f"{path.name}.{hashlib.sha256(text.encode()).hexdigest()[:8]}.bak")

    def test_named_after_its_content_with_mode_and_times(self, sh, tmp_path):
        path = tmp_path / HOSTILE
        path.write_text(TEXT)
        path.chmod(0o600)
        os.utime(path, (1, 1))
        assert sh('keep "$1"', path).returncode == 0
        copy = self.copy(path, TEXT)
        assert copy.read_text() == TEXT
        assert (stat.S_IMODE(copy.stat().st_mode), copy.stat().st_mtime) == (0o600, 1)
        assert names(tmp_path) == sorted([path.name, copy.name])

    def test_made_once_and_never_overwritten(self, sh, tmp_path):
        path = tmp_path / "file"
        path.write_text("one")
        copy = self.copy(path, "one")
        copy.write_text("somebody's")
        assert sh('keep "$1"', path).returncode == 0
        assert copy.read_text() == "somebody's"
        path.write_text("two")
        assert sh('keep "$1"', path).returncode == 0
        assert names(tmp_path) == sorted(["file", copy.name, self.copy(path, "two").name])

    def test_nothing_to_keep(self, sh, tmp_path):
        assert sh('keep "$1"', tmp_path / "file").returncode == 0
        assert names(tmp_path) == []

    def test_an_empty_file_is_kept_so_that_it_can_come_back(self, sh, tmp_path):
        (tmp_path / "file").touch()
        assert sh('keep "$1"', tmp_path / "file").returncode == 0
        assert names(tmp_path) == ["file", "file.e3b0c442.bak"]

    def test_a_failed_copy_ends_the_script(self, sh, tiny):
        (tiny / "file").write_text("x" * 40_000)
        done = sh('keep "$1"; echo went on', tiny / "file")
        assert (done.returncode, done.stdout) == (70, "")
        assert re.fullmatch(
            f"provisioner: file-failed\tcan't write {tiny}/file[.]........[.]bak: No space left on device; .*\tlook at .*: df {tiny}\n",
            done.stderr,
        )
        assert names(tiny) == ["file"]

    def test_an_unreadable_file_ends_the_script(self, sh, tmp_path):
        (tmp_path / "file").write_text("x")
        done = sh('sha256sum() { return 1; }; keep "$1"; echo went on', tmp_path / "file")
        assert (done.returncode, done.stdout) == (70, "")
        assert names(tmp_path) == ["file"]


class TestWords:
    @pytest.mark.parametrize(("word", "code"), [("fail", 70), ("fail_all", 71)])
    def test_the_message_has_what_and_what_next(self, sh, word, code):
        done = sh(f'{word} some-id "$1" "$2"; echo went on', HOSTILE, "do this")
        assert (done.returncode, done.stdout, done.stderr) == (code, "", f"provisioner: some-id\t{HOSTILE}\tdo this\n")

    def test_what_next_may_be_missing(self, sh):
        assert sh("fail some-id oops").stderr == "provisioner: some-id\toops\t\n"

    def test_has(self, sh):
        assert sh("has cat && ! has no-such-program-here").returncode == 0

    def test_an_unset_variable_ends_the_script(self, sh):
        done = sh("echo $unset; echo went on")
        assert done.returncode not in (0, 70, 71)
        assert done.stdout == ""
