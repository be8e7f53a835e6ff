"""Files that a user asks for: refused early if they can't be written, replaced as a whole, and never through a link."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from provisioner import outfile
from provisioner.errors import ProvisionerError, UsageError
from provisioner.outfile import LogFile, OutFile

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


LINE = b"2026-11-29T10:12:13.123Z provisioner begins\n"


def test_a_log_is_readable_by_its_owner_alone_and_is_continued(tmp_path):
    for data in (LINE, b"more\n"):
        file = LogFile(tmp_path / "log", "--log")
        file.write(data)
        file.close()
    assert (tmp_path / "log").read_bytes() == LINE + b"more\n"
    assert (stat.S_IMODE((tmp_path / "log").stat().st_mode), names(tmp_path)) == (0o600, ["log"])


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("none/log", "No such file or directory"),
        ("folder", "is a folder"),
        ("link", "is a symbolic link or no regular file"),
        ("dangling", "is a symbolic link or no regular file"),
        ("pipe", "is a symbolic link or no regular file"),
        ("open", "can be read or changed by other users"),
        ("twice", "has a second name"),
        ("inventory", "is no log of provisioner"),
    ],
)
def test_a_log_that_is_refused(tmp_path, name, why):
    for own in ("file", "open", "inventory", "one"):
        (tmp_path / own).write_bytes(LINE if own != "inventory" else b"cluster: x\n")
        (tmp_path / own).chmod(0o644 if own == "open" else 0o600)
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "twice").hardlink_to(tmp_path / "one")
    os.mkfifo(tmp_path / "pipe")
    before = names(tmp_path)
    with pytest.raises(UsageError, match=f"--log .*{why}"):
        LogFile(tmp_path / name, "--log")
    assert names(tmp_path) == before
    assert (tmp_path / "file").read_bytes() == (tmp_path / "open").read_bytes() == LINE


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can create another user's files")
def test_a_log_in_another_users_folder_follows_nothing(tmp_path):
    folder = tmp_path / "theirs"
    folder.mkdir()
    (tmp_path / "precious").write_bytes(LINE)
    (folder / "link").symlink_to(tmp_path / "precious")
    (folder / "file").write_bytes(LINE)
    (folder / "file").chmod(0o600)
    (tmp_path / "way").symlink_to(folder)
    for path in (folder, folder / "link", folder / "file", tmp_path / "way"):
        os.lchown(path, OTHER, OTHER)
    for name, why in (
        ("theirs/link", "is a symbolic link"),
        ("theirs/file", "belongs to another user"),
        ("way/log", "is a symbolic link of another user"),
    ):
        with pytest.raises(UsageError, match=why):
            LogFile(tmp_path / name, "--log")
    assert (tmp_path / "precious").read_bytes() == (folder / "file").read_bytes() == LINE
    LogFile(folder / "log", "--log").close()
    assert ((folder / "log").stat().st_uid, stat.S_IMODE((folder / "log").stat().st_mode)) == (0, 0o600)


def test_a_file_that_becomes_a_link_meanwhile_is_not_followed(tmp_path, monkeypatch):
    (tmp_path / "precious").write_bytes(LINE)
    (tmp_path / "log").symlink_to("precious")
    monkeypatch.setattr(outfile.Folder, "check", lambda *_: True)
    with pytest.raises(UsageError, match="can't be written: Too many levels of symbolic links"):
        LogFile(tmp_path / "log", "--log")
    monkeypatch.setattr(outfile.Folder, "check", lambda *_: False)
    with pytest.raises(UsageError, match="can't be written: File exists"):
        LogFile(tmp_path / "log", "--log")
    assert (tmp_path / "precious").read_bytes() == LINE
