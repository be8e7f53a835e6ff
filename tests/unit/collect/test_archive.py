"""The archive is complete or absent, belongs to its owner alone, and follows no other user's links."""

from __future__ import annotations

import errno
import os
import tarfile
from contextlib import suppress

import pytest

from provisioner.collect import Archive, Collection
from provisioner.collect import archive as archives
from provisioner.errors import ProvisionerError


def names(path):
    with tarfile.open(path) as tar:
        return {entry.name.partition("/")[2]: entry for entry in tar}


def test_it_is_written_for_its_owner_alone(tmp_path):
    with Archive(tmp_path, "lab") as archive:
        archive.add("node1", "links.txt", b"eth0\n")
        assert [path.name.startswith(".provisioner-") for path in tmp_path.iterdir()] == [True]
        path, size = archive.finish()
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert (path.stat().st_mode & 0o777, path.stat().st_size) == (0o600, size)
    assert path.name.startswith("provisioner-lab-2")
    assert list(names(path)) == ["node1/links.txt"]


def test_without_an_end_nothing_is_left(tmp_path):
    with suppress(KeyboardInterrupt), Archive(tmp_path, "lab") as archive:
        archive.add("", "a", b"x" * 100_000)
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "..", ".", "", "a/b\0c", "-x", "é" * 300])
def test_no_name_leads_out_of_it(tmp_path, name):
    with Archive(tmp_path, name) as archive:
        archive.add(name, name, b"")
        path, _ = archive.finish()
    assert path.parent == tmp_path
    with tarfile.open(path) as tar:
        (entry,) = tar.getnames()
    assert (".." in entry.split("/"), entry.startswith("/"), entry.count("/") <= 2) == (False, False, True)


def test_no_existing_file_is_replaced(tmp_path, monkeypatch):
    monkeypatch.setattr(archives.time, "strftime", lambda *_: "NOW")
    (tmp_path / "provisioner-lab-NOW.tar.gz").symlink_to("/etc/passwd")
    with Archive(tmp_path, "lab") as archive:
        path, _ = archive.finish()
    assert path.name == "provisioner-lab-NOW-2.tar.gz"
    monkeypatch.setattr(archives, "_TRIES", 2)
    with Archive(tmp_path, "lab") as archive, pytest.raises(ProvisionerError, match="exists"):
        archive.finish()


@pytest.mark.parametrize("folder", ["missing", "file"])
def test_a_folder_that_can_not_be_written_to_is_refused_at_once(tmp_path, folder):
    (tmp_path / "file").write_text("")
    with pytest.raises(ProvisionerError) as caught:
        Archive(tmp_path / folder, "lab")
    assert (caught.value.cause, caught.value.exit_code) == ("archive-unwritable", 64)
    assert str(tmp_path / folder) in str(caught.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can create another user's link")
def test_a_link_of_another_user_is_not_followed(tmp_path):
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    with Archive(link, "lab"):
        pass
    os.chown(link, 65534, 65534, follow_symlinks=False)
    with pytest.raises(ProvisionerError, match="symbolic link of another user"):
        Archive(link / ".", "lab")


def test_a_full_disk_is_found_before_the_work(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(ProvisionerError, match="No space left"):
        Archive(tmp_path, "lab")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with Archive(tmp_path, "lab") as archive:
        archive.add("", "a", b"x")
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(ProvisionerError, match="No space left"):
            archive.finish()
    assert list(tmp_path.iterdir()) == []


def test_the_report_and_what_is_missing_are_in_it(tmp_path):
    with Archive(tmp_path, "lab") as archive:
        collection = Collection(archive, missing={"node3": "no SSH server answered"})
        done = collection.finish('{"where": "http://u:planted@x/"}')
    with tarfile.open(done.path) as tar:
        texts = {entry.name.rpartition("/")[2]: tar.extractfile(entry).read().decode() for entry in tar}
    assert set(texts) == {"report.json", "contents.txt"}
    assert "planted" not in texts["report.json"]
    assert "node3: no SSH server answered" in texts["contents.txt"]
    assert (done.missing, done.size > 0) == ({"node3": "no SSH server answered"}, True)
