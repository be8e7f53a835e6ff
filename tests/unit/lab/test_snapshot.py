"""Snapshots without hosts: which one is current, who builds it, and when it is removed."""

from __future__ import annotations

import os
import threading
import time

import pytest

from provisioner import render
from provisioner.errors import LabError
from provisioner.lab import snapshot
from provisioner.lab.locks import held
from provisioner.lab.snapshot import SETTLED

NAME = "settled-consul"


@pytest.fixture
def image(monkeypatch, tmp_path):
    monkeypatch.setenv("PROVISIONER_LAB_DIR", str(tmp_path / "lab"))
    folder = tmp_path / "lab/images/engine"
    folder.mkdir(parents=True)
    return folder


def make(folder, lab):
    (folder / "hosts").mkdir()
    (folder / "lab").write_text(lab)


def fail(folder, lab):
    make(folder, lab)
    raise LabError("no")


def never(folder, lab):
    raise AssertionError("made again")


def test_a_snapshot_is_built_once(image):
    first = snapshot.ensure(NAME, image, make)
    assert snapshot.ensure(NAME, image, never) == first
    assert (first / "lab").read_text() == f"{NAME}-{os.getpid()}"
    assert [path.name for path in first.parent.iterdir()] == [first.name]


def test_only_one_thread_builds_and_the_others_wait(image):
    made = []

    def slowly(folder, lab):
        time.sleep(0.2)
        make(folder, lab)
        made.append(folder)

    threads = [threading.Thread(target=snapshot.ensure, args=(NAME, image, slowly)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1


def test_a_failed_build_leaves_nothing(image):
    with pytest.raises(LabError, match="no"):
        snapshot.ensure(NAME, image, fail)
    assert list(image.parents[1].glob("snapshots/*/*")) == []


def test_leftovers_of_a_killed_build_are_removed_unless_somebody_builds(image):
    building = image.parents[1] / "snapshots" / NAME / "building-17"
    building.mkdir(parents=True)
    removed = []
    with held(building.parent, timeout=0):
        snapshot.clean(removed.append)
    assert (removed, building.exists()) == ([], True)
    snapshot.clean(removed.append)
    assert (removed, building.exists()) == ([f"{NAME}-17"], False)


def test_a_changed_image_or_changed_sources_change_the_digest(image, monkeypatch, tmp_path):
    recipe = SETTLED[NAME]
    before = snapshot.digest(recipe, image)
    assert snapshot.digest(recipe, image) == before
    assert snapshot.digest(SETTLED["settled-etcd"], image) != before
    os.utime(image, (1, 1))
    built_again = snapshot.digest(recipe, image)
    assert built_again != before

    copied = tmp_path / "package"
    for part in ("report", "steps", "templates", "__pycache__"):
        (copied / part).mkdir(parents=True)
    monkeypatch.setattr(render, "__file__", str(copied / "render.py"))
    monkeypatch.setattr(render, "folder", lambda: copied / "templates")
    seen = {snapshot.digest(recipe, image)}
    for name in ("steps/daemon.py", "templates/consul.json.j2", "lab.sh"):
        (copied / name).write_text("changed")
        seen.add(snapshot.digest(recipe, image))
    assert len(seen) == 4
    for name in ("report/people.py", "cli.py", "__pycache__/render.cpython-311.pyc"):
        (copied / name).write_text("changed")
    assert snapshot.digest(recipe, image) in seen


def test_outdated_snapshots_are_removed_if_nobody_uses_them(image):
    root = image.parents[1]
    used, unused, recent = (root / "snapshots" / NAME / name for name in ("used", "unused", "recent"))
    for folder in (used, unused, recent):
        (folder / "hosts/node1").mkdir(parents=True)
    for folder in (used, unused):
        os.utime(folder, (1, 1))
    host = root / "labs/mine/hosts/node1"
    host.mkdir(parents=True)
    (host / "base").write_text(f"{used}/hosts/node1\n")
    made = snapshot.ensure(NAME, image, make)
    assert set(made.parent.iterdir()) == {made, used, recent}


def test_the_error_of_an_unknown_name_lists_the_known_ones():
    with pytest.raises(LabError) as caught:
        snapshot.settled("settled-redis")
    assert "settled-consul" in caught.value.cure
