"""Writes run as root, one at a time, and to their end. Uploads arrive completely or not at all."""

import hashlib
import os
import threading
import time

import pytest

from provisioner.errors import CommandFailed, Locked, Refused, TimedOut, Unreachable
from provisioner.model import CommandBegan, CommandEnded
from provisioner.render import receiving

pytestmark = pytest.mark.usefixtures("root")


def names(folder):
    return [path.name for path in folder.iterdir()]


def test_a_write_gives_what_a_read_gives(connection):
    result = connection.write("echo out; echo err >&2; exit 3", accept=(3,))
    assert (result.code, result.stdout, result.stderr) == (3, "out\n", "err\n")


def test_much_output_of_a_write_arrives(connection):
    result = connection.write("head -c 3000000 /dev/zero | tr '\\0' e >&2; head -c 3000000 /dev/zero | tr '\\0' o")
    assert (len(result.stdout), len(result.stderr)) == (3_000_000, 3_000_000)


def test_stdin_of_a_write_is_byte_exact(connection):
    data = bytes(range(256)) * 1000
    assert connection.write("sha256sum", stdin=data).stdout.split()[0] == hashlib.sha256(data).hexdigest()
    assert connection.write("cat; echo end").stdout == "end\n"


def test_stdin_is_in_no_argv_and_leaves_no_file(connection):
    result = connection.write(
        "cat /proc/*/cmdline 2>/dev/null | tr '\\0' ' '; ls -A /run/provisioner", stdin=b"hunter2"
    )
    assert "aHVudGVyMg" not in result.stdout
    assert "hunter2" not in result.stdout
    assert result.stdout.endswith("\nwrite.lock\n") or result.stdout.endswith(" write.lock\n")


def test_the_folder_of_the_locks_is_roots_alone(connection):
    assert connection.write("stat -c '%a %u' /run/provisioner").stdout == "700 0\n"


def test_children_of_a_write_may_be_hung_up_and_piped_as_usual(connection):
    # SIGPIPE must have its default action in the script. Otherwise `yes | head` prints an error.
    result = connection.write("yes | head -n 1")
    assert (result.stdout, result.stderr) == ("y\n", "")


def test_a_daemon_started_by_a_write_does_not_hold_the_lock(connection):
    connection.write("sleep 9 >/dev/null 2>&1 &")
    assert connection.write("echo free", deadline=4).stdout == "free\n"


@pytest.mark.parametrize("user", ["root", "u-bash"])
def test_a_write_goes_on_when_the_connection_is_cut(sshd, tmp_path, wait_for, user):
    connection = sshd.connect(user)

    def cut_once_begun() -> None:
        wait_for((tmp_path / "begun").exists, 20)
        sshd.cut()

    threading.Thread(target=cut_once_begun).start()
    script = f"touch {tmp_path}/begun; echo out; echo err >&2; sleep 1; echo more; echo more >&2; touch {tmp_path}/done"
    with pytest.raises(Unreachable) as caught:
        connection.write(script)
    assert not (tmp_path / "done").exists()
    assert "connection lost" in str(caught.value)
    wait_for((tmp_path / "done").exists)
    assert sshd.connect(user).write("echo next").stdout == "next\n"


def test_a_write_goes_on_when_the_controller_is_killed(sshd, tmp_path, wait_for, controller):
    process = controller(f"c.write('touch {tmp_path}/begun; sleep 1; touch {tmp_path}/done')")
    wait_for((tmp_path / "begun").exists)
    process.kill()
    wait_for((tmp_path / "done").exists)


def test_a_write_goes_on_after_its_deadline_and_says_so(connection, tmp_path, wait_for):
    with pytest.raises(TimedOut) as caught:
        connection.write(f"sleep 1; touch {tmp_path}/done", deadline=0.3)
    assert "it continues" in caught.value.cure
    wait_for((tmp_path / "done").exists)


def test_two_writes_never_run_side_by_side(sshd, tmp_path):
    log = tmp_path / "order"
    script = f"echo begin >>{log}; sleep 0.2; echo end >>{log}"
    threads = [threading.Thread(target=sshd.connect().write, args=(script,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert log.read_text() == "begin\nend\n" * 4


def test_a_write_that_waits_in_vain_says_who_holds_the_lock(sshd, tmp_path, wait_for):
    slow = threading.Thread(target=sshd.connect().write, args=(f"touch {tmp_path}/begun; sleep 5",))
    slow.start()
    wait_for((tmp_path / "begun").exists)
    with pytest.raises(Locked, match=r"another run works on this host for [0-9] seconds: a script that writes"):
        sshd.connect().write(f"touch {tmp_path}/second", deadline=4)
    slow.join()
    assert not (tmp_path / "second").exists()


def test_a_write_that_still_waits_never_begins_after_the_controller_died(sshd, tmp_path, wait_for, controller):
    script = f"touch {tmp_path}/begun; n=0; until [ -e {tmp_path}/end ] || [ $n = 300 ]; do sleep 0.1; n=$((n+1)); done"
    slow = threading.Thread(target=sshd.connect().write, args=(script,))
    slow.start()
    wait_for((tmp_path / "begun").exists)
    process = controller(f"print('go', flush=True); c.write('touch {tmp_path}/late')")
    assert process.stdout.readline() == "go\n"
    time.sleep(0.4)
    process.kill()
    time.sleep(1)  # until sshd notices that the client has gone
    (tmp_path / "end").touch()
    slow.join()
    sshd.connect().write("true")  # runs after all writes that waited before it
    time.sleep(0.3)
    assert not (tmp_path / "late").exists()


def test_writes_are_counted_and_call_their_hooks(sshd):
    calls = []
    connection = sshd.connect(
        before_write=lambda name: calls.append(f"before {name}"), on_write=lambda name: calls.append(f"after {name}")
    )
    connection.read("true")
    assert connection.writes == 0
    connection.write("true")
    with pytest.raises(CommandFailed):
        connection.write("false")
    assert connection.writes == 2
    assert calls == ["before one", "after one", "before one", "after one"]
    with connection.changing():
        calls.append("the request")
    with connection.changing(lock=True):
        pass
    assert connection.writes == 4
    assert calls[4:] == ["before one", "the request", "after one", "before one", "after one"]


def test_each_command_is_told_once_when_it_begins_and_how_it_ends(sshd, tmp_path):
    told = []
    connection = sshd.connect(on_command=told.append)
    connection.read("# reading\nexit 3", accept=(3,))
    with pytest.raises(CommandFailed):
        connection.write("# writing\nexit 4")
    with pytest.raises(TimedOut):
        connection.read("# waiting\nsleep 9", deadline=0.3)
    with connection.stream("# streaming\ncat") as stream:
        stream.send("x")
        assert stream.readline(9) == "x"
    with connection.stream("# ending\nexit 5") as stream:
        stream.finish(9)
    (tmp_path / "file").write_text("x")
    connection.upload(tmp_path / "file", "# uploading\ncat")
    connection.lock("test")
    connection.socket(sshd.port).close()
    with pytest.raises(Unreachable):
        connection.socket(1)
    ends = [(each.name, each.code, each.why) for each in told if isinstance(each, CommandEnded)]
    assert ends == [
        ("reading", 3, ""),
        ("writing", 4, ""),
        ("waiting", None, "the script did not end within 0.3 seconds"),
        ("streaming", None, "stopped"),
        ("ending", 5, ""),
        ("uploading", 0, ""),
        ("taking the lock of this host", None, "done"),
        (f"reaching 127.0.0.1:{sshd.port} on the host through SSH", None, "done"),
        ("reaching 127.0.0.1:1 on the host through SSH", None, "nothing answers on 127.0.0.1:1 of the host"),
    ]
    assert [each.name for each in told if isinstance(each, CommandBegan)] == [name for name, _, _ in ends]
    assert {each.host for each in told} == {"one"}
    assert 0.3 <= next(each.seconds for each in told if isinstance(each, CommandEnded) and each.name == "waiting") < 9


def test_without_root_reads_run_and_writes_say_what_to_do(sshd):
    connection = sshd.connect("u-dash")
    assert connection.read("id -un").stdout == "u-dash\n"
    with pytest.raises(Refused, match="not root and has no passwordless sudo") as caught:
        connection.write("touch /etc/never")
    assert "sudoers" in caught.value.cure


@pytest.mark.parametrize("user", ["root", "u-bash"])
def test_an_upload_has_its_contents_and_mode(sshd, tmp_path, user):
    data = os.urandom(3_000_001)
    local = tmp_path / "local"
    local.write_bytes(data)
    folder = tmp_path / "a folder's name"
    folder.mkdir()
    connection = sshd.connect(user)
    connection.upload(local, receiving(f"{folder}/it", len(data), hashlib.sha256(data).hexdigest(), 0o640))
    assert names(folder) == ["it"]
    assert (folder / "it").read_bytes() == data
    assert oct((folder / "it").stat().st_mode) == "0o100640"
    assert connection.writes == 1


def test_an_upload_with_another_checksum_leaves_nothing(connection, tmp_path):
    local = tmp_path / "local"
    local.write_bytes(b"x" * 100_000)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "it").write_text("old")
    with pytest.raises(CommandFailed, match="checksum of the received data"):
        connection.upload(local, receiving(f"{folder}/it", 100_000, "0" * 64, 0o600))
    assert names(folder) == ["it"]
    assert (folder / "it").read_text() == "old"


def test_an_upload_to_a_folder_that_is_not_there_fails_at_once(connection, tmp_path):
    local = tmp_path / "local"
    local.write_bytes(b"x" * 5_000_000)
    began = time.monotonic()
    with pytest.raises(CommandFailed, match="exit code 70"):
        connection.upload(local, receiving(f"{tmp_path}/none/it", 5_000_000, "0" * 64, 0o600))
    assert time.monotonic() - began < 10


def test_an_upload_that_is_cut_leaves_nothing(sshd, connection, tmp_path, wait_for):
    local = tmp_path / "local"
    with local.open("wb") as file:
        file.truncate(1 << 30)
    folder = tmp_path / "folder"
    folder.mkdir()
    threading.Timer(0.4, sshd.cut).start()
    with pytest.raises(Unreachable):
        connection.upload(local, receiving(f"{folder}/it", 1 << 30, "0" * 64, 0o600))
    wait_for(lambda: names(folder) == [])
