"""templates/files.pl, run as root: in a folder that another user can write, it never changes root's files.

`theirs` is the folder of a user who may put anything there at any time; `roots` is a folder that only root can write.
Both are below /run instead of pytest's folder: every user can write in /tmp, so no link there would be followed.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import hashlib
import os
import shutil
import stat
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from provisioner import render

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="acts as root and as another user")

USER = 12345  # does not exist on this machine
OWNER = f"{USER}:{USER}"
SECRET = "root's own\n"


@pytest.fixture
def roots() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="provisioner-test-", dir="/run"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def theirs(roots) -> Path:
    folder = roots / "theirs"
    folder.mkdir()
    os.chown(folder, USER, USER)
    return folder


@pytest.fixture
def trap(roots) -> Path:
    """A folder of root's like /etc, with a secret file and a folder."""
    folder = roots / "trap"
    (folder / "sub").mkdir(parents=True, mode=0o755)
    (folder / "file").write_text(SECRET)
    (folder / "file").chmod(0o600)
    return folder


def tree(folder: Path) -> list[tuple[str, int, int, str]]:
    """Return all entries with owner and mode, and the content of files."""
    found = [folder, *sorted(folder.rglob("*"))]
    return [(str(p), p.lstat().st_uid, p.lstat().st_mode, p.read_text() if p.is_file() else "") for p in found]


def sh(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = ["sh", "-c", f"(\n{render.library()}{script}\n)", "sh", *map(str, arguments)]
    return subprocess.run(command, text=True, capture_output=True, timeout=20, check=False)


def put(path: Path, text: str = "new\n", mode: str = "0600", owner: str = OWNER) -> subprocess.CompletedProcess[str]:
    return sh('put "$1" "$2" "$3" "$4"', path, mode, owner, base64.b64encode(text.encode()).decode())


def folder(path: Path, mode: str = "0700", owner: str = OWNER) -> subprocess.CompletedProcess[str]:
    return sh('files folder "$1" "$2" "$3"', path, mode, owner)


def plant(path: Path, what: str, trap: Path) -> None:
    if what == "link":
        path.symlink_to(trap / "file")
    elif what == "hard link":
        os.link(trap / "file", path)
    elif what == "fifo":
        os.mkfifo(path)
    elif what == "link to a folder":
        path.symlink_to(trap)
    elif what == "dangling link":
        path.symlink_to(trap / "made")


EVERY = ["link", "hard link", "fifo", "link to a folder", "dangling link"]


class TestFolders:
    def test_it_is_made_with_the_rights_of_its_user(self, theirs):
        done = folder(theirs / "serf", "2750")
        assert (done.returncode, done.stderr) == (0, "")
        made = (theirs / "serf").stat()
        assert (made.st_uid, made.st_gid, stat.S_IMODE(made.st_mode)) == (USER, USER, 0o2750)
        assert folder(theirs / "serf", "0700").returncode == 0
        assert stat.S_IMODE((theirs / "serf").stat().st_mode) == 0o700

    def test_where_root_alone_can_write_it_is_given_to_its_user(self, roots):
        assert folder(roots / "data", "0750").returncode == 0
        assert ((roots / "data").stat().st_uid, stat.S_IMODE((roots / "data").stat().st_mode)) == (USER, 0o750)
        os.chown(roots / "data", 0, 0)  # as if another package had created it
        assert folder(roots / "data", "0750").returncode == 0
        assert (roots / "data").stat().st_uid == USER

    @pytest.mark.parametrize("what", EVERY)
    def test_what_another_user_has_put_there_is_left_alone(self, theirs, trap, what):
        plant(theirs / "serf", what, trap)
        before = tree(trap)
        done = folder(theirs / "serf")
        assert done.returncode == 70
        assert str(theirs / "serf") in done.stderr
        assert "\tfind " in done.stderr or "\tlook " in done.stderr
        assert tree(trap) == before

    def test_a_folder_of_root_that_another_user_has_moved_there_is_left_alone(self, theirs):
        (theirs / "serf").mkdir(mode=0o755)
        done = folder(theirs / "serf")
        assert done.returncode == 70
        assert (
            f"provisioner: path-unsafe\t{theirs}/serf belongs to root:root, in a folder that the user {USER} can write; it was left unchanged\t"
            in done.stderr
        )
        assert ((theirs / "serf").stat().st_uid, stat.S_IMODE((theirs / "serf").stat().st_mode)) == (0, 0o755)

    @pytest.mark.parametrize("mode", [0o775, 0o757, 0o1777])
    def test_a_folder_of_root_that_others_can_write_is_shared(self, roots, trap, mode):
        (roots / "common").mkdir()
        (roots / "common").chmod(mode)
        (roots / "common" / "serf").symlink_to(trap)
        before = tree(trap)
        done = put(roots / "common" / "serf" / "new")
        assert done.returncode == 70
        assert "in a folder that a user other than root can write" in done.stderr
        assert tree(trap) == before

    def test_a_link_of_root_s_is_followed(self, roots):
        (roots / "disk").mkdir()
        (roots / "data").symlink_to("disk/consul")
        assert folder(roots / "data").returncode == 0
        assert (roots / "disk" / "consul").stat().st_uid == USER
        (roots / "whole").symlink_to(roots / "disk")
        assert folder(roots / "whole" / "consul" / "serf").returncode == 0
        assert put(roots / "data" / "serf" / "keyring").returncode == 0
        assert (roots / "disk" / "consul" / "serf" / "keyring").read_text() == "new\n"

    def test_circular_links_are_refused(self, roots):
        (roots / "a").symlink_to("b")
        (roots / "b").symlink_to("a")
        assert "too many links" in folder(roots / "a").stderr
        assert "too many links" in folder(roots / "a" / "c").stderr

    def test_dotdot_is_refused_in_a_shared_folder(self, roots, theirs, trap):
        (roots / "data").symlink_to("theirs/../trap/sub")
        before = tree(trap)
        assert put(roots / "data" / "new").returncode == 70
        assert tree(trap) == before

    def test_an_owner_that_does_not_exist(self, roots):
        done = folder(roots / "data", owner="no-such-user:root")
        assert (done.returncode, (roots / "data").exists()) == (70, False)
        assert "its owner or mode is invalid (no-such-user:root)\tcreate that user" in done.stderr


class TestFiles:
    @pytest.mark.parametrize("what", EVERY)
    def test_what_is_in_its_place_is_replaced_and_never_written_to(self, theirs, trap, what):
        plant(theirs / "file", what, trap)
        before = tree(trap)
        done = put(theirs / "file")
        assert (done.returncode, done.stderr) == (0, "")
        now = (theirs / "file").lstat()
        assert (now.st_uid, now.st_mode, (theirs / "file").read_text()) == (USER, stat.S_IFREG | 0o600, "new\n")
        assert tree(trap) == before

    @pytest.mark.parametrize("what", ["file", *EVERY])
    def test_what_a_script_left_that_was_killed_is_removed(self, theirs, trap, what):
        """Only files of that name are removed, not what they link to."""
        for name in (".provisioner.ab12cd34ef56", ".provisioner.aB3dE6gH"):  # the second as named by mktemp
            plant(theirs / name, what, trap)
            if what == "file":
                (theirs / name).write_text("half of")
        kept = {
            ".provisioner",
            ".provisioner.json",
            ".provisioner.aB3dE6gH.bak",
            ".provisioner.ab12cd34ef567",
            "x.provisioner.ab12cd34ef56",
        }
        for name in kept:
            (theirs / name).touch()
        (theirs / ".provisioner.abcdefgh").mkdir()
        before = tree(trap)
        assert put(theirs / "file").returncode == 0
        assert {path.name for path in theirs.iterdir()} == {*kept, ".provisioner.abcdefgh", "file"}
        assert [entry[1:] for entry in tree(trap)] == [entry[1:] for entry in before]

    @pytest.mark.parametrize("name", ["sub/new", "serf/file", "serf/sub/file", "serf/new/file"])
    def test_a_link_on_the_way_is_not_followed(self, theirs, trap, name):
        (theirs / "serf").symlink_to(trap)
        (theirs / "sub").symlink_to(trap / "sub")
        before = tree(trap)
        done = put(theirs / name)
        assert done.returncode == 70
        assert (
            f"provisioner: path-unsafe\t{theirs}/{name.partition('/')[0]} is a symbolic link in a folder that the user {USER} can write; it was left unchanged\tfind out who"
            in done.stderr
        )
        assert tree(trap) == before

    def test_a_file_for_root_in_another_users_folder_belongs_to_root_from_the_start(self, theirs):
        assert put(theirs / "key", "secret", "0600", "root:root").returncode == 0
        assert ((theirs / "key").stat().st_uid, stat.S_IMODE((theirs / "key").stat().st_mode)) == (0, 0o600)

    @pytest.mark.parametrize("names", [("serf/file",), ("file",), ("serf/file", "other/file")])
    def test_removing_follows_no_link(self, theirs, trap, names):
        for link in ("serf", "other"):
            (theirs / link).symlink_to(trap)
        (theirs / "file").symlink_to(trap / "file")
        before = tree(trap)
        done = sh('files remove "$@"', *(theirs / name for name in names))
        assert done.returncode == (0 if names == ("file",) else 70)
        assert tree(trap) == before
        assert (theirs / "file").is_symlink() is (names != ("file",))

    def test_removing_what_is_not_there(self, theirs):
        done = sh('files remove && files remove "$1" "$2"', theirs / "none", theirs / "no" / "folder")
        assert (done.returncode, done.stderr) == (0, "")

    @pytest.mark.parametrize("what", EVERY)
    def test_moving_moves_the_name(self, theirs, trap, what):
        plant(theirs / "data", what, trap)
        before = tree(trap)
        (theirs / "there.bak").symlink_to(trap)
        assert "there.bak exists" in sh('files rename "$1" there.bak', theirs / "data").stderr
        assert sh('files rename "$1" data.bak', theirs / "data").returncode == 0
        assert not (theirs / "data").is_symlink()
        assert (theirs / "data.bak").is_symlink() is ("link" in what and what != "hard link")
        assert tree(trap) == before


class TestCopies:
    """Copies of files from before they are written, and how they are restored."""

    def test_there_and_back_with_owner_and_mode(self, roots, theirs):
        (theirs / "file").write_text("old\n")
        (theirs / "file").chmod(0o640)
        os.chown(theirs / "file", USER, 54321)
        os.utime(theirs / "file", (1, 1))
        kept = roots / "kept"
        assert (
            sh('files copy "$1" "$2/a/b/file" "$3" "$2/none"', theirs / "file", kept, theirs / "none").returncode == 0
        )
        put(theirs / "file")
        put(theirs / "none")
        assert (
            sh('files copy "$2/a/b/file" "$1" "$2/none" "$3"', theirs / "file", kept, theirs / "none").returncode == 0
        )
        now = (theirs / "file").stat()
        assert ((theirs / "file").read_text(), now.st_uid, now.st_gid, stat.S_IMODE(now.st_mode)) == (
            "old\n",
            USER,
            54321,
            0o640,
        )
        assert now.st_mtime == 1
        assert not (theirs / "none").exists()

    @pytest.mark.parametrize("what", ["link", "fifo", "link to a folder", "dangling link"])
    def test_nothing_but_a_file_is_taken(self, roots, theirs, trap, what):
        plant(theirs / "file", what, trap)
        done = sh('files copy "$1" "$2"', theirs / "file", roots / "kept")
        assert (done.returncode, (roots / "kept").exists()) == (70, False)
        assert str(theirs / "file") in done.stderr

    def test_a_hard_link_to_a_file_of_root_s_stays_unreadable(self, roots, theirs, trap):
        plant(theirs / "file", "hard link", trap)
        (trap / "file").chmod(0o4700)
        before = tree(trap)
        assert sh('files copy "$1" "$2"', theirs / "file", roots / "kept").returncode == 0
        (theirs / "file").unlink()
        (theirs / "file").symlink_to(trap / "sub" / "new")
        assert sh('files copy "$2" "$1"', theirs / "file", roots / "kept").returncode == 0
        assert (theirs / "file").lstat().st_mode == stat.S_IFREG | 0o700  # a file of its own, still owned by root
        assert (theirs / "file").lstat().st_uid == 0
        assert tree(trap) == before

    def test_a_file_without_end_is_not_kept(self, roots, theirs):
        with (theirs / "file").open("w") as sparse:
            sparse.truncate(1 << 40)
        done = sh('files copy "$1" "$2"', theirs / "file", roots / "kept")
        assert (done.returncode, (roots / "kept").exists()) == (70, False)
        assert "is a file of more than 4 MiB" in done.stderr


def test_whoever_swaps_folders_and_links_all_the_time_gains_nothing(theirs, trap):
    """Another thread exchanges a folder and a link as fast as it can; root's files remain unchanged."""
    before, over = tree(trap), threading.Event()
    (theirs / "serf").mkdir()
    os.chown(theirs / "serf", USER, USER)
    (theirs / "link").symlink_to(trap)
    exchange = ctypes.CDLL(None, use_errno=True).renameat2

    def swap() -> None:
        names = os.fsencode(theirs / "serf"), os.fsencode(theirs / "link")
        while not over.is_set():
            assert exchange(-100, names[0], -100, names[1], 2) == 0  # AT_FDCWD, RENAME_EXCHANGE

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        codes = set()
        for number in range(12):
            serf = theirs / "serf"
            one = [
                folder(serf, f"07{number % 8}0"),
                put(serf / f"{number}"),
                sh('files copy "$1" "$2"', serf / "file", theirs / "taken"),
            ]
            codes |= {done.returncode for done in (*one, sh('files remove "$1"', serf / "file"))}
    finally:
        over.set()
        thread.join()
    assert tree(trap) == before
    assert not (theirs / "taken").exists()
    assert codes == {0, 70}


class TestUploads:
    """Large files on standard input, as sent by `Connection.upload`."""

    DATA = bytes(range(256)) * 9000

    def receive(self, path: Path, data: bytes = DATA, mode: int = 0o755) -> subprocess.CompletedProcess[bytes]:
        script = render.receiving(str(path), len(self.DATA), hashlib.sha256(self.DATA).hexdigest(), mode)
        return subprocess.run(["sh", "-c", script], input=data, capture_output=True, timeout=20, check=False)

    def test_it_is_root_s_and_has_its_mode(self, roots):
        assert self.receive(roots / "it's").returncode == 0
        now = (roots / "it's").stat()
        assert (now.st_uid, stat.S_IMODE(now.st_mode), (roots / "it's").read_bytes()) == (0, 0o755, self.DATA)
        assert [path.name for path in roots.iterdir()] == ["it's"]

    @pytest.mark.parametrize("what", EVERY)
    def test_what_is_in_its_place_is_replaced_and_never_written_to(self, theirs, trap, what):
        plant(theirs / "program", what, trap)
        before = tree(trap)
        assert self.receive(theirs / "program").returncode == 0
        assert (theirs / "program").lstat().st_mode == stat.S_IFREG | 0o755
        assert tree(trap) == before

    def test_a_link_on_the_way_is_not_followed(self, theirs, trap):
        (theirs / "bin").symlink_to(trap)
        before = tree(trap)
        done = self.receive(theirs / "bin" / "program")
        assert done.returncode == 70
        assert b"is a symbolic link in a folder that the user" in done.stderr
        assert tree(trap) == before

    @pytest.mark.parametrize("data", [DATA[:-1], DATA[:-1] + b"x", b""])
    def test_what_did_not_arrive_whole_leaves_nothing(self, theirs, data):
        (theirs / "program").write_text("old")
        done = self.receive(theirs / "program", data)
        assert done.returncode == 70
        assert b"the checksum of the received data is " in done.stderr
        assert [(path.name, path.read_text()) for path in theirs.iterdir()] == [("program", "old")]

    def test_a_path_that_is_not_absolute(self):
        with pytest.raises(ValueError, match="absolute"):
            render.receiving("relative", 1, "00", 0o600)

    def test_a_name_is_made_anew_while_its_owner_swaps_it(self, theirs, trap):
        """The temporary file is opened once, so a link that replaces it later is not written through."""
        before, over = tree(trap), threading.Event()

        def swap() -> None:
            while not over.is_set():
                for path in theirs.iterdir():
                    if path.name != "program":
                        with contextlib.suppress(OSError):
                            path.unlink()
                            path.symlink_to(trap / "file")

        thread = threading.Thread(target=swap)
        thread.start()
        try:
            for _ in range(8):
                self.receive(theirs / "program")
        finally:
            over.set()
            thread.join()
        assert tree(trap) == before


class TestNote:
    """The record of a host's earlier state."""

    def note(self, roots: Path, *words: object) -> subprocess.CompletedProcess[str]:
        return sh('files note "$@"', roots / "kept/record", *words)

    def lines(self, roots: Path) -> list[str]:
        return (roots / "kept/record").read_text().splitlines()[1:]

    def test_each_thing_has_one_line_that_only_root_can_read_and_the_first_is_kept(self, roots):
        assert self.note(roots, "user", "consul", "").returncode == 0
        assert self.note(roots, "unit", "etcd.service", "enabled active", "user", "consul", "other").returncode == 0
        assert self.note(roots, "unit", "etcd.service", "disabled inactive").returncode == 0
        assert self.lines(roots) == ["user\tconsul\t", "unit\tetcd.service\tenabled active"]
        record = roots / "kept/record"
        assert (record.stat().st_mode & 0o777, record.parent.stat().st_mode & 0o777) == (0o600, 0o700)
        assert record.stat().st_uid == 0
        assert [p.name for p in record.parent.iterdir()] == ["record"]

    def test_the_first_line_tells_whether_an_earlier_version_was_here(self, roots):
        self.note(roots, "user", "consul", "")
        known = "earlier" if Path("/etc/provisioner").exists() else "fresh"
        assert (roots / "kept/record").read_text().splitlines()[0] == f"begun\t-\t{known}"

    def test_a_folder_that_is_missing_and_the_mode_of_one_that_is_there(self, roots):
        (roots / "there").mkdir(mode=0o751)
        os.chown(roots / "there", USER, USER)
        words = [w for p in ("there", "missing") for k in ("folder", "mode") for w in (k, roots / p, "")]
        self.note(roots, *words)
        assert self.lines(roots) == [f"mode\t{roots}/there\t751 {OWNER}", f"folder\t{roots}/missing\t"]

    @pytest.mark.parametrize("odd", ["a\nuser\troot\t", "a\tb"])
    def test_a_value_can_t_make_another_line(self, roots, odd):
        done = self.note(roots, "network", odd, "")
        assert (done.returncode, "can't record" in done.stderr) == (70, True)
        assert not (roots / "kept/record").exists()

    def test_a_link_in_place_of_the_record_is_not_followed(self, roots, trap):
        (roots / "kept").mkdir(mode=0o700)
        (roots / "kept/record").symlink_to(trap / "file")
        before = tree(trap)
        assert self.note(roots, "user", "consul", "").returncode == 70
        assert tree(trap) == before

    def test_a_record_that_somebody_else_could_write_is_refused(self, roots, theirs):
        done = sh('files note "$@"', theirs / "kept/record", "user", "consul", "")
        assert done.returncode == 70
        assert not (theirs / "kept/record").exists()

    def test_half_written_records_of_a_killed_run_are_removed(self, roots):
        self.note(roots, "user", "consul", "")
        (roots / "kept/.provisioner.abcdefghijkl").write_text("half")
        self.note(roots, "user", "etcd", "")
        assert [p.name for p in (roots / "kept").iterdir()] == ["record"]
