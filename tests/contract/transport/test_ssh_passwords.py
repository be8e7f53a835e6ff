"""Passwords, passphrases and certificates, with a real sshd, sudo and ssh-agent."""

from __future__ import annotations

import contextlib
import os
import pty
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from provisioner.errors import HostKeyRefused, Refused, TimedOut, Unreachable
from provisioner.transport import Connection, connect, connect_all
from provisioner.transport.secrets import NO_SECRETS, Password, Secrets
from provisioner.transport.text import clean

TYPED = {"user": "u-typed", "key": None, "keys": (), "agent": "none"}


def keygen(*words):
    subprocess.run(["ssh-keygen", "-q", *map(str, words)], check=True, stdin=subprocess.DEVNULL, capture_output=True)


def everything(error):
    """All that could be shown of an error, including its causes."""
    texts = []
    while error:
        texts += [str(error), repr(error), repr(vars(error))]
        error = error.__cause__ or error.__context__
    return "\n".join(texts)


@pytest.mark.usefixtures("root")
def test_a_password_that_all_hosts_accept(sshd, password):
    secrets = Secrets(password=Password(password))
    found = connect_all([sshd.target(name=f"h{n}", **TYPED) for n in range(4)], secrets=secrets)
    assert [end for end in found.values() if not isinstance(end, Connection)] == []
    for connection in found.values():
        assert connection.read("id -un").stdout == "u-typed\n"
        connection.close()
    assert password not in repr(secrets)
    assert password not in sshd.log()


@pytest.mark.usefixtures("root")
def test_a_wrong_password_is_sent_once_for_all_hosts(sshd):
    found = connect_all(
        [sshd.target(name=f"h{n}", **TYPED) for n in range(4)], secrets=Secrets(password=Password("wrong $x"))
    )
    assert {type(end) for end in found.values()} == {Refused}
    assert sshd.log().count("Failed password for u-typed") == 1
    told = sorted(end.answer for end in found.values())
    assert told[-3:] != told[:1]
    assert sum("the password was refused" in text for text in told) == 1
    assert sum("was not tried, because h" in text for text in told) == 3
    assert not any("wrong $x" in everything(end) for end in found.values())


@pytest.mark.usefixtures("root")
def test_a_key_and_then_the_password(sshd, password):
    sshd.start("AuthenticationMethods publickey,password")
    target = sshd.target(user="u-typed")
    with pytest.raises(Refused, match="login as u-typed is refused") as caught:
        connect(target)
    assert "--ask-password" in caught.value.cure
    assert "it accepts the key but also requires password" in caught.value.answer
    connect(target, secrets=Secrets(password=Password(password))).close()


@pytest.mark.usefixtures("root")
def test_keyboard_interactive_alone(sshd, password):
    sshd.start("UsePAM yes", "PasswordAuthentication no", "KbdInteractiveAuthentication yes", "PubkeyAuthentication no")
    with pytest.raises(Refused) as caught:
        connect(sshd.target(user="u-typed"))
    assert "--ask-password" in caught.value.cure
    connect(sshd.target(**TYPED), secrets=Secrets(password=Password(password))).close()


@pytest.mark.usefixtures("root")
def test_a_host_that_accepts_no_passwords(sshd, password):
    sshd.start("PasswordAuthentication no", "KbdInteractiveAuthentication no")
    with pytest.raises(Refused) as caught:
        connect(sshd.target(**TYPED), secrets=Secrets(password=Password(password)))
    assert "it accepts no passwords, only publickey" in caught.value.answer


@pytest.mark.usefixtures("root")
def test_a_jump_host_gets_no_password(sshd, password):
    target = sshd.target(jump=sshd.target(name="bastion", **TYPED), **TYPED)
    with pytest.raises(Refused, match="its jump host bastion can't be used"):
        connect(target, secrets=Secrets(password=Password(password)))
    assert "password for u-typed" not in sshd.log()
    connect(replace(target, jump=sshd.target(name="bastion")), secrets=Secrets(password=Password(password))).close()


@pytest.mark.usefixtures("root")
def test_sudo_with_a_password_runs_scripts_as_root(sshd, password):
    connection = connect(sshd.target(user="u-typed"), secrets=Secrets(sudo=Password(password)))
    assert connection.read("id -un; cat").stdout == "root\n"
    assert connection.write("cat; id -u", stdin=b"data\n").stdout == "data\n0\n"
    assert connection.read("id -un >&2; exit 3", accept=(3,)).stderr == "root\n"
    with connection.stream('while read -r line; do echo "<$line>"; done') as stream:
        stream.send("one")
        assert stream.readline(5) == "<one>"
    with connection.socket(sshd.port) as greeting:
        assert greeting.recv(4) == b"SSH-"
    connection.lock("test")
    connection.close()
    log = (sshd.folder / "sudo.log").read_text()
    assert "incorrect" not in log
    assert password not in log


@pytest.mark.usefixtures("root")
def test_a_wrong_password_for_sudo_is_one_attempt(sshd):
    found = connect_all(
        [sshd.target(name=f"h{n}", user="u-typed") for n in range(3)], secrets=Secrets(sudo=Password("wrong $x"))
    )
    ends = []
    for connection in found.values():
        with pytest.raises(Refused) as caught:
            connection.write("true")
        ends.append(caught.value)
        connection.close()
    assert [end.cause for end in ends] == ["no-root"] * 3
    assert [end.what for end in ends] == [
        "sudo refuses the password",
        *["sudo's password was not tried, because h0 refused it"] * 2,
    ]
    assert "3 incorrect" not in (log := (sshd.folder / "sudo.log").read_text())
    assert log.count("1 incorrect password attempt") == 1
    assert not any("wrong $x" in everything(end) for end in ends)


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize("user", ["u-bash", "root"])
def test_sudo_s_password_is_sent_only_where_sudo_asks(sshd, user):
    connection = connect(sshd.target(user=user), secrets=Secrets(sudo=Password("wrong")))
    assert connection.read("id -un").stdout == "root\n"
    connection.close()


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize("user", ["u-tty", "u-ttyfree"])
def test_sudo_that_requires_a_terminal_gets_one_that_changes_nothing(sshd, password, user, wait_for, tmp_path):
    connection = connect(
        sshd.target(user=user), secrets=Secrets(sudo=Password(password)) if user == "u-tty" else NO_SECRETS
    )
    data = bytes(range(256)) * 2000
    done = connection.write(
        "# w\nid -u; cat; echo err >&2; test -t 0 || test -t 1 || test -t 2 || exit 3", stdin=data, accept=(3,)
    )
    assert (done.code, done.raw, done.stderr) == (3, b"0\n" + data, "err\n")
    assert connection.read("# r\nhead -c 3000000 /dev/zero; printf '\\r\\n\\004x'").raw == bytes(3_000_000) + b"\r\n\4x"
    assert connection.read("# r\ncat; echo end").stdout == "end\n"
    with connection.stream('# s\nwhile read -r line; do echo "<$line>"; done') as stream:
        for word in ("one", "\x03\x04\x1a", "two"):
            stream.send(word)
            assert stream.readline(5) == f"<{clean(word.encode())}>"
    with connection.socket(sshd.port) as greeting:
        assert greeting.recv(4) == b"SSH-"
    (tmp_path / "file").write_bytes(data)
    connection.upload(tmp_path / "file", f"# u\ncat >{tmp_path}/copy")
    assert (tmp_path / "copy").read_bytes() == data
    connection.lock("test")
    with pytest.raises(TimedOut):
        connection.read(f"# k\necho $$ >{tmp_path}/pid; exec sleep 60", deadline=1)
    wait_for(lambda: not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists(), 10)
    connection.close()
    log = (sshd.folder / "sudo.log").read_text()
    assert ("incorrect" in log, password in log, password in sshd.log()) == (False, False, False)


@pytest.mark.usefixtures("root")
def test_a_host_that_can_t_create_such_a_terminal(sshd, password, tmp_path):
    for name in ("sudo", "id", "head"):
        (tmp_path / "bin" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "bin" / name).symlink_to(shutil.which(name))
    sshd.start(f"SetEnv PATH={tmp_path}/bin")
    connection = connect(sshd.target(user="u-tty"), secrets=Secrets(sudo=Password(password)))
    with pytest.raises(Refused, match="sudo runs no scripts") as caught:
        connection.write("true")
    assert "install the program `script`" in caught.value.cure
    assert "requiretty" in caught.value.cure
    assert "tty" in caught.value.answer
    connection.close()


@pytest.mark.usefixtures("root")
def test_a_write_over_such_a_terminal_goes_on_when_the_connection_is_cut(sshd, password, wait_for, tmp_path):
    connection = connect(sshd.target(user="u-tty"), secrets=Secrets(sudo=Password(password)))

    def cut_once_begun():
        wait_for((tmp_path / "begun").exists, 20)
        sshd.cut()

    threading.Thread(target=cut_once_begun).start()
    with pytest.raises(Unreachable):
        connection.write(f"# w\ntouch {tmp_path}/begun; echo out; sleep 1; echo more; touch {tmp_path}/done")
    wait_for((tmp_path / "done").exists)


@pytest.mark.usefixtures("root")
def test_such_a_terminal_without_the_right_password(sshd):
    for secrets in (Secrets(sudo=Password("wrong $x")), NO_SECRETS):
        connection = connect(sshd.target(user="u-tty"), secrets=secrets)
        assert secrets.sudo or connection.read("# r\nid -un").stdout == "u-tty\n"
        with pytest.raises(Refused) as caught:
            connection.write("true")
        assert caught.value.what == (
            "sudo refuses the password" if secrets.sudo else "the user is not root and has no passwordless sudo"
        )
        connection.close()
    assert (sshd.folder / "sudo.log").read_text().count("1 incorrect password attempt") == 1


@pytest.mark.usefixtures("root")
def test_a_user_whom_sudoers_does_not_list(sshd, password):
    connection = connect(sshd.target(user="u-dash"), secrets=Secrets(sudo=Password(password)))
    with pytest.raises(Refused):
        connection.write("true")
    connection.close()


def test_an_encrypted_key_with_its_passphrase(sshd, tmp_path):
    for number, options in enumerate((["-t", "ed25519"], ["-t", "rsa", "-m", "PEM"])):
        key = tmp_path / f"locked{number}"
        keygen(*options, "-N", "secret words", "-f", key)
        (tmp_path / "authorized_keys").write_text(Path(f"{key}.pub").read_text())
        connect(sshd.target(key=key, agent="none"), secrets=Secrets(passphrases={key: "secret words"})).close()
        connect(
            sshd.target(key=None, keys=(key,), agent="none"), secrets=Secrets(passphrases={key: "secret words"})
        ).close()
        with pytest.raises(Refused, match="is encrypted") as caught:
            connect(sshd.target(key=None, keys=(key,), agent="none"))
        assert "secret words" not in everything(caught.value)


@pytest.mark.parametrize("kind", ["ed25519", "rsa", "ecdsa"])
def test_a_user_s_certificate(sshd, tmp_path, kind):
    keygen("-t", "ed25519", "-N", "", "-f", tmp_path / "authority")
    keygen("-t", kind, "-N", "", "-f", tmp_path / "mine")
    user = sshd.target().user
    keygen("-s", tmp_path / "authority", "-I", "me", "-n", user, tmp_path / "mine.pub")
    sshd.start(f"TrustedUserCAKeys {tmp_path}/authority.pub")
    connect(sshd.target(key=tmp_path / "mine")).close()
    (tmp_path / "mine-cert.pub").rename(tmp_path / "elsewhere")
    with pytest.raises(Refused):
        connect(sshd.target(key=tmp_path / "mine"))
    connect(
        sshd.target(key=None, keys=(tmp_path / "mine",), certificates=(tmp_path / "elsewhere",), agent="none")
    ).close()


def test_a_certificate_that_the_host_refuses_does_not_hide_its_key(sshd, tmp_path):
    keygen("-t", "ed25519", "-N", "", "-f", tmp_path / "authority")
    keygen("-s", tmp_path / "authority", "-I", "me", "-n", "nobody", tmp_path / "key.pub")
    connect(sshd.target()).close()


@pytest.fixture
def certified(sshd, tmp_path):
    """A server with a certificate for `names`, and its authority on record."""
    keygen("-t", "ed25519", "-N", "", "-f", tmp_path / "authority")

    def start(*options, names="127.0.0.1", record="*", key=sshd.host_key):
        keygen("-s", tmp_path / "authority", "-I", "host", "-h", "-n", names, *options, f"{key}.pub")
        sshd.start(f"HostKey {key}", f"HostCertificate {key}-cert.pub")
        authority = (tmp_path / "authority.pub").read_text()
        sshd.target().known_hosts.write_text(f"@cert-authority {record} {authority}")
        return sshd.target(host_keys="strict")

    return start


@pytest.mark.parametrize("kind", ["ed25519", "rsa", "ecdsa"])
def test_a_host_is_known_by_its_certificate(certified, tmp_path, kind):
    keygen("-t", kind, "-N", "", "-f", tmp_path / "other_host_key")
    target = certified(key=tmp_path / "other_host_key")
    connect(target).close()
    connect(replace(target, known_as="127.0.0.1")).close()
    assert target.known_hosts.read_text().count("\n") == 1


@pytest.mark.parametrize(
    ("options", "names", "record", "why"),
    [
        ((), "other.example", "*", "its certificate is not for 127.0.0.1"),
        (("-V", "20200101:20200102"), "127.0.0.1", "*", "is not valid at this time"),
        ((), "127.0.0.1", "192.0.2.1", ""),
    ],
)
def test_a_certificate_that_does_not_count(certified, options, names, record, why):
    target = certified(*options, names=names, record=record)
    with pytest.raises(HostKeyRefused, match="its key is not in") as caught:
        connect(target)
    assert why in caught.value.answer
    before = target.known_hosts.read_text()
    connect(replace(target, host_keys="accept-new")).close()
    assert target.known_hosts.read_text().startswith(before)


def test_a_certificate_of_another_authority(certified, sshd, tmp_path):
    target = certified()
    keygen("-t", "ed25519", "-N", "", "-f", tmp_path / "stranger")
    target.known_hosts.write_text(f"@cert-authority * {(tmp_path / 'stranger.pub').read_text()}")
    with pytest.raises(HostKeyRefused) as caught:
        connect(target)
    assert "the authority of its certificate is not on record" in caught.value.answer


@pytest.mark.parametrize("revoked", ["authority.pub", "host_key.pub"])
def test_a_revoked_authority_and_a_revoked_key(certified, tmp_path, revoked):
    target = certified()
    with target.known_hosts.open("a") as file:
        file.write(f"@revoked * {(tmp_path / revoked).read_text()}")
    with pytest.raises(HostKeyRefused):
        connect(target)


def test_a_recorded_key_counts_also_if_the_host_has_a_certificate(certified, sshd):
    target = certified(names="other")
    with target.known_hosts.open("a") as file:
        file.write(f"[127.0.0.1]:{sshd.port} {Path(f'{sshd.host_key}.pub').read_text()}")
    connect(target).close()


def test_nothing_of_a_password_is_shown():
    assert "hush" not in repr(Secrets(Password("hush"), Password("hush"), {Path("key"): "hush"}))


def test_a_password_counts_as_refused_from_the_first_refusal():
    password = Password("p")
    assert not password.use("a", lambda _: False)
    assert not password.use("b", lambda _: pytest.fail("it is tried again"))
    assert password.refused_by == "a"
    good = Password("p")
    assert good.use("a", lambda _: True)
    assert not good.use("b", lambda _: False)


@pytest.fixture
def typed(sshd, tmp_path):
    """Run a command on a terminal, and type lines at its prompts. Returns the exit code and all that the terminal shows."""

    def run(command, *lines, **ssh):
        values = ", ".join(f"{key}: {value}" for key, value in {"port": sshd.port, "config": "none", **ssh}.items())
        hosts = "\n".join(
            f"  node{number}: {{address: {address}}}" for number, address in ((1, "127.0.0.1"), (2, "localhost"))
        )
        (tmp_path / "lab.yml").write_text(
            f"cluster: lab\nssh: {{{values}, host_keys: accept-new, known_hosts: known_hosts}}\nhosts:\n{hosts}\n"
            "networks: {demo: {subnet: 10.99.0.0/24}}\n"
        )
        outside, inside = pty.openpty()
        environment = {key: value for key, value in os.environ.items() if key != "SSH_AUTH_SOCK"} | {"TERM": "dumb"}
        words = [sys.executable, "-m", "provisioner", *command, tmp_path / "lab.yml"]
        process = subprocess.Popen(
            words, stdin=inside, stdout=inside, stderr=inside, env=environment, start_new_session=True, close_fds=True
        )
        os.close(inside)
        shown, waiting = b"", list(lines)
        with contextlib.suppress(OSError):  # the end of the terminal
            while data := os.read(outside, 65536):
                shown += data
                if waiting and shown.rstrip(b" ").endswith((b"password:", b"same]:", b"locked:")):
                    os.write(outside, f"{waiting.pop(0)}\n".encode())
                    shown += b"\n"
        os.close(outside)
        assert not waiting
        return process.wait(), shown.decode()

    return run


@pytest.mark.usefixtures("root")
def test_a_command_asks_once_on_a_terminal(typed, sshd, password):
    _, shown = typed(["status", "--ask-password", "--ask-sudo-password"], password, "", user="u-typed")
    assert shown.count("SSH password: ") == 1, shown
    assert password not in shown
    assert sshd.log().count("Accepted password for u-typed") == 2
    assert (sshd.folder / "sudo.log").read_text().count("COMMAND=") >= 2


def test_a_command_asks_for_a_passphrase_once(typed, sshd, tmp_path):
    keygen("-t", "ed25519", "-N", "right", "-f", tmp_path / "locked")
    (tmp_path / "authorized_keys").write_text((tmp_path / "locked.pub").read_text())
    _, shown = typed(["status"], "wrong", "right", key="locked", user=sshd.target().user)
    assert shown.count(f"Passphrase for {tmp_path}/locked: ") == 2, shown
    assert sshd.log().count("Accepted publickey") == 2
    assert "right" not in shown.replace("--", "")


def test_without_a_terminal_nothing_is_asked(typed, tmp_path, sshd):
    keygen("-t", "ed25519", "-N", "right", "-f", tmp_path / "locked")
    typed(["inventory", "check"], key="locked")
    for options, code, text in (
        (["--ask-password"], 64, "there is none; no host was contacted"),
        ([], 1, "is encrypted"),
    ):
        command = [sys.executable, "-m", "provisioner", "status", *options, tmp_path / "lab.yml"]
        ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        assert (ended.returncode, text in ended.stderr + ended.stdout) == (code, True), ended.stderr
    assert "Accepted" not in sshd.log()
