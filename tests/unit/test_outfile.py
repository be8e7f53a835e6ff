"""Files that a user asks for: refused early if they can't be written, replaced as a whole, and never through a link."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from provisioner.errors import ProvisionerError, UsageError
from provisioner.outfile import OutFile

OTHER = 65534  # nobody


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_file_has_the_contents_and_only_its_owner_reads_it(tmp_path):
    path = tmp_path / "report.html"
    with OutFile(path, "--html") as file:
        assert not path.exists()
        file.write(b"all of it")
    assert path.read_bytes() == b"all of it"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert names(tmp_path) == ["report.html"]


def test_a_former_file_stays_until_the_new_one_is_complete(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("former")
    path.chmod(0o644)
    with OutFile(path, "--html") as file:
        file._draft.file.write(b"half")
        assert path.read_text() == "former"
    assert (path.read_text(), names(tmp_path)) == ("former", ["report.html"])
    with OutFile(path, "--html") as file:
        file.write(b"new")
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("new", 0o600)


def test_a_name_as_long_as_the_file_system_allows(tmp_path):
    path = tmp_path / ("x" * 255)
    with OutFile(path, "--html") as file:
        file.write(b"")
    assert path.stat().st_size == 0


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("none/report", "No such file or directory"),
        ("file/report", "Not a directory"),
        ("folder", "is a folder"),
        (".", "is a folder"),
        ("..", "is a folder"),
        ("link", "is a symbolic link or no regular file"),
        ("dangling", "is a symbolic link or no regular file"),
        ("pipe", "is a symbolic link or no regular file"),
        ("x" * 256, "File name too long"),
        ("a\0b", "null"),
    ],
)
def test_what_can_t_be_written_is_refused_at_once(tmp_path, name, why):
    (tmp_path / "file").write_text("untouched")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "dangling").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    before = names(tmp_path)
    with pytest.raises(UsageError, match=f"(?s)--junit .*{why}") as raised:
        OutFile(tmp_path / name, "--junit")
    assert raised.value.exit_code == 64
    assert names(tmp_path) == before
    assert (tmp_path / "file").read_text() == "untouched"


def test_devices_are_not_replaced():
    with pytest.raises(UsageError, match="no regular file"):
        OutFile(Path("/dev/null"), "--html")


def test_a_link_of_another_user_on_the_way_is_not_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "own").symlink_to("real")
    (tmp_path / "theirs").symlink_to("real")
    with OutFile(tmp_path / "own" / "report", "--html") as file:
        file.write(b"x")
    if os.geteuid() == 0:
        os.lchown(tmp_path / "theirs", OTHER, OTHER)
        with pytest.raises(UsageError, match="theirs is a symbolic link of another user"):
            OutFile(tmp_path / "theirs" / "report", "--html")


def test_a_link_that_appears_meanwhile_is_replaced_and_not_followed(tmp_path):
    (tmp_path / "precious").write_text("untouched")
    with OutFile(tmp_path / "report", "--html") as file:
        (tmp_path / "report").symlink_to("precious")
        file.write(b"new")
    assert ((tmp_path / "precious").read_text(), (tmp_path / "report").is_symlink()) == ("untouched", False)


def test_a_full_disk_is_found_at_the_beginning(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(UsageError, match="No space left on device"):
        OutFile(tmp_path / "report", "--html")
    assert names(tmp_path) == []


def test_a_disk_that_fills_up_meanwhile_leaves_the_former_file(tmp_path, monkeypatch):
    path = tmp_path / "report"
    path.write_text("former")

    def full(_):
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    with OutFile(path, "--html") as file:
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(ProvisionerError, match="Disk quota exceeded; the file is left as it was") as raised:
            file.write(b"new")
        assert raised.value.exit_code == 1
    assert (path.read_text(), names(tmp_path)) == ("former", ["report"])
