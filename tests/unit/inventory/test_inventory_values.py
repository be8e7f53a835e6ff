"""`!env NAME` and `!file PATH`: treated like values in the file, and never shown."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from test_hostile import HOSTILE, PLACES

from provisioner.errors import InventoryError
from provisioner.inventory import Inventory, load
from provisioner.inventory.outside import LARGEST, Outside, typed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SET = {
    "A_NAME": "lab",
    "A_USER": "deploy",
    "A_PORT": "2222",
    "A_WAIT": "2.5",
    "A_TRUTH": "true",
    "AN_ADDRESS": "192.168.56.11",
    "A_SUBNET": "10.99.0.0/24",
    "DIGITS": "4711",
    "EMPTY": "",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SET.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("UNSET", raising=False)


def test_every_kind_of_value_may_come_from_the_environment(loaded: Callable[..., Inventory]) -> None:
    inventory = loaded(
        cluster="cluster: !env A_NAME",
        ssh="ssh: {user: !env A_USER, port: !env A_PORT, connect_timeout: !env A_WAIT, key: !env A_NAME}",
        hosts="hosts: {node1: {address: !env AN_ADDRESS, user: !env 'A_USER'}}",
        store="store: {kind: consul, servers: [!env NODE], prefix: !env DIGITS}".replace("!env NODE", "node1"),
        networks="networks: {demo: {subnet: !env A_SUBNET, internal: !env A_TRUTH, labels: {a: !env DIGITS}}}",
        check_files=False,
    )
    target = inventory.target("node1")
    assert (inventory.cluster, target.user, target.port, target.connect_timeout) == ("lab", "deploy", 2222, 2.5)
    assert (target.address, target.key and target.key.name) == ("192.168.56.11", "lab")
    network = inventory.networks["demo"]
    assert (str(network.subnet), network.internal, network.labels) == ("10.99.0.0/24", True, {"a": "4711"})
    assert inventory.store.prefix == "4711"
    assert {type(text) for text in (inventory.cluster, target.user, network.labels["a"])} == {str}


def test_a_server_may_be_an_external_value(loaded: Callable[..., Inventory], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVER", "node2")
    assert loaded(store="store: {kind: consul, servers: [!env SERVER]}").servers == ("node2",)


@pytest.mark.parametrize(
    ("text", "user"),
    [("deploy", "deploy"), ("deploy\n", "deploy"), ("deploy\r\n", "deploy"), ("_x", "_x")],
)
def test_a_file_loses_one_newline(tmp_path: Path, loaded: Callable[..., Inventory], text: str, user: str) -> None:
    (tmp_path / "user").write_text(text, newline="")
    assert loaded(ssh="ssh: {user: !file user}").ssh.user == user


def test_a_file_path_starts_at_the_inventory_or_at_home(
    tmp_path: Path, loaded: Callable[..., Inventory], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "user").write_text("one\n")
    monkeypatch.setenv("HOME", str(tmp_path / "secrets"))
    monkeypatch.chdir("/")
    for form in ("secrets/user", "./secrets/../secrets/user", "~/user", f"{tmp_path}/secrets/user"):
        assert loaded(ssh=f"ssh: {{user: !file {form}}}").ssh.user == "one"


def test_an_alias_and_a_merge_copy_it(loaded: Callable[..., Inventory]) -> None:
    hosts = "hosts:\n  a: &a {address: 192.0.2.1, user: &u !env A_USER}\n  b: {<<: *a, address: 192.0.2.2}\n  c: {address: 192.0.2.3, user: *u}"
    inventory = loaded(hosts=hosts)
    assert [inventory.target(name).user for name in "abc"] == ["deploy"] * 3


NO_VALUE = {
    "not set": ("!env UNSET", "the environment variable is not set; `export UNSET=...` before the run"),
    "empty variable": ("!env EMPTY", "the variable is empty"),
    "no name": ("!env", "write the name of an environment variable (letters, digits and `_`): `!env SSH_USER`"),
    "no such name": ("!env 'A B;id'", "write the name of an environment variable"),
    "a list": ("!env [A]", "write the name of an environment variable"),
    "a mapping": ("!file {a: b}", "write the path of a file: `!file secrets/user`"),
    "no path": ("!file", "write the path of a file: `!file secrets/user`"),
    "an escape": (r'!file "a\e[2Jb"', "write the path of a file"),
    "no home": ("!file ~nobody-has-this-name/x", "this home folder does not exist"),
    "no such file": ("!file nowhere", "nowhere' does not exist"),
    "a folder": ("!file folder", "is a folder, not a file"),
    "a pipe": ("!file pipe", "is not an ordinary file"),
    "a device": ("!file /dev/zero", "is not an ordinary file"),
    "empty file": ("!file empty", "the file is empty"),
    "one newline": ("!file newline", "the file is empty"),
    "too large": ("!file large", f"the file is larger than {LARGEST // 1024} KiB; it must hold one value"),
    "not UTF-8": ("!file bytes", "the file is not UTF-8 text"),
    "a loop": ("!file loop", "can't be read: Too many levels of symbolic links"),
    "too long a name": (f"!file {'a' * 300}", "can't be read: File name too long"),
}


@pytest.fixture
def files(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").touch()
    (tmp_path / "newline").write_text("\n")
    (tmp_path / "large").write_text("x" * (LARGEST + 1))
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    (tmp_path / "loop").symlink_to("loop")


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(("value", "expected"), NO_VALUE.values(), ids=NO_VALUE)
def test_no_value_is_one_problem_with_its_line(problems: Callable[..., list[str]], value: str, expected: str) -> None:
    (problem,) = problems(ssh=f"ssh: {{user: {value} }}")
    assert problem.startswith("2:13: ssh.user: ")
    assert expected in problem
    assert problem.isprintable()


def test_no_permission_to_read(tmp_path: Path, problems: Callable[..., list[str]]) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    (tmp_path / "user").touch(mode=0)
    assert problems(ssh="ssh: {user: !file user}") == ["2:13: ssh.user: `!file user`: can't be read: Permission denied"]


@pytest.mark.parametrize("place", ["cluster: !env UNSET", "store: !env UNSET", "networks: !file nowhere"])
def test_a_missing_required_value_is_reported_once(problems: Callable[..., list[str]], place: str) -> None:
    part = place.split(":", maxsplit=1)[0]
    assert len(problems(**{part: place})) == 1


def test_a_missing_server_is_reported_once(problems: Callable[..., list[str]]) -> None:
    (problem,) = problems(store="store: {kind: consul, servers: [node1, !env UNSET, node3]}")
    assert problem.startswith("7:40: store.servers.1: `!env UNSET`: the environment variable is not set")


def test_all_problems_are_reported_together(problems: Callable[..., list[str]]) -> None:
    found = problems(
        cluster="cluster: Lab", ssh="ssh: {user: !env UNSET, port: !file nowhere}", store="store: {kind: redis}"
    )
    assert [line.split(": ")[0:2] for line in found] == [
        ["1:10", "cluster"],
        ["2:13", "ssh.user"],
        ["2:31", "ssh.port"],
        ["7:15", "store.kind"],
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("!env A_NAME: {address: 192.0.2.1}", "2:1: a key can't come from `!env`; values can"),
        ("cluster: !Env A_NAME", "2:10: tags are not supported here: '!Env'; did you mean `!env`?"),
        ("cluster: !files x", "2:10: tags are not supported here: '!files'; did you mean `!file`?"),
        ("<<: !env A_NAME", "2:5: `<<` merges mappings only: `<<: *name`"),
    ],
)
def test_places_where_it_is_not_allowed(problems: Callable[..., list[str]], text: str, expected: str) -> None:
    assert expected in problems(f"# x\n{text}\n")


def test_the_whole_file_can_not_be_an_external_value(problems: Callable[..., list[str]]) -> None:
    (problem,) = problems("!env A_NAME\n")
    assert problem.startswith("1:1: the file must be a mapping")


HERE = {
    name: (part, form) for name, (part, form) in PLACES.items() if not name.startswith("key") and "name" not in name
}
HERE["path"] = ("ssh", "ssh: {key: %s}")
HERE["label"] = ("networks", "networks: {demo: {subnet: 10.99.0.0/24, labels: {a: %s}}}")
HERE["timeout"] = ("ssh", "ssh: {connect_timeout: %s}")
HERE["a whole part"] = ("store", "store: %s")
HERE["all hosts"] = ("hosts", "hosts: %s")
HERE["one host"] = ("hosts", "hosts: {node1: %s}")
HERE["one network"] = ("networks", "networks: {demo: %s}")


@pytest.mark.parametrize("text", [text for text in HOSTILE if text != "\ud83d"], ids=lambda text: ascii(text[:20]))
def test_hostile_values_are_refused_and_not_shown(tmp_path: Path, text: str) -> None:
    """Put each value into a file that is used in every place. The problems must not contain the value."""
    (tmp_path / "value").write_text(text + "\n", encoding="utf-8", newline="")
    for name, (part, form) in HERE.items():
        parts = {"cluster": "cluster: lab", "hosts": "hosts: {node1: {address: 192.0.2.1}}"}
        parts |= {"store": "store: {kind: consul}", "networks": "networks: {demo: {subnet: 10.99.0.0/24}}"}
        file = tmp_path / "lab.yml"
        file.write_text("\n".join((parts | {part: form.replace("%s", "!file value")}).values()) + "\n")
        if name == "label" and text.isprintable() and 0 < len(text) <= 256:
            assert load(file).networks["demo"].labels == {"a": text}
            continue
        with pytest.raises(InventoryError) as caught:
            load(file)
        for line in caught.value.problems:
            rest = line.removeprefix(str(file))
            assert "`!file value`" in rest
            assert rest.isprintable()
            assert len(text) < 4 or text not in rest


SECRET = "zx9-q7"  # a string that no message contains otherwise


@pytest.mark.parametrize("name", [name for name in HERE if name != "label"])  # a label may be almost any text
def test_no_message_shows_a_value_or_a_suggestion_made_of_it(
    problems: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    part, form = HERE[name]
    for value in (f"admin@{SECRET}:22", f"{SECRET.upper()} x", f" {SECRET} {SECRET}", f"{SECRET}/\n{SECRET}"):
        monkeypatch.setenv("SECRET", value)
        for line in problems(**{part: form.replace("%s", "!env SECRET")}):
            assert "`!env SECRET`" in line
            assert SECRET.lower() not in line.lower()
            assert "zx9" not in line.lower()


ONE, TWO = "192.168.77.1", "10.77.0.0/16"
TOGETHER = {  # problems between values; external values are not shown
    "same address": (
        {"hosts": "hosts: {a: {address: !env ONE}, b: {address: !env ONE, port: !env PORT}}", "ssh": "ssh: {port: !env PORT}"},
        "hosts.b.address: the value of `!env ONE`, port the value of `!env PORT`, is `a` already (line 3)",
    ),
    "one for all": ({"more": "advertise: !env ONE"}, "advertise: the value of `!env ONE` can belong to one host only"),
    "advertised twice": (
        {"hosts": f"hosts: {{a: {{address: h1, advertise: {ONE}}}, b: {{address: h2, advertise: !env ONE}}}}"},
        "hosts.b.advertise: the value of `!env ONE` is advertised by `a` already (line 3)",
    ),
    "another's address": (
        {"hosts": f"hosts: {{a: {{address: {ONE}}}, b: {{address: h2, advertise: !env ONE}}}}"},
        "hosts.b.advertise: the value of `!env ONE` is the address of `a` (line 3)",
    ),
    "overlap": (
        {"networks": "networks: {a: {subnet: !env TWO}, b: {subnet: 10.77.1.0/24}}"},
        "networks.b.subnet: 10.77.1.0/24 overlaps the value of `!env TWO` of `a` (line 8)",
    ),
    "overlap, the other way": (
        {"networks": "networks: {a: {subnet: 10.77.1.0/24}, b: {subnet: !env TWO}}"},
        "networks.b.subnet: the value of `!env TWO` overlaps 10.77.1.0/24 of `a` (line 8)",
    ),
    "underlay": (
        {"hosts": "hosts: {a: {address: !env ONE}}", "networks": "networks: {a: {subnet: 192.168.77.0/24}}"},
        "networks.a.subnet: 192.168.77.0/24 contains the hosts' own addresses: a (the value of `!env ONE`)",
    ),
    "underlay, an interface": (
        {"hosts": "hosts: {a: {address: !env ONE, advertise: eth1}}", "networks": "networks: {a: {subnet: 192.168.77.0/24}}"},
        "networks.a.subnet: 192.168.77.0/24 contains the hosts' own addresses: a (the value of `!env ONE`)",
    ),
    "underlay, advertised": (
        {"hosts": "hosts: {a: {address: h1, advertise: !env ONE}}", "networks": "networks: {a: {subnet: 192.168.77.0/24}}"},
        "networks.a.subnet: 192.168.77.0/24 contains the hosts' own addresses: a (the value of `!env ONE`)",
    ),
    "no room": (
        {"networks": "networks: {a: {subnet: !env SMALL}}"},
        "networks.a.subnet: the value of `!env SMALL` has 4 addresses, and 3 hosts need 6",
    ),
    "gateway": (
        {"networks": "networks: {a: {subnet: !env TWO, gateway: !env ONE}}"},
        "networks.a.gateway: the value of `!env ONE` is outside the subnet the value of `!env TWO`",
    ),
    "range": (
        {"networks": "networks: {a: {subnet: 10.78.0.0/24, ip_range: !env TWO}}"},
        "networks.a.ip_range: the value of `!env TWO` is outside the subnet 10.78.0.0/24",
    ),
    "server": (
        {"store": "store: {kind: consul, servers: [!env SERVER]}"},
        "store.servers: the value of `!env SERVER` is not one of the hosts",
    ),
    "server twice": (
        {"store": "store: {kind: consul, servers: [node1, node2, !env NODE2]}"},
        "store.servers: the value of `!env NODE2` is named twice",
    ),
    "key": ({"ssh": "ssh: {key: !env KEY}"}, "ssh.key: the value of `!env KEY` does not exist"),
    "public key": ({"ssh": "ssh: {key: !env PUB}"}, "ssh.key: the value of `!env PUB` is the public key; name the private key"),
}  # fmt: skip


@pytest.mark.parametrize(("parts", "expected"), TOGETHER.values(), ids=TOGETHER)
def test_problems_between_values_do_not_show_external_ones(
    problems: Callable[..., list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    parts: dict[str, str],
    expected: str,
) -> None:
    (tmp_path / "x.pub").touch()
    values = {"ONE": ONE, "TWO": TWO, "PORT": "2077", "SMALL": "10.77.0.0/30", "SERVER": "node77", "NODE2": "node2"}
    values |= {"KEY": "/nowhere/77", "PUB": f"{tmp_path}/x.pub"}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    found = problems(**parts)
    assert expected in "\n".join(found)
    assert "2077" not in "".join(found)
    plain = "".join(parts.values())
    assert all(value in plain or value not in "".join(found) for value in (ONE, TWO, "node77", "/nowhere/77"))


@pytest.mark.parametrize(
    ("text", "value"),
    [("22", 22), ("0", 0), ("022", "022"), ("-1", -1), ("2.5", 2.5), ("1e5", "1e5"), ("True", True), ("false", False), ("yes", "yes"), (" 22", " 22")],
)  # fmt: skip
def test_typed(text: str, value: object) -> None:
    assert typed(Outside(text)) == value
    assert type(typed(Outside(text))) in (type(value), Outside)
    assert typed(text) is text
