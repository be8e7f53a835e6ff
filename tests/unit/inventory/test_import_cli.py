"""The commands of `inventory import`: YAML on stdout, notes on stderr, and all options."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from importing import targets
from typer.testing import CliRunner

from provisioner.cli_inventory import app
from provisioner.inventory import Inventory, load

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIG = "Host web-1 web-2\n  HostName %h.example.net\nHost db\n  HostName 10.99.0.5\n  ProxyJump web-1\nHost *\n  User deploy\n"


@pytest.fixture(autouse=True)
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ANSIBLE_CONFIG", raising=False)
    monkeypatch.delenv("MACHINE_STORAGE_PATH", raising=False)
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").write_text(CONFIG)


def run(*words: str, stdin: str = "") -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["import", *words], input=stdin)
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done.exit_code, done.stdout, done.stderr


def made(tmp_path: Path, text: str) -> Inventory:
    (tmp_path / "made.yml").write_text(text)
    return load(tmp_path / "made.yml")


def test_the_inventory_is_on_stdout_and_notes_are_on_stderr(tmp_path: Path) -> None:
    code, text, notes = run("ssh-config")
    assert code == 0
    inventory = made(tmp_path, text)
    assert (inventory.cluster, inventory.ssh.user) == ("ssh-config", "deploy")
    assert targets(inventory)["web-2"] == ("web-2.example.net", 22, "deploy", "")
    assert "note: `web-1`: others use it as a jump host" in notes
    assert "jump: deploy@web-1.example.net:22" in text.replace('"', "")


def test_the_default_subnet_contains_no_host_and_has_room(tmp_path: Path) -> None:
    _, text, _ = run("ssh-config")
    assert str(made(tmp_path, text).networks["demo"].subnet) == "10.98.0.0/24"
    _, text, _ = run("ansible", "-", stdin="n[1:300]\n")
    assert str(made(tmp_path, text).networks["demo"].subnet) == "10.99.0.0/23"


def test_options(tmp_path: Path) -> None:
    words = ("--cluster", "mine", "--network", "172.30.0.0/16", "--advertise", "eth1", "--only", "web-*", "--only", "x")
    code, text, _ = run("ssh-config", *words)
    inventory = made(tmp_path, text)
    assert (code, inventory.cluster, str(inventory.networks["demo"].subnet)) == (0, "mine", "172.30.0.0/16")
    assert (inventory.advertise, list(inventory.hosts)) == ("eth1", ["web-1", "web-2"])


REFUSED = {
    "a subnet that holds a host": (
        ["ssh-config", "--network", "10.99.0.0/24"],
        "the inventory would be invalid: networks.demo.subnet: 10.99.0.0/24 contains the hosts' own addresses: db (10.99.0.5)",
    ),
    "no subnet": (["ssh-config", "--network", "x"], "the inventory would be invalid: networks.demo.subnet: 'x' has no prefix"),
    "a hostile cluster": (["ssh-config", "--cluster", "$(id)\n"], "the inventory would be invalid: cluster: '$(id)\\n' is not"),
    "a hostile interface": (["ssh-config", "--advertise", "a\nb"], "the inventory would be invalid: advertise: 'a\\nb' is neither"),
    "none left": (["ssh-config", "--only", "nobody"], "ssh-config: no host is left; see the notes and `--only`"),
    "no file": (["ssh-config", "nowhere"], "nowhere: there is no such file"),
    "no store": (["docker-machine"], "contains no machine: name a store"),
    "too long a name": (["ansible", "a" * 300], "can't be read: File name too long"),
    "too long a name of a store": (["docker-machine", "a" * 300], "contains no machine"),
    "no inventory": (["ansible", "nowhere"], "nowhere: there is no such file"),
    "nothing": (["vagrant", "-"], "vagrant: names no host"),
    "no group": (["ansible", "-", "--group", "web"], "ansible: there is no group `web`"),
}  # fmt: skip


@pytest.mark.parametrize(("words", "expected"), REFUSED.values(), ids=REFUSED)
def test_refused(words: list[str], expected: str) -> None:
    code, text, notes = run(*words)
    assert (code, text) == (64, "")
    assert expected in notes


def test_standard_input(tmp_path: Path) -> None:
    for words in (["ssh-config", "-"], ["vagrant", "-"]):
        code, text, _ = run(*words, stdin="Host a\nHostName 192.0.2.1\n")
        assert (code, list(made(tmp_path, text).hosts)) == (0, ["a"])
    code, text, notes = run("ansible", "-", stdin="[web]\na\n")
    assert (code, list(made(tmp_path, text).hosts)) == (0, ["a"])
    code, _, notes = run("ansible", "-", stdin="[web]\n\x1b[2J\n")
    assert code == 64
    assert notes.replace("\n", "").isprintable()


def test_input_that_is_no_text() -> None:
    done = CliRunner().invoke(app, ["import", "vagrant", "-"], input=b"Host a\n\xff\n")
    assert (done.exit_code, done.stderr) == (64, "standard input:2:1: byte 0xff is not UTF-8; save the file as UTF-8\n")
    done = CliRunner().invoke(app, ["import", "vagrant", "-"], input=b"#" * (1024 * 1024 + 1))
    assert (done.exit_code, done.stderr) == (
        64,
        "standard input: the file is larger than 1 MiB, the limit for an inventory\n",
    )


def test_ansible_in_this_folder(tmp_path: Path) -> None:
    (tmp_path / "inventory.yml").write_text("all: {children: {web: {hosts: {a: , b: }}}}\n")
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars" / "web.yml").write_text("ansible_user: ops\n")
    code, text, _ = run("ansible", "--group", "web")
    assert (code, made(tmp_path, text).ssh.user, made(tmp_path, text).cluster) == (0, "ops", "web")


def test_docker_machine_at_home(tmp_path: Path) -> None:
    folder = tmp_path / ".docker" / "machine" / "machines" / "a"
    folder.mkdir(parents=True)
    config = {"Name": "a", "Driver": {"IPAddress": "192.0.2.1", "SSHUser": "ubuntu", "SSHPort": 22}}
    (folder / "config.json").write_text(json.dumps(config))
    code, text, notes = run("docker-machine")
    assert (code, notes, targets(made(tmp_path, text))) == (0, "", {"a": ("192.0.2.1", 22, "ubuntu", "")})


NAMES = """Host Web_1 web-1
  HostName 192.0.2.1
Host web.example.com
  HostName 192.0.2.2
Host web.example.org
  HostName 192.0.2.3
Host db.example.org
  HostName 192.0.2.4
Host 192.0.2.5
Host ___
  HostName 192.0.2.6
Host WEB_1
  HostName 192.0.2.7
Host null
  HostName 192.0.2.8
Host 12
  HostName 192.0.2.9
"""


def test_names_are_adapted_and_noted(tmp_path: Path) -> None:
    _, text, notes = run("ssh-config", "-", stdin=NAMES)
    inventory = made(tmp_path, text)
    assert {name: host.address for name, host in inventory.hosts.items()} == {
        "web-1": "192.0.2.1",
        "web-example-com": "192.0.2.2",
        "web-example-org": "192.0.2.3",
        "db": "192.0.2.4",
        "host-192-0-2-5": "192.0.2.5",
        "host": "192.0.2.6",
        "web-1-2": "192.0.2.7",
        "null": "192.0.2.8",
        "12": "192.0.2.9",
    } or set(inventory.hosts) == set()
    assert "# Web_1 in the source" in text
    assert "note: 7 hosts have a different name in the inventory; a comment gives each original name" in notes
    assert "note: `web-1`: left out: is `Web_1` under a different name (same address and port)" in notes


BODY = base64.b64encode(bytes(range(200))).decode()
WRONG = {  # files that are passed by mistake, and the words of their errors
    "a key of OpenSSH": (
        f"-----BEGIN OPENSSH PRIVATE KEY-----\n{BODY[:70]}\n{BODY[70:]}\n-----END OPENSSH PRIVATE KEY-----\n",
        "a private key",
    ),
    "an encrypted key": (
        f"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,{BODY[:32]}\n\n{BODY}\n",
        "a private key",
    ),
    "a key behind a certificate": (
        f"Bag Attributes\n    friendlyName: {BODY[:9]}\n-----BEGIN PRIVATE KEY-----\n{BODY}\n",
        "a private key",
    ),
    "a key of PuTTY": (
        f"PuTTY-User-Key-File-3: ssh-ed25519\nComment: {BODY[:20]}\nPrivate-Lines: 1\n{BODY}\n",
        "a private key",
    ),
    "a certificate": (f"-----BEGIN CERTIFICATE-----\n{BODY}\n-----END CERTIFICATE-----\n", "a certificate"),
    "a shadow file": (f"root:$6${BODY[:60]}:19000:0:99999:7:::\n", "a table of users"),
    "a pgpass": (f"localhost:5432:db:me:{BODY[:30]}\n", "a file of passwords"),
    "a netrc": (f"machine example.net login me password {BODY[:30]}\n", "a file of passwords"),
}
READERS = (
    ["import", "ssh-config"],
    ["import", "vagrant"],
    ["import", "ansible"],
    ["import", "docker-machine"],
    ["check"],
)


@pytest.mark.parametrize(
    "words", [*([*reader, "wrong"] for reader in READERS), *([*reader, "-"] for reader in READERS[:3])], ids=" ".join
)
@pytest.mark.parametrize("wrong", WRONG)
def test_a_file_with_secrets_is_not_read_and_not_shown(tmp_path: Path, wrong: str, words: list[str]) -> None:
    text, what = WRONG[wrong]
    (tmp_path / "wrong").write_text(text)
    done = CliRunner().invoke(app, words, input=text)
    said = done.stdout + done.stderr
    assert isinstance(done.exception, SystemExit)
    assert done.exit_code == 64
    assert what in said
    assert not [at for at in range(len(BODY) - 8) if BODY[at : at + 8] in said]


UNKNOWN = {  # files of no known kind; the import stops at the first invalid line
    "words of base64": f"{BODY[:40]}+/=\n{BODY}\n",
    "settings": f"API_TOKEN={BODY[:40]}\n",
    "a word": f"{BODY[:20]}=\n",
}


@pytest.mark.parametrize("words", READERS, ids=" ".join)
@pytest.mark.parametrize("unknown", UNKNOWN)
def test_an_invalid_line_is_not_shown(tmp_path: Path, unknown: str, words: list[str]) -> None:
    (tmp_path / "wrong").write_text(UNKNOWN[unknown])
    done = CliRunner().invoke(app, [*words, str(tmp_path / "wrong")])
    assert done.exit_code == 64
    assert not [at for at in range(len(BODY) - 8) if BODY[at : at + 8] in done.stdout + done.stderr]


def test_an_invalid_configuration_of_ansible_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "ansible.cfg").write_text(f"{BODY[:30]}\n")
    (tmp_path / "hosts").write_text("a\n")
    code, text, notes = run("ansible", str(tmp_path / "hosts"))
    assert (code, text, notes) == (
        64,
        "",
        "ansible.cfg:1: is not an ansible.cfg: it needs sections in brackets, and under them `name = value`\n",
    )


@pytest.fixture
def as_nobody(tmp_path: Path) -> Iterator[None]:
    """Run the test as an ordinary user, because root may read everything."""
    user = os.geteuid()
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == user and folder != Path("/tmp"):
            folder.chmod(0o755)
    if user == 0:
        os.seteuid(65534)
    yield
    os.seteuid(user)


def test_folders_that_can_not_be_read(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """The folder itself, and a folder inside it."""
    for name in ("inv", "inv/closed", "group"):
        (tmp_path / name).mkdir()
    (tmp_path / "inv" / "hosts").write_text("a\n")
    (tmp_path / "group" / "group_vars").mkdir()
    (tmp_path / "group" / "hosts").write_text("[g]\nb\n")
    for name in ("inv/closed", "group/group_vars"):
        (tmp_path / name).chmod(0)
    request.getfixturevalue("as_nobody")
    assert run("ansible", "inv/closed") == (64, "", "inv/closed: can't be read: Permission denied\n")
    code, text, notes = run("ansible", "inv")
    assert (code, "inv/closed: can't be read: Permission denied; not read" in notes, "\n  a:" in text) == (
        0,
        True,
        True,
    )
    code, text, notes = run("ansible", "group")
    assert (code, "\n  b:" in text) == (0, True)
    assert "group/group_vars/all: can't be read: Permission denied; its variables are missing" in notes


def test_machines_and_included_files_that_can_not_be_read(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    for name in ("store/machines/a", "store/machines/b", "closed/machines"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "store/machines/a/config.json").write_text(json.dumps({"Driver": {"IPAddress": "192.0.2.1"}}))
    (tmp_path / "config").write_text(f"Include {tmp_path}/conf.d/* {tmp_path}/closed.d/*\nHost c\n")
    (tmp_path / "closed.d").mkdir()
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "secret").write_text("Host d\n")
    for name in ("store/machines/b", "closed/machines", "conf.d/secret", "closed.d"):
        (tmp_path / name).chmod(0)
    request.getfixturevalue("as_nobody")
    code, text, notes = run("docker-machine", "store")
    assert (code, "\n  a:" in text) == (0, True)
    assert "`b`: left out: store/machines/b/config.json: can't be read: Permission denied" in notes
    assert run("docker-machine", "closed") == (64, "", "closed/machines: can't be read: Permission denied\n")
    code, text, notes = run("ssh-config", "config")
    assert (code, "\n  c:" in text) == (0, True)
    for name in ("conf.d/secret", "closed.d"):
        assert f"config:1: Include: {tmp_path}/{name}: can't be read: Permission denied; not read" in notes


@pytest.fixture
def ansible_inventory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that records its arguments and prints `answer`."""
    program = tmp_path / "bin" / "ansible-inventory"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\necho "$@" >{tmp_path}/called\ncat {tmp_path}/answer || {{ echo hunter2 >&2; exit 4; }}\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return tmp_path / "answer"


def test_ansible_inventory_is_run_with_trust_only(tmp_path: Path, ansible_inventory: Path) -> None:
    (tmp_path / "hosts").write_text("a\n")
    ansible_inventory.write_text(
        '{"_meta": {"hostvars": {"x": {"ansible_port": 2222, "ansible_user": "u"}}}, "all": {"children": ["g"]}, "g": {"hosts": ["x"]}}'
    )
    assert run("ansible", "hosts")[0] == 0
    assert not (tmp_path / "called").exists()
    code, text, notes = run("ansible", "hosts", "--trust", "--group", "g")
    assert (code, notes, targets(made(tmp_path, text))) == (0, "", {"x": ("x", 2222, "u", "")})
    assert (tmp_path / "called").read_text() == "--inventory=hosts --list\n"
    run("ansible", "--trust")
    assert (tmp_path / "called").read_text() == "--list\n"
    (tmp_path / "called").unlink()
    (tmp_path / "program").write_bytes(b"\x7fELF\xff\x00")
    assert run("ansible", "program", "--trust")[0] == 0
    (tmp_path / "called").unlink()
    (tmp_path / "key").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n")
    assert run("ansible", "key", "--trust")[2].startswith("key:1: the file looks like a private key")
    assert not (tmp_path / "called").exists()


def test_trust_without_an_answer(tmp_path: Path, ansible_inventory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hosts").write_text("a\n")
    failed = "ansible-inventory: failed (exit code {}); to see why, run the same without provisioner: 'ansible-inventory --inventory=hosts --list'\n"
    assert run("ansible", "hosts", "--trust") == (64, "", failed.format(4))
    ansible_inventory.write_text("[]")
    assert run("ansible", "hosts", "--trust") == (64, "", failed.format(0))
    assert run("ansible", "nowhere", "--trust") == (64, "", "nowhere: can't be read: No such file or directory\n")
    assert run("ansible", "-", "--trust", stdin="a\n")[2].startswith("ansible: --trust needs a path")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "ansible-inventory: is not installed here" in run("ansible", "hosts", "--trust")[2]
