"""OpenSSH's configuration, evaluated by the real ssh, for connections to a real server."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from provisioner.errors import HostKeyRefused, Refused, Unreachable
from provisioner.inventory.importers.ssh_config import Here, parsed
from provisioner.model import SshTarget
from provisioner.transport import Connection, complete, connect, connect_all, ssh_config
from provisioner.transport.command_line import hops, ssh, way


@pytest.fixture(autouse=True)
def _no_other_configuration(tmp_path, monkeypatch):
    (tmp_path / "home" / ".ssh").mkdir(parents=True)
    monkeypatch.setattr(ssh_config, "home", lambda: tmp_path / "home")
    monkeypatch.setattr(ssh_config, "_SYSTEM", tmp_path / "system" / "ssh_config")
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    (tmp_path / "system").mkdir()


@pytest.fixture
def own(tmp_path):
    """Write the user's own configuration."""
    return (tmp_path / "home" / ".ssh" / "config").write_text


def everything(sshd) -> str:
    return (
        f"Host web\n HostName 127.0.0.1\n Port {sshd.port}\n User {sshd.target().user}\n IdentityFile {sshd.key}\n"
        f" UserKnownHostsFile {sshd.folder}/known_hosts\n StrictHostKeyChecking accept-new\n"
    )


def bare(sshd, **changes):
    """A target of which the inventory names the address alone."""
    return sshd.target(**{"address": "web", "user": "root", "port": 22, "key": None, "host_keys": "strict"} | changes)


def completed(target):
    return complete([target]).targets[target.name]


def test_it_supplies_all_that_an_alias_needs(sshd, own):
    own(everything(sshd))
    done = complete([bare(sshd)])
    connection = connect(done.targets["one"])
    assert connection.read("echo here").stdout == "here\n"
    connection.close()
    assert done.notes == (f"ssh config: one at 127.0.0.1, port {sshd.port}, host keys accept-new, key {sshd.key}",)
    assert "127.0.0.1" in (sshd.folder / "known_hosts").read_text()


def test_what_the_inventory_names_wins(sshd, own, tmp_path):
    own(everything(sshd) + " ConnectTimeout 3\n")
    named = frozenset({"user", "port", "key", "host_keys", "known_hosts", "connect_timeout"})
    target = bare(
        sshd,
        user="ops",
        port=2222,
        key=tmp_path / "k",
        known_hosts=tmp_path / "other",
        connect_timeout=9.0,
        named=named,
    )
    done = completed(target)
    assert (done.address, done.alias) == ("127.0.0.1", "web")
    assert replace(done, address="web", alias="") == target
    assert completed(replace(target, named=named - {"connect_timeout"})).connect_timeout == 3.0


def test_without_a_user_anywhere_it_is_root(sshd, own):
    own("Host web\n Port 2222\n")
    assert completed(bare(sshd)).user == "root"
    own("Host web\n Port 2222\nHost *\n User deploy\n")
    assert completed(bare(sshd)).user == "deploy"


@pytest.mark.parametrize(
    "way",
    [
        "ProxyJump bastion",
        "ProxyJump outer,bastion",
        "ProxyCommand ssh -W %h:%p bastion",
        "ProxyCommand exec ssh -q bastion -W [%h]:%p",
        "ProxyCommand ssh bastion nc %h %p 2>/dev/null",
    ],
)
def test_jump_hosts_with_their_own_settings(sshd, own, way):
    text = everything(sshd)
    own(f"{text} {way}\n{text.replace('web', 'bastion outer')}")
    done = complete([bare(sshd, name=name) for name in ("one", "two")])
    assert ("jump root@" in done.notes[0]) is (sshd.target().user == "root")
    assert done.notes[0].startswith("ssh config: one, two at 127.0.0.1, port")
    assert done.targets["one"].jump == done.targets["two"].jump  # so they share one connection
    found = connect_all(done.targets.values())
    for connection in found.values():
        assert isinstance(connection, Connection), connection
        assert connection.read("echo $SSH_CONNECTION | cut -d' ' -f1").stdout == "127.0.0.1\n"
        connection.close()
    assert sshd.log().count("Accepted publickey") == 3 + ("outer" in way)


def test_a_jump_host_of_the_inventory_has_its_own_jump_host_and_user(sshd, own):
    own("Host bastion\n User ops\n ProxyJump deploy@outer:2222\nHost web\n User admin\n ProxyJump other\n")
    jump = bare(sshd, name="bastion", address="bastion", user="root")
    done = completed(bare(sshd, jump=jump, named=frozenset({"jump"})))
    assert way(done) == "deploy@outer:2222,ops@bastion"
    assert completed(bare(sshd, jump=replace(jump, address="plain"), named=frozenset({"jump"}))).jump.user == "admin"
    assert completed(bare(sshd, named=frozenset({"jump"}))).jump is None


def test_the_form_of_a_name_is_no_change(sshd, own):
    own("Host b\n Port 2222\n")
    done = complete([bare(sshd, address="A.Example")])
    assert (done.targets["one"].address, done.targets["one"].alias, done.notes) == ("A.Example", "", ())


def test_a_loop_of_jump_hosts(sshd, own):
    own("Host a\n ProxyJump b\nHost b\n ProxyJump a\n")
    with pytest.raises(Refused, match="more than 8 jump hosts") as caught:
        completed(bare(sshd, address="a"))
    assert caught.value.cause == "ssh-config-unusable"


def test_another_proxy_command_runs_as_ssh_runs_it(sshd, own, tmp_path):
    relay = tmp_path / "relay.py"
    relay.write_text(
        "import os, socket, sys, threading\ns = socket.create_connection((sys.argv[1], int(sys.argv[2])))\n"
        "def back():\n while d := s.recv(65536): os.write(1, d)\n"
        "threading.Thread(target=back, daemon=True).start()\nwhile d := os.read(0, 65536): s.sendall(d)\n"
    )
    marker = tmp_path / "pid"
    own(f"{everything(sshd)} ProxyCommand sh -c 'echo $$ >{marker}; exec {sys.executable} {relay} %h %p'\n")
    done = complete([bare(sshd)])
    assert "through its ProxyCommand" in done.notes[0]
    connection = connect(done.targets["one"])
    assert len(connection.read("head -c 3000000 /dev/zero | tr '\\0' x").stdout) == 3_000_000
    connection.close()
    with pytest.raises(ProcessLookupError):
        os.kill(int(marker.read_text()), 0)


def test_a_proxy_command_that_fails(sshd, own):
    own(f"{everything(sshd)} ProxyCommand echo no route secret=%p >&2; exit 3\n")
    with pytest.raises(Unreachable, match="its ProxyCommand did not reach an SSH server") as caught:
        connect(completed(bare(sshd, connect_timeout=2.0, named=frozenset({"connect_timeout"}))))
    assert caught.value.cause == "proxy-failed"
    assert "no route" in caught.value.answer
    assert "exit 3" not in str(caught.value)  # the command may contain a secret


@pytest.mark.parametrize(
    "line",
    [
        'Match exec "touch {}"',
        """Match host web e"xe"c 'touch {}'""",
        "match host web !exec 'touch {}'",
        '"Include" {}',
        "Include={}",
    ],
)
def test_a_file_elsewhere_runs_no_command(sshd, tmp_path, line):
    ran, file = tmp_path / "ran", tmp_path / "conf"
    file.write_text(f"Host web\n Port 2222\n{line.format(ran)}\n User x\n")
    with pytest.raises(Refused, match=r"conf:3 has `Match exec` or `Include`") as caught:
        completed(bare(sshd, config=str(file)))
    assert caught.value.cause == "ssh-config-unusable"
    assert not ran.exists()


def test_a_file_elsewhere_has_no_proxy_command_but_jumps(sshd, tmp_path):
    file = tmp_path / "conf"
    file.write_text(f"Host web\n ProxyCommand touch {tmp_path}/ran\nHost far\n ProxyCommand ssh -W %h:%p ops@bastion\n")
    with pytest.raises(Refused, match="may name jump hosts only"):
        completed(bare(sshd, config=str(file)))
    assert way(completed(bare(sshd, address="far", config=str(file)))) == "ops@bastion"
    assert not (tmp_path / "ran").exists()


def test_the_user_s_own_file_may_match_with_commands(sshd, own):
    own('Match host web exec "test %h = web"\n User deploy\n')
    assert completed(bare(sshd)).user == "deploy"


def test_none_reads_nothing(sshd, own):
    own(everything(sshd))
    assert complete([target := bare(sshd, config="none")]).targets["one"] == target


def test_a_file_that_others_can_write_is_refused_by_ssh(sshd, own, tmp_path):
    own("Host web\n User deploy\n")
    (tmp_path / "home" / ".ssh" / "config").chmod(0o666)
    with pytest.raises(Refused, match="ssh can't evaluate its configuration") as caught:
        completed(bare(sshd))
    assert "Bad owner or permissions" in caught.value.answer


def test_an_error_names_file_and_line(sshd, own, tmp_path):
    own("Host web\n Usr deploy\n")
    with pytest.raises(Refused) as caught:
        completed(bare(sshd))
    assert f"{tmp_path}/home/.ssh/config: line 2: Bad configuration option" in caught.value.answer
    file = tmp_path / "conf"
    file.write_text("Usr deploy\n")
    with pytest.raises(Refused) as caught:
        completed(bare(sshd, config=str(file)))
    assert f"{file} line 1" in caught.value.answer or f"{file}: line 1" in caught.value.answer


@pytest.mark.parametrize("word", ["no", "off", "accept-new"])
def test_a_new_host_is_accepted_if_the_user_says_so_but_no_changed_one(sshd, own, word):
    own(everything(sshd).replace("accept-new", word))
    connect(completed(bare(sshd))).close()
    sshd.start(f"HostKey {keygen(sshd.folder / 'new')}")
    with pytest.raises(HostKeyRefused, match="has changed"):
        connect(completed(bare(sshd)))


@pytest.mark.parametrize("word", ["yes", "ask"])
def test_otherwise_only_recorded_hosts(sshd, own, word):
    own(everything(sshd).replace("accept-new", word))
    with pytest.raises(HostKeyRefused, match="is not in"):
        connect(completed(bare(sshd)))


def test_the_system_s_file_does_not_accept_for_the_user(sshd, own, tmp_path):
    (tmp_path / "system" / "ssh_config").write_text("StrictHostKeyChecking no\nUser deploy\n")
    done = completed(bare(sshd))
    assert (done.host_keys, done.user) == ("strict", "deploy")
    own("StrictHostKeyChecking no\n")
    assert completed(bare(sshd)).host_keys == "accept-new"


def test_host_key_alias_and_global_files(sshd, own, tmp_path):
    key = " ".join(Path(f"{sshd.host_key}.pub").read_text().split()[:2])
    (tmp_path / "global").write_text(f"alias {key}\n")
    text = everything(sshd).replace("accept-new", "yes")
    own(f"{text} HostKeyAlias alias\n GlobalKnownHostsFile {tmp_path}/none {tmp_path}/global\n")
    connect(completed(bare(sshd))).close()
    (tmp_path / "global").write_text(f"@revoked * {key}\n")
    with pytest.raises(HostKeyRefused, match=rf"is revoked \({tmp_path}/global:1\)"):
        connect(completed(bare(sshd)))


@pytest.mark.parametrize("line", ["HostName 'a b'", "HostKeyAlias 'x; touch y #'", "User 'a b'", "User $(id)"])
def test_an_unusual_value_of_the_configuration(sshd, own, line):
    own(f"Host web\n {line}\n")
    with pytest.raises(Refused) as caught:
        completed(bare(sshd))
    assert caught.value.cause == "ssh-config-unusable"


@pytest.mark.parametrize("address", ["-oProxyCommand=touch ran", "a\nb", ""])
def test_an_address_is_never_an_option(sshd, own, address):
    own("User deploy\n")
    with pytest.raises(Refused, match="is not an address"):
        completed(bare(sshd, address=address))


def test_the_agent_of_the_configuration_alone(sshd, own, tmp_path, monkeypatch, wait_for):
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", tmp_path / "agent"], stdout=subprocess.DEVNULL)
    try:
        wait_for((tmp_path / "agent").exists)
        agent_of = {**os.environ, "SSH_AUTH_SOCK": f"{tmp_path}/agent"}
        wait_for(
            lambda: subprocess.run(["ssh-add", "-l"], env=agent_of, capture_output=True, check=False).returncode < 2
        )
        subprocess.run(["ssh-add", "-q", sshd.key], check=True, env=agent_of)
        text = everything(sshd).replace(f"IdentityFile {sshd.key}", f"IdentityAgent {tmp_path}/agent")
        monkeypatch.setenv("HOME", str(tmp_path))
        own(text)
        connect(completed(bare(sshd))).close()
        other = keygen(tmp_path / "other")
        own(f"{text} IdentityFile {other}\n")
        connect(completed(bare(sshd))).close()
        own(f"{text} IdentityFile {other}\n IdentitiesOnly yes\n")
        with pytest.raises(Refused, match="is refused"):
            connect(completed(bare(sshd)))
        (tmp_path / "mine.pub").write_text(Path(f"{sshd.key}.pub").read_text())
        for public in ("mine.pub", "mine"):  # the public half chooses one of the agent's keys
            own(f"{text} IdentityFile {tmp_path}/{public}\n IdentitiesOnly yes\n")
            connect(completed(bare(sshd))).close()
        own(text.replace(f"{tmp_path}/agent", "none"))
        with pytest.raises(Refused, match="there is no key"):
            connect(completed(bare(sshd)))
    finally:
        agent.terminate()
        agent.wait()


def test_tokens_in_paths_and_keys_that_are_missing(sshd, own, monkeypatch):
    shutil.copy(sshd.key, sshd.folder / "home" / "key-web-127.0.0.1")
    monkeypatch.setenv("PREFIX", "key")
    text = everything(sshd).replace(f"IdentityFile {sshd.key}", "IdentityFile ~/none\n IdentityFile %d/${PREFIX}-%n-%h")
    own(f"{text} IdentityFile %Z/x\n")
    connect(completed(bare(sshd))).close()


def test_without_ssh_a_note_says_that_it_is_not_read(sshd, own, monkeypatch):
    own(everything(sshd))
    monkeypatch.setenv("PATH", "/nonexistent")
    done = complete([bare(sshd, name="one"), bare(sshd, name="two")])
    assert done.notes == ("ssh config: not read, because this machine has no ssh program",)
    assert done.targets["one"].user == "root"


def test_a_file_without_effect_runs_nothing(sshd, own, tmp_path, monkeypatch):
    monkeypatch.setattr(subprocess, "run", None)
    assert complete([bare(sshd)]).notes == ()
    (tmp_path / "system" / "more.conf").write_text("Host *\n  GSSAPIAuthentication yes\n")
    (tmp_path / "system" / "ssh_config").write_text(
        f"# User x\nInclude {tmp_path}/system/*.conf\nHost *\n    SendEnv LANG LC_*\n    HashKnownHosts yes\n"
    )
    own("Host *\n ServerAliveInterval 60\n")
    assert complete([bare(sshd)]).notes == ()
    other = "Host .host machine/* !web\n ProxyCommand x\nHost other\n Port 1\n"
    (tmp_path / "system" / "more.conf").write_text(other)  # as systemd has it
    assert complete([bare(sshd)]).notes == ()
    for text in (
        "Port 2222\n",
        "Host a w?b\n Port 2\n",
        f"{other}Match all\n",
        "Include x\n",
        "Host o*\n Port 2\n",
    ):
        (tmp_path / "system" / "more.conf").write_text(text)
        with pytest.raises(TypeError):
            complete([bare(sshd, jump=bare(sshd, address="Out"))])


def test_a_command_that_hangs_is_bounded(sshd, own, monkeypatch):
    own('Match exec "sleep 30"\n User deploy\n')
    monkeypatch.setattr(ssh_config, "_SECONDS", 0.3)
    began = time.monotonic()
    with pytest.raises(Refused, match=r"did not evaluate its configuration within 0\.3 seconds"):
        completed(bare(sshd))
    assert time.monotonic() - began < 5


def test_a_command_says_once_what_the_configuration_changed(sshd, tmp_path):
    (tmp_path / "conf").write_text(everything(sshd))
    (tmp_path / "lab.yml").write_text(
        "cluster: lab\nssh: {config: conf}\nhosts:\n  node1: {address: web}\nnetworks: {demo: {subnet: 10.99.0.0/24}}\n"
    )
    command = [sys.executable, "-m", "provisioner", "status", tmp_path / "lab.yml"]
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ended.stderr.count("ssh config: node1 at 127.0.0.1, port ") == 1, ended.stderr
    assert "Accepted publickey" in sshd.log()


def keygen(path, kind="ed25519"):
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", path], check=True)
    return path


SAMPLE = """\
Host bastion
    HostName bastion.example.net
    Port 2200
Host app-* !app-3
    User deploy
    ProxyJump ops@bastion:2200
Host app-1 app-2
    HostName %h.internal.example.net
    StrictHostKeyChecking no
    UserKnownHostsFile /dev/null
Host app-3
    HostName=10.20.0.13
    User = "root"
    IdentityFile "~/.ssh/team key"
    IdentityFile ~/.ssh/id_ed25519
    ProxyJump in
Host in
    ProxyJump out
Host *
    User admin
"""
HERE = Here(getpass.getuser(), Path("/nowhere/.ssh"), Path("/srv"), lambda _: True)


def imported(file, here=HERE):
    return parsed(file.read_text(), str(file), here, partial(ssh_config.options_of, file))


def test_an_import_evaluates_as_ssh_does(tmp_path):
    (tmp_path / "conf").write_text(SAMPLE)
    assert imported(tmp_path / "conf") == parsed(SAMPLE, "conf", HERE)


def test_an_import_understands_match_and_proxy_commands_that_jump(tmp_path):
    (tmp_path / "conf").write_text(
        "Host a b\n ProxyCommand ssh -W %h:%p ops@gw\nMatch host b user me,deploy\n Port 22\nMatch host b\n Port 99\n"
    )
    found = imported(tmp_path / "conf")
    assert [(machine.port, machine.jump, machine.notes) for machine in found.machines] == [
        ("22", "ops@gw:22", ()),
        ("99", "ops@gw:22", ()),
    ]
    assert found.notes == ()


def test_an_import_runs_no_command_of_a_file_elsewhere(tmp_path):
    (tmp_path / "conf").write_text(f'Host a\n Port 5\nMatch exec "touch {tmp_path}/ran"\n Port 6\n')
    found = imported(tmp_path / "conf")
    assert [machine.port for machine in found.machines] == ["5"]
    assert "this Match is not supported" in found.notes[0]
    assert not (tmp_path / "ran").exists()


def test_an_import_leaves_to_the_user_s_configuration_what_only_it_can_say(tmp_path, own):
    own("Host a\n HostName 192.0.2.1\n ProxyCommand cloud-proxy %h\n HostKeyAlias x\nHost b\n HostName 192.0.2.2\n")
    folder = tmp_path / "home" / ".ssh"
    found = imported(folder / "config", replace(HERE, ssh=folder))
    assert [(machine.name, machine.address) for machine in found.machines] == [("a", "a"), ("b", "192.0.2.2")]
    assert found.machines[0].notes == (
        "its address is its name in ~/.ssh/config, which supplies its ProxyCommand, HostKeyAlias at each run",
    )
    assert completed(sshd_less(found.machines[0].address)).proxy == "cloud-proxy 192.0.2.1"


def test_an_import_of_a_host_that_ssh_refuses_reads_it_itself(tmp_path):
    (tmp_path / "conf").write_text("Host a\n Port 5\nHost b\n ProxyJump b\n")
    assert [machine.port for machine in imported(tmp_path / "conf").machines] == ["5", "22"]


def sshd_less(address):
    return SshTarget("one", address, 22, "root", None, "strict", Path("/dev/null"))


@pytest.mark.parametrize("jumps", [0, 1, 2])
def test_the_command_in_messages_does_what_the_run_does(sshd, tmp_path, jumps):
    """The error of a refused login names a command. With the right key in place, that command logs in."""
    key = keygen(tmp_path / "the key")
    named = frozenset({"user", "port", "key", "known_hosts", "jump"})
    known = tmp_path / "known hosts"
    target = sshd.target(key=key, known_hosts=known, config="none", named=named)
    for number in range(jumps):
        target = replace(target, jump=replace(target, name=f"gw{number}", named=named - {"jump"}))
    with pytest.raises(Refused) as caught:
        connect(target)
    command = caught.value.cure.removeprefix("try it: ").partition("; ")[0]
    with (sshd.folder / "authorized_keys").open("a") as file:
        file.write(Path(f"{key}.pub").read_text())
    assert command == ssh(([*hops(target), target])[0])  # the first machine refuses the key
    connect(target).close()  # records the host's key
    ended = subprocess.run(["sh", "-c", f"{ssh(target)} echo in"], capture_output=True, text=True, check=False)
    assert ended.stdout == "in\n", (ssh(target), ended.stderr)
