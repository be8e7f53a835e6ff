from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest
from importing import HERE, machines_of, sound, targets
from test_hostile import HOSTILE

from provisioner.errors import InventoryError
from provisioner.inventory.importers import Found, Machine, ssh_lines
from provisioner.inventory.importers.ssh_config import machines, parsed

if TYPE_CHECKING:
    from pathlib import Path


def only(text: str) -> Machine:
    (machine,) = parsed(text, "config", HERE).machines
    return machine


SAMPLE = """
# Team's hosts
Include conf.d/*.conf

Host bastion
    HostName bastion.example.net
    Port 2200

Host app-* !app-3
    User deploy
    ProxyJump ops@bastion:2200

Host app-1 app-2
    HostName %h.internal.example.net

Host app-3
\tHostName=10.20.0.13
\tUser = "root"
\tIdentityFile "~/.ssh/team key"
\tIdentityFile ~/.ssh/id_ed25519

Host *
    User admin
    Port 22
    ServerAliveInterval 30
"""


def test_sample() -> None:
    found = parsed(SAMPLE, "config", HERE)
    assert [(m.name, m.address, m.port, m.user, m.key) for m in found.machines] == [
        ("bastion", "bastion.example.net", "2200", "admin", ""),
        ("app-1", "app-1.internal.example.net", "22", "deploy", ""),
        ("app-2", "app-2.internal.example.net", "22", "deploy", ""),
        ("app-3", "10.20.0.13", "22", "root", "~/.ssh/team key"),
    ]
    assert [m.notes for m in found.machines] == [
        ("others use it as a jump host: remove it if it is not a Docker host",),
        (),
        (),
        ("IdentityFile '~/.ssh/id_ed25519': only one key is tried, '~/.ssh/team key'",),
    ]
    assert found.notes == ()


JUMPS = {
    "a name of the configuration": (
        "ProxyJump bastion\nHost bastion\n  HostName b.example\n  User ops\n  Port 2200",
        "ops@b.example:2200",
    ),
    "what ProxyJump says itself": ("ProxyJump me@bastion:99\nHost bastion\n  User ops\n  Port 2200", "me@bastion:99"),
    "a name of its own": ("ProxyJump gw", "me@gw:22"),
    "several": ("ProxyJump a,user@b:2", "me@a:22,user@b:2"),
    "a URL": ("ProxyJump ssh://me@b:2200/", "me@b:2200"),
    "IPv6": ("ProxyJump [2001:db8::1]", "me@[2001:db8::1]:22"),
    "a jump host behind another": ("ProxyJump in\nHost in\n  ProxyJump out", "me@out:22,me@in:22"),
    "none": ("ProxyJump none", ""),
}


@pytest.mark.parametrize(("text", "jump"), JUMPS.values(), ids=JUMPS)
def test_jump_hosts_with_their_own_settings(text: str, jump: str) -> None:
    found = parsed(f"Host h\n  HostName 192.0.2.1\n  {text}\n", "config", HERE)
    assert next(m for m in found.machines if m.name == "h").jump == jump


def test_a_loop_of_jump_hosts_ends() -> None:
    found = parsed("Host a\n  ProxyJump b\nHost b\n  ProxyJump a\n", "config", HERE)
    assert all(m.jump.count(",") < 9 for m in found.machines)


@pytest.mark.parametrize(
    "text", ["", "\n\n", "# nothing\n", "Host *\n  User x\n", "User x\n", "Host a* !b ?c\nPort 1\n"]
)
def test_no_host(text: str) -> None:
    assert parsed(text, "config", HERE) == Found(())


LINES: dict[str, tuple[str, dict[str, str]]] = {
    "nothing": ("", {"address": "h", "port": "22", "user": "me"}),
    "first wins": ("Port 1\nPort 2", {"port": "1"}),
    "before any Host": ("", {"user": "me"}),
    "case": ("hOsTnAmE x\nPORT 5", {"address": "x", "port": "5"}),
    "equals": ("HostName=x\nPort = 5\nUser =u", {"address": "x", "port": "5", "user": "u"}),
    "quotes": ("User \"a b\"\nHostName 'x'", {"user": "a b", "address": "x"}),
    "a quote in quotes": (r'User "a\"b"', {"user": 'a"b'}),
    "an escaped space": (r"IdentityFile /k/a\ b", {"key": "/k/a b"}),
    "a comment behind": ("User u # the user\nPort 5 #x", {"user": "u", "port": "5"}),
    "no comment": ("User u#x", {"user": "u#x"}),
    "windows lines": ("User u\r\nPort 5\r", {"user": "u", "port": "5"}),
    "percent": ("HostName a%%b-%h", {"address": "a%b-h"}),
    "tokens": ("User u\nIdentityFile %d/.ssh/%r@%h-%u-%%", {"key": "~/.ssh/u@h-me-%"}),
    "key beside": ("IdentityFile keys/a", {"key": "/srv/keys/a"}),
    "first key that is there": ("IdentityFile /missing\nIdentityFile /k", {"key": "/k"}),
    "no key": ("IdentityFile none", {"key": ""}),
    "no default key": ("IdentityFile none\nIdentityFile /k", {"key": "/k"}),
    "no key checks": ("StrictHostKeyChecking no", {"host_keys": "accept-new"}),
    "off": ("StrictHostKeyChecking off", {"host_keys": "accept-new"}),
    "accept-new": ("StrictHostKeyChecking accept-new", {"host_keys": "accept-new"}),
    "ask": ("StrictHostKeyChecking ask", {"host_keys": "strict"}),
    "known hosts": ("UserKnownHostsFile ~/a ~/b", {"known_hosts": "~/a"}),
    "known hosts nowhere": ("UserKnownHostsFile /dev/null", {"known_hosts": ""}),
    "Match all": ("Match all\nPort 5", {"port": "5"}),
    "Match": ("Match user x\nPort 5\nMatch exec id\nPort 6", {"port": "22"}),
    "Host after Match": ("Match user x\nPort 5\nHost *\nPort 7", {"port": "7"}),
    "negated": ("Host * !h\nPort 5\nHost !x *\nPort 6", {"port": "6"}),
    "negated alone": ("Host !x\nPort 5", {"port": "22"}),
    "wildcards": ("Host ?\nUser one\nHost ??\nPort 9", {"user": "one", "port": "22"}),
    "a command that jumps": ("ProxyCommand ssh -q -W %h:%p -p 7 u@b", {"jump": "u@b:7"}),
    "another one": ("ProxyCommand ssh u@b nc %h %p", {"jump": "u@b:22"}),
    "brackets are no wildcards": ("Host [h]\nPort 5", {"port": "22"}),
}


@pytest.mark.parametrize(("lines", "expected"), LINES.values(), ids=LINES)
def test_options(lines: str, expected: dict[str, str]) -> None:
    machine = parsed(f"Host h\n{lines}\n", "config", HERE).machines[0]
    assert {key: getattr(machine, key) for key in expected} == expected


NOTES: dict[str, tuple[str, str]] = {
    "command": ("ProxyCommand nc -X 5 %h %p", "is reached by a ProxyCommand"),
    "password first": ("PreferredAuthentications password,publickey", "uses a password"),
    "no keys": ("PubkeyAuthentication no", "uses a password"),
    "alias of the key": ("HostKeyAlias x", "HostKeyAlias is ignored"),
    "certificate": ("CertificateFile ~/x", "uses a certificate"),
    "key is missing": ("IdentityFile /missing", "IdentityFile '/missing' does not exist and is left out"),
    "an unknown token": ("IdentityFile /%i/k", "IdentityFile '/%i/k': its % or $ is not supported"),
    "a variable": ("IdentityFile ${HOME}/k", "IdentityFile '${HOME}/k': its % or $ is not supported"),
}


@pytest.mark.parametrize(("lines", "expected"), NOTES.values(), ids=NOTES)
def test_settings_that_are_not_imported_are_noted(lines: str, expected: str) -> None:
    (note,) = only(f"Host h\n{lines}\n").notes
    assert note.startswith(expected)


@pytest.mark.parametrize(
    "lines", ["ProxyJump none", "ProxyCommand none", "ForwardAgent yes", "ProxyJump none\nProxyJump x"]
)
def test_lines_without_a_note(lines: str) -> None:
    assert only(f"Host h\n{lines}\n").notes == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "Match host x\n",
            "config:1: this Match is not supported; the lines up to the next Host are ignored",
        ),
        ("Include nowhere\n", "config:1: Include names no file that can be read"),
        ("Include ~nobody-has-this/x\n", "config:1: Include names no file that can be read"),
    ],
)
def test_unsupported_lines_are_noted(text: str, expected: str) -> None:
    assert parsed(text, "config", HERE).notes == (expected,)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('Host "secret\n', "config:1: a quote is not closed; the import stops here"),
        ("Secret\n", "config:1: is not an option with a value; the import stops here"),
        ("Host a\n  Secret\nHost b\n", "config:2: is not an option with a value; the import stops here"),
        ("Host a\n\x1b[2JSecret\n", "config:2: is not an option with a value; the import stops here"),
        ("{\n  Secret\n", "config:1: is not an option with a value; the import stops here; the file looks like JSON"),
    ],
)
def test_it_stops_at_the_first_invalid_line_and_does_not_show_it(text: str, expected: str) -> None:
    with pytest.raises(InventoryError) as caught:
        parsed(text, "config", HERE)
    assert caught.value.problems == (expected,)
    assert "secret" not in str(caught.value).lower()


def test_an_error_in_an_included_file_names_that_file(tmp_path: Path) -> None:
    (tmp_path / "more").write_text("Host b\nSecret\n")
    with pytest.raises(InventoryError) as caught:
        parsed("Include more\n", "config", replace(HERE, ssh=tmp_path))
    assert caught.value.problems == (f"{tmp_path}/more:2: is not an option with a value; the import stops here",)


def test_include_applies_like_the_host_around_it(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "b").write_text("Host b\nUser two\nHost *\nPort 3\n")
    (tmp_path / "conf.d" / "a").write_text("User one\n")
    text = "Host a\nInclude conf.d/a conf.d/b\nUser late\nHost b\nInclude conf.d/*\nHost *\nUser last\n"
    found = parsed(text, "config", replace(HERE, ssh=tmp_path))
    assert [(m.name, m.user, m.port) for m in found.machines] == [("a", "one", "3"), ("b", "one", "3")]


def test_a_loop_of_includes_ends(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("Include a a\nHost x\n")
    found = parsed("Include a\n", "config", replace(HERE, ssh=tmp_path))
    assert [m.name for m in found.machines] == ["x"]
    assert any("is nested too deep or includes itself" in note for note in found.notes)


def test_a_pattern_with_many_stars_is_fast() -> None:
    assert not ssh_lines.matches(("*" * 5000 + "b",), "a" * 100)
    assert ssh_lines.matches(("a*b*c",), "axxbxxc")


def test_results_in_a_valid_inventory(tmp_path: Path) -> None:
    inventory, _ = sound(parsed(SAMPLE, "config", replace(HERE, exists=lambda _: False)), tmp_path)
    assert targets(inventory) == {
        "bastion": ("bastion.example.net", 2200, "admin", ""),
        "app-1": ("app-1.internal.example.net", 22, "deploy", ""),
        "app-2": ("app-2.internal.example.net", 22, "deploy", ""),
        "app-3": ("10.20.0.13", 22, "root", ""),
    }
    assert inventory.ssh.user == "deploy"
    assert [inventory.target(name).jump for name in ("bastion", "app-3")] == [None, None]
    jump = inventory.target("app-1").jump
    assert jump is not None
    assert (jump.address, jump.port, jump.user) == ("bastion.example.net", 2200, "ops")


FORMS = ["HostName 192.0.2.1\nHost %s", "HostName 192.0.2.2\nHost h\nHostName %s", "User %s", "Port %s", "IdentityFile %s", "UserKnownHostsFile %s", "ProxyJump %s", "Match exec %s", "Include %s", "%s"]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:20]))
def test_hostile_values_never_reach_the_inventory(tmp_path: Path, text: str) -> None:
    """Each form is a separate source. All findings are imported into one inventory."""
    found: list[Machine] = []
    for number, form in enumerate(FORMS):
        found += machines_of(partial(parsed, f"Host ok{number}\n{form.replace('%s', text)}\n", "config", HERE))
    names = {machine.name for machine in found if machine.name.startswith("ok")}
    if names:
        inventory, _ = sound(Found(tuple(found)), tmp_path)
        assert names <= set(inventory.hosts)


def test_a_file(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("\ufeffHost a\n", encoding="utf-8")
    assert [m.name for m in machines(tmp_path / "config").machines] == ["a"]
