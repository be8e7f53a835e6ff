"""How a connection is established, and how it fails."""

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from provisioner.errors import HostKeyRefused, Refused, Unreachable
from provisioner.transport import Connection, connect, connect_all


def keygen(path, kind="ed25519", password=""):
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", password, "-f", path], check=True)
    return path


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize("shell", ["bash", "dash", "fish", "tcsh"])
def test_every_login_shell_and_its_noise(sshd, shell):
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    connection = sshd.connect(f"u-{shell}")
    result = connection.read("id -un; echo err >&2; exit 5", accept=(5,))
    # u-dash has no sudo, so its scripts don't run as root.
    user = "u-dash" if shell == "dash" or not shutil.which("sudo") else "root"
    assert (result.code, result.stdout, result.stderr) == (5, f"{user}\n", "err\n")


@pytest.mark.usefixtures("root")
def test_a_user_without_a_login_shell(sshd):
    with pytest.raises(Refused, match="runs no commands"):
        sshd.connect("u-nologin").read("true")


def test_a_key_that_the_host_does_not_know_is_refused_and_not_tried_again(sshd, tmp_path):
    retries = []
    with pytest.raises(Refused) as caught:
        connect(sshd.target(key=keygen(tmp_path / "other")), on_retry=retries.append)
    assert caught.type is Refused
    assert "is refused" in caught.value.what
    assert "authorized_keys" in caught.value.cure
    assert retries == []


@pytest.mark.parametrize("kind", ["ed25519", "rsa", "ecdsa"])
def test_every_kind_of_key(sshd, tmp_path, kind):
    key = keygen(tmp_path / kind, kind)
    (tmp_path / "authorized_keys").write_text(Path(f"{key}.pub").read_text())
    connect(sshd.target(key=key)).close()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.write_text("nonsense"), "is not a usable private key"),
        (lambda path: keygen(path, password="secret"), "is encrypted"),
    ],
)
def test_an_unusable_key_is_reported_before_any_connection(sshd, tmp_path, make, words, monkeypatch):
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    make(tmp_path / "bad")
    with pytest.raises(Refused, match=words):
        connect(sshd.target(key=tmp_path / "bad"))


def test_a_public_key_is_not_taken_for_a_private_one(sshd):
    with pytest.raises(Refused, match="public half") as caught:
        connect(sshd.target(key=Path(f"{sshd.key}.pub"), port=1))
    assert str(sshd.key) in caught.value.cure


@pytest.fixture
def agent(monkeypatch, tmp_path):
    path = tmp_path / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
    monkeypatch.setenv("HOME", str(tmp_path))
    while not path.exists():
        time.sleep(0.01)
    yield
    process.terminate()
    process.wait()


def test_the_agent_is_used_where_no_key_is_named(sshd, agent):
    with pytest.raises(Refused, match="there is no key"):
        connect(sshd.target(key=None))
    subprocess.run(["ssh-add", "-q", sshd.key], check=True)
    ends = connect_all([sshd.target(name=f"h{n}", key=None) for n in range(8)])
    assert all(isinstance(end, Connection) for end in ends.values()), ends
    for end in ends.values():
        end.close()


def test_an_encrypted_key_is_used_if_the_agent_holds_it(sshd, agent, tmp_path):
    key = keygen(tmp_path / "locked", password="secret")
    (tmp_path / "authorized_keys").write_text(Path(f"{key}.pub").read_text())
    with pytest.raises(Refused, match="is encrypted"):
        connect(sshd.target(key=key))
    askpass = tmp_path / "askpass"
    askpass.write_text("#!/bin/sh\necho secret\n")
    askpass.chmod(0o700)
    subprocess.run(
        ["setsid", "ssh-add", "-q", key],
        check=True,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "SSH_ASKPASS": str(askpass), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":0"},
    )
    connect(sshd.target(key=key)).close()


def test_the_default_files_are_used_where_no_key_is_named(sshd, tmp_path, monkeypatch):
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    shutil.copy(sshd.key, tmp_path / ".ssh" / "id_ed25519")
    connect(sshd.target(key=None)).close()


def test_an_unknown_host_stops_a_strict_connection(sshd):
    shown = subprocess.check_output(["ssh-keygen", "-lf", sshd.host_key], text=True).split()[1]
    with pytest.raises(HostKeyRefused) as caught:
        connect(sshd.target(host_keys="strict"))
    assert shown in caught.value.what
    assert f"ssh-keyscan -p {sshd.port} 127.0.0.1" in caught.value.cure
    assert "accept-new" in caught.value.cure
    assert not sshd.target().known_hosts.exists()


def test_a_new_host_is_recorded_once_and_known_from_then_on(sshd):
    ends = connect_all([sshd.target(name=f"h{n}") for n in range(8)])
    for end in ends.values():
        end.close()
    file = sshd.target().known_hosts
    assert file.read_text().splitlines() == [
        f"[127.0.0.1]:{sshd.port} {' '.join(Path(f'{sshd.host_key}.pub').read_text().split()[:2])}"
    ]
    assert oct(file.stat().st_mode) == "0o100600"
    connect(sshd.target(host_keys="strict")).close()


@pytest.mark.parametrize("mode", ["strict", "accept-new"])
def test_a_changed_host_key_always_stops(sshd, tmp_path, mode):
    connect(sshd.target()).close()
    file = sshd.target().known_hosts
    file.write_text(f"# a comment\n{file.read_text()}")
    sshd.start(f"HostKey {keygen(tmp_path / 'new')}")
    with pytest.raises(HostKeyRefused) as caught:
        connect(sshd.target(host_keys=mode))
    assert caught.value.what.count("SHA256:") == 2
    assert f"{file}:2" in caught.value.what
    assert f"ssh-keygen -f {file} -R '[127.0.0.1]:{sshd.port}'" in caught.value.cure


def test_a_host_is_known_by_whichever_key_is_on_record(sshd, tmp_path):
    rsa = keygen(tmp_path / "rsa", "rsa")
    file = sshd.target().known_hosts
    file.write_text(f"[127.0.0.1]:{sshd.port} {Path(f'{rsa}.pub').read_text()}")
    sshd.start(f"HostKey {sshd.host_key}", f"HostKey {rsa}")
    connect(sshd.target(host_keys="strict")).close()


def test_a_host_with_another_type_of_key_than_recorded_has_changed(sshd, tmp_path):
    rsa = keygen(tmp_path / "rsa", "rsa")
    sshd.target().known_hosts.write_text(f"[127.0.0.1]:{sshd.port} {Path(f'{rsa}.pub').read_text()}")
    with pytest.raises(HostKeyRefused, match="has changed: it was ssh-rsa SHA256:"):
        connect(sshd.target())


def test_a_hashed_record_is_read(sshd):
    connect(sshd.target()).close()
    file = sshd.target().known_hosts
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", file], check=True, capture_output=True)
    assert "127.0.0.1" not in file.read_text()
    connect(sshd.target(host_keys="strict")).close()


def test_a_server_with_sha1_only_is_reported_as_too_old(sshd):
    sshd.start("HostKeyAlgorithms ssh-rsa", f"HostKey {keygen(sshd.folder / 'rsa', 'rsa')}")
    with pytest.raises(Refused, match="no algorithm in common") as caught:
        connect(sshd.target())
    assert "ed25519 host key" in caught.value.cure


def test_a_burst_that_the_server_rejects_gets_through_by_waiting(sshd):
    sshd.start("MaxStartups 1:100:1")
    changes = []
    ends = connect_all([sshd.target(name=f"h{n}") for n in range(20)], on_change=lambda *words: changes.append(words))
    assert [end for end in ends.values() if not isinstance(end, Connection)] == []
    assert any("trying again" in text for _, text in changes)
    for end in ends.values():
        end.close()


def test_a_closed_port_is_reported_within_seconds(sshd):
    sshd.stop()
    began = time.monotonic()
    with pytest.raises(Unreachable, match="nothing listens on"):
        connect(sshd.target())
    assert time.monotonic() - began < 5


def test_a_server_that_is_being_restarted_is_waited_for(sshd, monkeypatch):
    monkeypatch.setattr(sys.modules[connect.__module__], "_MOMENT", 10.0)  # sshd starts slowly on a busy machine
    sshd.stop()
    threading.Timer(0.3, sshd.start).start()
    connect(sshd.target()).close()


def serve(answer: bytes, *, hold: bool) -> int:
    listener = socket.create_server(("127.0.0.1", 0))

    def run():
        held = []
        while True:
            client, _ = listener.accept()
            client.sendall(answer)
            held.append(client)
            if not hold:
                held.pop().close()

    threading.Thread(target=run, daemon=True).start()
    return listener.getsockname()[1]


@pytest.mark.parametrize(
    ("answer", "hold", "words"),
    [
        (b"", True, "says nothing"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", True, "is not an SSH server"),
        (b"x" * 5000, True, "is not an SSH server"),
        (b"SSH-2.0-stuck\r\n", True, "did not finish"),
    ],
)
def test_a_server_without_ssh_is_reported_in_time(sshd, answer, hold, words):
    began = time.monotonic()
    with pytest.raises(Unreachable, match=words):
        connect(sshd.target(port=serve(answer, hold=hold), connect_timeout=0.5))
    assert time.monotonic() - began < 5


def test_names_and_ipv6_addresses(sshd):
    connect(sshd.target(address="localhost")).close()
    sshd.start("ListenAddress ::1")
    connect(sshd.target(address="::1")).close()
    with pytest.raises(Unreachable, match="does not resolve"):
        connect(sshd.target(address="host.invalid"))


def test_connect_all_gives_an_end_for_every_host(sshd, tmp_path):
    ends = connect_all(
        [
            sshd.target(name="good"),
            sshd.target(name="dead", port=1),
            sshd.target(name="keyless", key=tmp_path / "none"),
        ]
    )
    assert list(ends) == ["good", "dead", "keyless"]
    assert isinstance(ends["good"], Connection)
    assert isinstance(ends["dead"], Unreachable)
    assert isinstance(ends["keyless"], Refused)
    assert ends["keyless"].host == "keyless"
    ends["good"].close()
