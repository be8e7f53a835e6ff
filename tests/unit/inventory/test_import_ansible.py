from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from importing import machines_of, sound, targets
from test_hostile import HOSTILE

from provisioner.errors import InventoryError
from provisioner.inventory.importers import Found, Wishes, imported
from provisioner.inventory.importers.ansible import default_sources, machines, parsed
from provisioner.inventory.importers.ansible_cfg import Defaults, configured
from provisioner.inventory.importers.ansible_tree import MOST_HOSTS, expanded

if TYPE_CHECKING:
    from provisioner.inventory.importers import Machine

ME = Defaults("me")

INI = """
# mail is reached otherwise
mail.example.com

[web]
web[01:03].example.com:2222 http_port=80 maxRequestsPerChild=808

[db]
db-a ansible_host=10.20.0.21 ansible_user='postgres'
db-b ansible_host=10.20.0.22  # the second

[production:children]
web
db

[production:vars]
ansible_user = deploy
ansible_ssh_private_key_file="/keys/production"

[all:vars]
ansible_python_interpreter=/usr/bin/python3
ansible_user=nobody
"""

YAML = """
all:
  vars: {ansible_user: nobody}
  hosts:
    mail.example.com:
  children:
    production:
      vars: &vars
        ansible_user: deploy
        ansible_ssh_private_key_file: /keys/production
      children:
        web:
          hosts:
            web[01:03].example.com: {ansible_port: 2222, http_port: 80}
        db:
          hosts:
            db-a: {ansible_host: 10.20.0.21, ansible_user: postgres}
            db-b:
              ansible_host: 10.20.0.22
"""

SCRIPT = """
{"_meta": {"hostvars": {"mail.example.com": {"ansible_user": "nobody"},
   "db-a": {"ansible_host": "10.20.0.21", "ansible_user": "postgres"}, "db-b": {"ansible_host": "10.20.0.22"}}},
 "all": {"children": ["ungrouped", "production"]},
 "production": {"children": ["web", "db"], "vars": {"ansible_user": "deploy", "ansible_ssh_private_key_file": "/keys/production"}},
 "web": {"hosts": ["web01.example.com", "web02.example.com", "web03.example.com"], "vars": {"ansible_port": 2222}},
 "db": ["db-a", "db-b"], "ungrouped": {"hosts": ["mail.example.com"]}}
"""

KEY = "/keys/production"
EXPECTED = {
    "mail.example.com": ("mail.example.com", "22", "nobody", ""),
    "web01.example.com": ("web01.example.com", "2222", "deploy", KEY),
    "web02.example.com": ("web02.example.com", "2222", "deploy", KEY),
    "web03.example.com": ("web03.example.com", "2222", "deploy", KEY),
    "db-a": ("10.20.0.21", "22", "postgres", KEY),
    "db-b": ("10.20.0.22", "22", "deploy", KEY),
}


def reached(found: Found) -> dict[str, tuple[str, str, str, str]]:
    return {m.name: (m.address, m.port, m.user, m.key) for m in found.machines}


def only(text: str, **defaults: str) -> Machine:
    (machine,) = parsed(text, "hosts", defaults=replace(ME, **defaults)).machines
    return machine


@pytest.mark.parametrize(("text", "name"), [(INI, "hosts"), (YAML, "hosts"), (YAML, "hosts.yml"), (SCRIPT, "-")])
def test_samples(text: str, name: str) -> None:
    found = parsed(text, name, defaults=ME)
    assert reached(found) == EXPECTED
    assert found.notes == ()


@pytest.mark.parametrize("text", [INI, YAML, SCRIPT])
@pytest.mark.parametrize(
    ("group", "names"),
    [
        ("db", ["db-a", "db-b"]),
        ("web", ["web01.example.com", "web02.example.com", "web03.example.com"]),
        ("production", [name for name in EXPECTED if name != "mail.example.com"]),
        ("all", list(EXPECTED)),
    ],
)
def test_one_group(text: str, group: str, names: list[str]) -> None:
    assert sorted(reached(parsed(text, "hosts", group=group, defaults=ME))) == sorted(names)


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        ("wen", "ansible: there is no group `wen`; did you mean `web`?"),
        ("x", "ansible: there is no group `x`; there are `all`, `ungrouped`, `web`, `db`, `production`"),
        ("$(id)", "ansible: there is no group '$(id)'; there are"),
    ],
)
def test_no_such_group(group: str, expected: str) -> None:
    with pytest.raises(InventoryError) as caught:
        parsed("a\n" + INI.replace("mail.example.com", "[ungrouped]"), "hosts", group=group, defaults=ME)
    assert caught.value.problems[0].startswith(expected)


@pytest.mark.parametrize(
    "text", ["", "\n# nothing\n;\n", "[web]\n", "all:\n", "all: {hosts: }\n", "---\nall:\n  children:\n", "{}"]
)
def test_no_host(text: str) -> None:
    assert parsed(text, "hosts", defaults=ME).machines == ()


PATTERNS = {
    "web1": (["web1"], ""),
    "web1:22": (["web1"], "22"),
    "web[1:3]": (["web1", "web2", "web3"], ""),
    "web[01:03].x:22": (["web01.x", "web02.x", "web03.x"], "22"),
    "web[08:11]": (["web08", "web09", "web10", "web11"], ""),
    "web[1:10:4]": (["web1", "web5", "web9"], ""),
    "web[:2]": (["web0", "web1", "web2"], ""),
    "db-[a:c]": (["db-a", "db-b", "db-c"], ""),
    "[a:b][1:2]": (["a1", "a2", "b1", "b2"], ""),
    "192.0.2.1": (["192.0.2.1"], ""),
    "192.0.2.[1:2]": (["192.0.2.1", "192.0.2.2"], ""),
    "2001:db8::1": (["2001:db8::1"], ""),
    "[2001:db8::1]:2222": (["2001:db8::1"], "2222"),
    "[2001:db8::1]": (["2001:db8::1"], ""),
}


@pytest.mark.parametrize(("pattern", "expected"), PATTERNS.items(), ids=PATTERNS)
def test_patterns(pattern: str, expected: tuple[list[str], str]) -> None:
    assert expanded(pattern) == expected


@pytest.mark.parametrize(
    "pattern",
    ["a[3:1]", "a[1:c]", "a[c:1]", "a[01:100]", "a[1:3:0]", "a[0:999999999]", "a[0:9999999999999]", "a[1:99][1:99]", "a[1:9][1:9][1:9][1:9]"],
)  # fmt: skip
def test_invalid_ranges(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"range|hosts|width|begins"):
        expanded(pattern)
    with pytest.raises(
        InventoryError,
        match="hosts:1: has an invalid range of hosts, or one with more than 2000 hosts; the import stops here",
    ):
        parsed(f"{pattern}\nb\n", "hosts", defaults=ME)


def test_too_many_hosts_in_all() -> None:
    with pytest.raises(InventoryError, match=f"hosts:2: .* more than {MOST_HOSTS} hosts"):
        parsed("a[1:1500]\nb[1:1500]\n", "hosts", defaults=ME)


VALUES: dict[str, tuple[str, dict[str, str]]] = {
    "a name alone": ("h", {"address": "h", "port": "22", "user": "me", "key": "", "host_keys": "", "left_out": ""}),
    "older names": (
        "h ansible_ssh_host=a ansible_ssh_port=5 ansible_ssh_user=u",
        {"address": "a", "port": "5", "user": "u"},
    ),
    "a port with the name": ("h:5", {"port": "5"}),
    "the variable wins over the port": ("h:5 ansible_port=6", {"port": "6"}),
    "quotes": ("h ansible_user=\"a b\" ansible_host='x'", {"user": "a b", "address": "x"}),
    "quotes twice": ("""h ansible_user='"u"'""", {"user": "u"}),
    "a number": ("h ansible_port=0x16 ansible_host=10.0.0.1 ansible_user=022", {"port": "22", "address": "10.0.0.1", "user": "022"}),
    "a comment": ("h ansible_user=u # ansible_port=5", {"user": "u", "port": "22"}),
    "a key at home": ("h ansible_private_key_file=~/.ssh/k", {"key": "~/.ssh/k"}),
    "no key checks": ("h ansible_host_key_checking=False", {"host_keys": "accept-new"}),
    "no key checks by ssh": ("h ansible_ssh_common_args='-o StrictHostKeyChecking=no'", {"host_keys": "accept-new"}),
    "paramiko": ("h ansible_connection=paramiko", {"left_out": ""}),
    "local": (
        "h ansible_connection=local",
        {"left_out": "ansible_connection=local: provisioner reaches every host by SSH, this machine too; add it with its address"},
    ),
    "windows": ("h ansible_connection=winrm", {"left_out": "ansible_connection='winrm': provisioner reaches hosts by SSH only"}),
    "a template for the address": (
        "h ansible_host={{inventory_hostname}}.x",
        {"left_out": "ansible_host='{{inventory_hostname}}.x' is a template, which is not evaluated; write its value"},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), VALUES.values(), ids=VALUES)
def test_values(text: str, expected: dict[str, str]) -> None:
    machine = only(text)
    assert {key: getattr(machine, key) for key in expected} == expected


NOTES: dict[str, tuple[str, str]] = {
    "a template": ("ansible_user='{{ u }}'", "ansible_user='{{ u }}' is a template, which is not evaluated"),
    "a statement": ("ansible_port='{% if x %}5{% endif %}'", "ansible_port='{% if x %}5{% endif %}' is a template"),
    "password": ("ansible_password=hunter2", "uses a password: run the commands"),
    "older password": ("ansible_ssh_pass=hunter2", "uses a password"),
    "sudo's password": ("ansible_become_password=hunter2", "uses a password for sudo"),
    "su": ("ansible_become_method=su", "ansible_become_method='su': provisioner uses sudo"),
    "proxy command": (
        """ansible_ssh_common_args='-o ProxyCommand="nc -x proxy:1080 %h %p"'""",
        "is reached by a ProxyCommand",
    ),
    "other arguments": (
        "ansible_ssh_args='-C -vv -D 1080 -o Ciphers=aes256-ctr -o ControlMaster=auto'",
        "of the SSH arguments, -D, ciphers is not carried over",
    ),
    "an agent": ("ansible_ssh_args='-o IdentityAgent=/run/hunter2'", "IdentityAgent is ignored"),
    "no options": (
        "ansible_ssh_args=hunter2",
        "of the SSH arguments, a word that is not an option is not carried over",
    ),
    "an open quote": ("""ansible_ssh_args="-o User='hunter2" """, "of the SSH arguments, a quote that is not closed"),
    "a template in arguments": ("ansible_ssh_args='{{ x }}'", "ansible_ssh_args='{{ x }}' is a template"),
}


@pytest.mark.parametrize(
    ("text", "jump"),
    [
        ("ansible_ssh_common_args='-o ProxyJump=me@gw:2200'", "me@gw:2200"),
        ("ansible_ssh_extra_args='-J gw -o StrictHostKeyChecking=no'", "gw"),
        ("ansible_ssh_args='-C -Jssh://me@gw/'", "me@gw"),
        ("ansible_ssh_args='-J ssh://me@gw:22/,b'", "me@gw:22,b"),
        ("ansible_ssh_args='-J a' ansible_ssh_common_args='-J b'", "a"),
        ("""ansible_ssh_common_args='-o ProxyCommand="ssh -W %h:%p -q me@gw"'""", "me@gw"),
        ("""ansible_ssh_common_args='-o "ProxyCommand ssh -q -p 2200 -l me -W [%h]:%p gw"'""", "me@gw:2200"),
    ],
)
def test_jump_hosts(text: str, jump: str) -> None:
    assert (only(f"h {text}").jump, only(f"h {text}").notes) == (jump, ())


@pytest.mark.parametrize(("text", "expected"), NOTES.values(), ids=NOTES)
def test_settings_that_are_not_imported_are_noted(text: str, expected: str) -> None:
    (note,) = only(f"h {text}").notes
    assert note.startswith(expected)
    assert "hunter2" not in note


def test_a_vaulted_value_is_noted() -> None:
    text = "all:\n  hosts:\n    h:\n      ansible_user: !vault |\n        $ANSIBLE_VAULT;1.1;AES256\n        6162\n"
    assert only(text).notes == ("ansible_user is encrypted with ansible-vault, and not read",)
    printed = (
        '{"_meta": {"hostvars": {"h": {"ansible_user": {"__ansible_vault": "$ANSIBLE"}}}}, "all": {"hosts": ["h"]}}'
    )
    assert only(printed).notes == ("ansible_user is encrypted with ansible-vault, and not read",)


def test_the_local_user_as_default_is_noted() -> None:
    assert parsed("a\nb\nc\nd\n", "hosts", defaults=ME).notes == (
        "no user is named for `a`, `b`, `c` and others: `me`, your local user, is written, as with ssh",
    )


LINES = {
    "h secret": "hosts:1: has a word after the host's name that is not `name=value`; the import stops here",
    "h 'secret": "hosts:1: a quote is not closed; the import stops here",
    "[a:vars]\nsecret": "hosts:2: is not of the form `name=value`; the import stops here",
    "[a:vars]\n\x1b[2Jsecret": "hosts:2: is not of the form `name=value`; the import stops here",
    "ok\nc2VjcmV0+secret=\n": "hosts:2: does not begin with the name of a host; the import stops here",
    "root $6$secret\n": "hosts:1: has a word after the host's name that is not `name=value`; the import stops here",
    "<secret>\n": "hosts:1: does not begin with the name of a host; the import stops here; the file looks like XML or HTML",
}


@pytest.mark.parametrize(("text", "expected"), LINES.items())
def test_invalid_lines(text: str, expected: str) -> None:
    with pytest.raises(InventoryError) as caught:
        parsed(text, "hosts", defaults=ME)
    assert caught.value.problems == (expected,)
    assert "secret" not in str(caught.value)


REFUSED = {
    "a script": (
        "#!/usr/bin/python3\n",
        "hosts: is a script, and scripts are not executed: with --trust, ansible-inventory executes it",
    ),
    "a vault": ("$ANSIBLE_VAULT;1.1;AES256\n6162\n", "hosts: is encrypted with ansible-vault"),
    "a plugin": (
        "plugin: amazon.aws.aws_ec2\nregions: []\n",
        "hosts: is for the inventory plugin 'amazon.aws.aws_ec2'",
    ),
    "a list": ("---\n- a\n", "hosts: is not an Ansible inventory: the top level must be groups"),
    "no YAML": ("---\na: [b\n", "hosts:3: not YAML: "),
    "an escape": ("---\na: \x1b\n", "hosts:2: the character U+001B is not allowed in YAML"),
    "a circle": (
        "[a:children]\nb\n[b:children]\na\n",
        "ansible: groups are children of one another, or nested too deep: `a`, `b`, `a`",
    ),
    "a circle of one": (
        "[a:children]\na\n",
        "ansible: groups are children of one another, or nested too deep: `a`, `a`",
    ),
    "a long chain": (
        "".join(f"[g{i}:children]\ng{i + 1}\n" for i in reversed(range(3000))),
        "ansible: groups are children of one another, or nested too deep: ",
    ),
    "an alias in itself": ("---\nall: &a\n  children: {b: *a}\n", "hosts:2: has too many values"),
    "aliases that multiply": (
        "---\na0: &a0 {x: y}\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9)),
        "hosts:2: has too many values",
    ),
    "deep": ("---\n" + "{a: " * 5000, "hosts:2: nested deeper than 64 levels"),
    "many": ("---\na:\n" + "- x\n" * 60_000, "hosts:40000: the file has more than 20000 values"),
}


@pytest.mark.parametrize(("text", "expected"), REFUSED.values(), ids=REFUSED)
def test_refused(text: str, expected: str) -> None:
    with pytest.raises(InventoryError) as caught:
        parsed(text, "hosts", defaults=ME)
    assert caught.value.exit_code == 64
    assert caught.value.problems[0].startswith(expected)
    assert caught.value.problems[0].isprintable()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = {
        "inv/hosts": "[web]\nw1 ansible_port=1\nw2\n[db]\nd1\n[prod:children]\nweb\ndb\n[web:vars]\nansible_user=file\n",
        "inv/group_vars/all.yml": "ansible_user: all\nansible_port: 10\nlist: [a]\n",
        "inv/group_vars/prod": "ansible_user: prod\n",
        "inv/group_vars/web/a.yml": "ansible_user: early\nansible_port: 20\n",
        "inv/group_vars/web/b.yml": "ansible_user: web\n",
        "inv/group_vars/web/vault.yml": "$ANSIBLE_VAULT;1.1;AES256\n6162\n",
        "inv/group_vars/unused.yml": "{",
        "inv/host_vars/w2.yaml": "ansible_host: 10.20.0.2\n",
        "inv/host_vars/w1.yml": "ansible_port: 30\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize("source", ["inv", "inv/hosts"])
def test_variable_files_win_in_ansibles_order(folder: Path, source: str) -> None:
    found = machines((folder / source,), defaults=ME)
    assert reached(found) == {
        "w1": ("w1", "30", "web", ""),
        "w2": ("10.20.0.2", "20", "web", ""),
        "d1": ("d1", "10", "prod", ""),
    }
    assert found.notes == (f"{folder}/inv/group_vars/web/vault.yml: is encrypted with ansible-vault, and not read",)


def test_unreadable_variable_files_are_noted(folder: Path) -> None:
    (folder / "inv" / "group_vars" / "prod").write_text("a: [")
    (folder / "inv" / "host_vars" / "w2.yaml").write_bytes(b"\xff")
    notes = machines((folder / "inv",), defaults=ME).notes
    assert any("group_vars/prod:1: not YAML" in note for note in notes)
    assert any("host_vars/w2.yaml:1:1: byte 0xff is not UTF-8" in note for note in notes)


def test_a_name_is_no_path(folder: Path) -> None:
    (folder / "inv" / "hosts").write_text("{all: {hosts: {../../outside: , ../host_vars/w2: }}}\n")
    (folder / "outside.yml").write_text("ansible_user: outside\n")
    assert {m.user for m in machines((folder / "inv",), defaults=ME).machines} == {"all"}


@pytest.mark.parametrize(("first", "user"), [("hosts", "c"), ("children", "h")])
def test_the_last_key_of_a_yaml_group_wins(first: str, user: str) -> None:
    parts = {"hosts": "hosts: {a: {ansible_user: h}}", "children": "children: {c: {hosts: {a: {ansible_user: c}}}}"}
    other = next(key for key in parts if key != first)
    assert only(f"g: {{{parts[first]}, {parts[other]}}}\n").user == user


def test_a_folder_with_several_files(folder: Path) -> None:
    (folder / "inv" / "more.yml").write_text("all: {hosts: {m1: }}\n")
    (folder / "inv" / "ec2.ini").write_text("first\n[ec2]\nregions = all\n")
    (folder / "inv" / "static.ini").write_text("[static]\ni1\n")
    (folder / "inv" / "sites" / "north").mkdir(parents=True)
    (folder / "inv" / "sites" / "north" / "hosts").write_text("n1\n")
    for name in ("README.md", "old.bak", "x.cfg"):
        (folder / "inv" / name).write_text("readme\n")
    (folder / "inv" / "script").write_text("#!/bin/sh\nrm -rf /\n")
    found = machines((folder / "inv",), defaults=ME)
    assert [m.name for m in found.machines] == ["w1", "w2", "d1", "m1", "n1", "i1"]
    assert any("ec2.ini:3: has a word after the host's name" in note for note in found.notes)
    assert any("x.cfg: files with this extension are not read" in note for note in found.notes)
    assert any("script: is a script, and scripts are not executed" in note for note in found.notes)


def test_a_group_of_higher_priority_wins_among_equals() -> None:
    text = "[a]\nh\n[b]\nh\n[a:vars]\nansible_user=a\nansible_group_priority=10\n[b:vars]\nansible_user=b\n"
    assert only(text).user == "a"
    assert only(text.replace("ansible_group_priority=10\n", "")).user == "b"


def test_ansible_cfg() -> None:
    text = "[defaults]\ninventory = ./hosts.ini, other/ ; two\nremote_user=ops\nremote_port = 2200\nprivate_key_file=~/k\nhost_key_checking = False\n[ssh_connection]\nx=%d\n"
    defaults = configured(text, Path("/srv/ansible.cfg"), "me")
    sources = (Path("/srv/hosts.ini"), Path("/srv/other"))
    assert defaults == Defaults("me", sources, "ops", "2200", "~/k", "accept-new", folder=Path("/srv"))
    (machine,) = parsed("h\n", "hosts", defaults=defaults).machines
    assert (machine.user, machine.port, machine.key, machine.host_keys) == ("ops", "2200", "~/k", "accept-new")
    assert configured("", Path("x"), "me") == ME
    with pytest.raises(InventoryError, match="one problem"):
        configured("inventory = x\n", Path("x"), "me")


CFG = "[defaults]\nprivate_key_file=k\n[ssh_connection]\nssh_args={}\nssh_common_args=-o ProxyJump=ops@gw\nhost_key_checking=no\n"


def test_arguments_of_ansible_cfg() -> None:
    defaults = configured(CFG.format("-C -o User=first"), Path("/srv/ansible.cfg"), "me")
    a, b = parsed("a\nb ansible_ssh_common_args='-J other' ansible_user=u\n", "hosts", defaults=defaults).machines
    assert (a.jump, a.user, a.key, a.host_keys) == ("ops@gw", "first", "/srv/k", "accept-new")
    assert (b.jump, b.user, b.notes) == ("other", "first", ())  # ssh uses the first User, and ssh_args come first


def test_the_environment_overrides_ansible_cfg() -> None:
    environment = {
        "ANSIBLE_SSH_COMMON_ARGS": "-J env",
        "ANSIBLE_REMOTE_USER": "env",
        "ANSIBLE_PRIVATE_KEY_FILE": "/env",
        "ANSIBLE_HOST_KEY_CHECKING": "True",
        "ANSIBLE_INVENTORY": "a,b",
    }
    found = configured(CFG.format("-C"), Path("/srv/ansible.cfg"), "me", environment)
    assert (found.ssh_common_args, found.user, found.key) == ("-J env", "env", "/env")
    assert found.inventory == (Path("a"), Path("b"))


SSH_CFG = """Host bastion
  HostName b.example.net
  Port 2200
Host 10.20.* app
  ProxyJump bastion
  User deploy
  Port 2222
  IdentityFile {key}
Host app
  HostName 10.20.0.9
Match exec "touch {folder}/executed"
  User nobody
"""


def test_the_file_of_f_is_carried_over_and_nothing_in_it_is_executed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "k").touch()
    (tmp_path / "ssh.cfg").write_text(SSH_CFG.format(key=tmp_path / "k", folder=tmp_path))
    defaults = configured(CFG.format("-F ssh.cfg").replace("-o ProxyJump=ops@gw", ""), tmp_path / "ansible.cfg", "me")
    text = "a ansible_host=10.20.0.1\napp ansible_port=22\nother ansible_user=u\n"
    found = parsed(text, "hosts", defaults=replace(defaults, key=""))
    assert [(m.name, m.address, m.port, m.user, m.key, m.jump) for m in found.machines] == [
        ("a", "10.20.0.1", "2222", "deploy", str(tmp_path / "k"), "me@b.example.net:2200"),
        ("app", "10.20.0.9", "22", "deploy", str(tmp_path / "k"), "me@b.example.net:2200"),
        ("other", "other", "22", "u", "", ""),
    ]
    assert found.notes == (
        f"{tmp_path}/ssh.cfg:11: this Match is not supported; the lines up to the next Host are ignored",
    )
    assert not (tmp_path / "executed").exists()


def test_a_missing_file_of_f_is_noted() -> None:
    found = parsed("a ansible_ssh_args='-F nowhere.cfg'\nb ansible_ssh_args='-F none'\n", "hosts", defaults=ME)
    (note,) = [note for note in found.notes if "user" not in note]
    assert note.startswith("`-F nowhere.cfg` of the SSH arguments is not carried over: ")
    assert "there is no such file; import again in the folder in which you run Ansible" in note


UNGROUPED = {  # the same inventory in three forms: `a` is in no group; `b` is listed as ungrouped, but has a group
    "hosts": "a\nb\n[web]\nb\nc\n",
    "hosts.yml": "all: {hosts: {a: , b: }, children: {web: {hosts: {b: , c: }}}}\n",
    "json": '{"ungrouped": ["a", "b"], "web": ["b", "c"]}',
}


@pytest.mark.parametrize("name", UNGROUPED)
def test_ungrouped_has_the_hosts_of_no_other_group(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(UNGROUPED[name])
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars" / "ungrouped").write_text("ansible_user: alone\n")
    found = machines((tmp_path / name,), defaults=ME)
    assert {m.name: m.user for m in found.machines} == {"a": "alone", "b": "me", "c": "me"}
    assert [m.name for m in machines((tmp_path / name,), group="ungrouped", defaults=ME).machines] == ["a"]


def test_a_later_source_wins_as_a_whole(tmp_path: Path) -> None:
    for name, group in (("one", "child"), ("two", "parent")):
        (tmp_path / name / "group_vars").mkdir(parents=True)
        (tmp_path / name / "hosts").write_text("[child]\na\n[parent:children]\nchild\n")
        (tmp_path / name / "group_vars" / group).write_text(f"ansible_user: {name}\n")
    assert machines((tmp_path / "one", tmp_path / "two"), defaults=ME).machines[0].user == "two"


def test_variable_files_that_ansible_does_not_read(tmp_path: Path) -> None:
    folder = tmp_path / "group_vars" / "all"
    (folder / "more").mkdir(parents=True)
    (folder / "no.d").mkdir()
    (tmp_path / "hosts").write_text("a\n")
    for name in ("more/x.yml", "y.json", "z"):
        (folder / name).write_text(f"{{ansible_user: {name[0]}, ansible_port: 5}}\n")
    for name in ("z~", ".z", "zz.bak", "zz.md", "no.d/z.yml"):
        (folder / name).write_text("ansible_user: wrong\nansible_port: 6\n")
    (machine,) = machines((tmp_path / "hosts",), defaults=ME).machines
    assert (machine.user, machine.port) == ("z", "5")


def test_the_last_of_several_names_wins() -> None:
    machine = only("h ansible_ssh_user=s ansible_user=a ansible_host=a ansible_ssh_host=s")
    assert (machine.user, machine.address) == ("s", "s")


def test_the_default_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ANSIBLE_CONFIG", str(tmp_path / "named.cfg"))
    if not Path("/etc/ansible/hosts").exists():
        with pytest.raises(InventoryError) as caught:
            default_sources()
        assert "there is no ./hosts" in caught.value.problems[0]
    for name in ("inventory.yml", "inventory", "hosts"):
        Path(name).touch()
        assert default_sources() == (Path(name),)
    Path("ansible.cfg").write_text("[defaults]\ninventory=a,b\n")
    assert default_sources() == (Path("a"), Path("b"))
    Path("named.cfg").write_text("[defaults]\ninventory=/c\n")
    assert default_sources() == (Path("/c"),)


def test_results_in_a_valid_inventory(tmp_path: Path) -> None:
    (tmp_path / "production").touch()
    text = INI.replace("/keys/production", str(tmp_path / "production"))
    inventory, notes = sound(parsed(text, "hosts", group="production", defaults=ME), tmp_path)
    assert targets(inventory) == {
        "web01": ("web01.example.com", 2222, "deploy", "production"),
        "web02": ("web02.example.com", 2222, "deploy", "production"),
        "web03": ("web03.example.com", 2222, "deploy", "production"),
        "db-a": ("10.20.0.21", 22, "postgres", "production"),
        "db-b": ("10.20.0.22", 22, "deploy", "production"),
    }
    assert (inventory.ssh.user, inventory.ssh.port) == ("deploy", 2222)
    assert "`web01.example.com`: is called `web01` in the inventory" in notes


def test_the_output_in_the_documentation_is_current(tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "docs" / "inventory.md").read_text()
    part = text.split("## Create an inventory")[1].split("## Check an inventory")[0]
    source = re.search(r"( {4}\[web\]\n(?: {4}.*\n|\n)+)", part)
    shown = re.search(r"```yaml\n(.*?)```.*?```text\n(.*?)```", part, re.DOTALL)
    assert source
    assert shown
    (tmp_path / "hosts").write_text(source[1].replace("    ", ""))
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars" / "all.yml").write_text("ansible_user: deploy\n")
    done = imported(machines((tmp_path / "hosts",), defaults=ME), Wishes("shop"), "ansible")
    assert done.text == shown[1]
    assert "".join(f"note: {note}\n" for note in done.notes) == shown[2]


def test_many_new_names_are_noted_in_one_line(tmp_path: Path) -> None:
    inventory, notes = sound(parsed("WEB[1:9]\n", "hosts", defaults=ME), tmp_path)
    assert list(inventory.hosts)[-1] == "web9"
    assert "9 hosts have a different name in the inventory" in notes
    assert "is called" not in notes


def test_many_notes_of_one_kind_are_folded(tmp_path: Path) -> None:
    text = "[all:vars]\nansible_password=hunter2\n[g]\n" + "".join(
        f"h{n} ansible_host=h{n} ansible_user='{{{{ u{n} }}}}'\n" for n in range(40)
    )
    _, notes = sound(parsed(text, "hosts", defaults=ME), tmp_path)
    lines = notes.splitlines()
    assert (
        "`h0`, `h1`, `h2` ... and 37 more hosts: uses a password: run the commands with --ask-password, or add" in notes
    )
    template = "`h0`, `h1`, `h2` ... and 37 more hosts: ansible_user='{{ u0 }}' is a template, which is not evaluated; write its value"
    assert f"{template}; the others likewise, with their own values (`h0` is shown)" in lines
    assert len(lines) == 3
    assert "hunter2" not in notes


def test_many_notes_about_files_are_folded(tmp_path: Path) -> None:
    for n in range(9):
        (tmp_path / f"{n}.md").touch()
    (tmp_path / "hosts").write_text("a ansible_user=u\n")
    (note,) = machines((tmp_path,), defaults=ME).notes
    assert note.startswith(f"{tmp_path}/0.md, {tmp_path}/1.md, {tmp_path}/2.md ... and 6 more files: files with this")


def test_a_key_that_does_not_exist_is_noted(tmp_path: Path) -> None:
    inventory, notes = sound(parsed(INI, "hosts", group="db", defaults=ME), tmp_path)
    assert inventory.target("db-a").key is None
    assert "`db-a`: key: '/keys/production' does not exist; not carried over" in notes


FORMS = ["%s", "h ansible_host=%s", "h ansible_user=%s", "h ansible_port=%s", "[%s]\nh", "h ansible_ssh_private_key_file='%s'", "h ansible_ssh_common_args='-J %s'", "[a:vars]\n%s=%s", "[%s:children]\nx", "h ansible_connection=%s"]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:20]))
def test_hostile_values_never_reach_the_inventory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Each form is a separate source. All findings are imported into one inventory, in the current folder."""
    monkeypatch.chdir(tmp_path)
    found: list[Machine] = []
    for number, form in enumerate(FORMS):
        source = f"ok{number}\n{form.replace('h ', f'h{number} ').replace('%s', text)}\n"
        found += machines_of(partial(parsed, source, "hosts", defaults=ME))
    names = {machine.name for machine in found if machine.name.startswith("ok")}
    if names:
        inventory, _ = sound(Found(tuple(found)), tmp_path)
        assert names <= set(inventory.hosts)
