"""The engine's script on real files: what it keeps of a daemon.json that others wrote. Only systemctl is a stub."""

from __future__ import annotations

import os
import stat
import subprocess

import pytest

from provisioner import render

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="sets owners: needs root")
NEW = '{"new": true}\n'


@pytest.fixture
def etc(tmp_path):
    folder = tmp_path / "etc"
    folder.mkdir()
    return folder


def write(etc, before: str = "", action: str = "write") -> subprocess.CompletedProcess[str]:
    files = {etc / "docker.service.d" / "provisioner.conf": "[Unit]\n"}
    script = render.script(
        "engine.sh.j2",
        json=NEW,
        json_path=etc / "daemon.json",
        files=files,
        action=action,
        write="yes",
        units=[],
        gone=[],
        through=[],
        secrets=[],
        tls_loaded=etc / "tls.loaded",
        folders=[],
    )
    stubs = 'systemctl() { [ "$1" != restart ]; }; journalctl() { :; }; timeout() { shift; "$@"; }; note() { :; }\n'
    whole = f"(\n{render.library()}{stubs}{before}\n{script}\n)"
    return subprocess.run(["sh", "-c", whole], text=True, capture_output=True, check=False, timeout=20)


def names(etc):
    return sorted(path.name for path in etc.iterdir() if path.is_file())


def test_a_new_file(etc):
    assert write(etc).returncode == 0
    assert (etc / "daemon.json").read_text() == NEW
    assert stat.S_IMODE((etc / "daemon.json").stat().st_mode) == 0o644
    assert names(etc) == ["daemon.json"]


def test_the_old_one_is_kept_with_its_mode_and_owner(etc):
    old = etc / "daemon.json"
    old.write_text("{}\n")
    old.chmod(0o600)
    os.chown(old, 1, 2)
    assert write(etc).returncode == 0
    now = old.stat()
    assert (old.read_text(), stat.S_IMODE(now.st_mode), now.st_uid, now.st_gid) == (NEW, 0o600, 1, 2)
    (copy,) = (name for name in names(etc) if name != "daemon.json")
    assert (etc / copy).read_text() == "{}\n"
    assert copy.endswith(".bak")


def test_a_link_stays_one(etc, tmp_path):
    real = tmp_path / "elsewhere.json"
    real.write_text("{}\n")
    (etc / "daemon.json").symlink_to(real)
    assert write(etc).returncode == 0
    assert (etc / "daemon.json").is_symlink()
    assert real.read_text() == NEW


@pytest.mark.parametrize("before", ["printf() { echo cut off; }", "ulimit -f 0"])
def test_a_write_that_fails_leaves_the_old_file_and_no_temporary_ones(etc, before):
    (etc / "docker.service.d").mkdir()
    (etc / "daemon.json").write_text("{}\n")
    once = f'put() {{ case $1 in *.conf) ;; *) ({before}; real_put "$@") || exit ;; esac; }}\n'
    library = render.library()[render.library().index("put()") :].replace("put()", "real_put()", 1)
    done = write(etc, library + once)
    assert done.returncode == 70
    assert (etc / "daemon.json").read_text() == "{}\n"
    assert [name for name in names(etc) if not name.endswith(".bak")] == ["daemon.json"]


def test_the_old_file_is_restored_if_the_engine_does_not_start_with_the_new_one(etc):
    (etc / "daemon.json").write_text("{}\n")
    done = write(etc, action="restart")
    assert done.returncode == 71
    assert (etc / "daemon.json").read_text() == "{}\n"
    assert [name for name in names(etc) if not name.endswith(".bak")] == ["daemon.json"]
