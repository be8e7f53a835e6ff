"""The file as YAML: unreadable files, surprising YAML 1.2 values, and attacks that must not exhaust memory."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from provisioner.errors import InventoryError
from provisioner.inventory import Inventory, composing, load
from provisioner.inventory.document import parse

if TYPE_CHECKING:
    from collections.abc import Callable

HOSTS = "hosts:\n  node1: {address: 192.168.56.11}\n"

ROWS: dict[str, tuple[str, list[str]]] = {
    "comments only": ("# nothing\n", ["1:1: the file is empty; `provisioner inventory schema` describes the format"]),
    "null": ("~\n", ["1:1: the file must be a mapping: `cluster: NAME`, `hosts:` and so on, one on each line"]),
    "a list": ("- a\n", ["1:1: the file must be a mapping: `cluster: NAME`, `hosts:` and so on, one on each line"]),
    "a word": ("lab\n", ["1:1: the file must be a mapping: `cluster: NAME`, `hosts:` and so on, one on each line"]),
    "a tab": (
        "cluster: lab\nhosts:\n\tnode1: x\n",
        [
            "3:1: not YAML: while scanning for the next token, found character '\\t' that cannot start any token; indent with spaces, not tabs"
        ],
    ),
    "an open bracket": (
        "cluster: [lab\nhosts: x\n",
        ["2:6: not YAML: while parsing a flow sequence, did not find expected ',' or ']'"],
    ),
    "an open quote": (
        'cluster: "lab\n',
        ["2:1: not YAML: while scanning a quoted scalar, found unexpected end of stream"],
    ),
    "an open quote, and no end of the line": (
        'cluster: "lab',
        ["1:14: not YAML: while scanning a quoted scalar, found unexpected end of stream"],
    ),
    "wrong indentation": (
        "cluster: lab\n  hosts: x\n",
        ["2:8: not YAML: mapping values are not allowed in this context"],
    ),
    "two documents": (
        "cluster: lab\n---\ncluster: lab\n",
        ["2:1: not YAML: expected a single document in the stream, but found another document"],
    ),
    "an unknown alias": ("cluster: *lab\n", ["1:10: not YAML: found undefined alias"]),
    "a tag": (
        "cluster: !!python/object:os.system x\n",
        ["1:10: tags are not supported here"],
    ),
    "a tag of one's own": ("cluster: !vault x\n", ["1:10: tags are not supported here"]),
    "an escape": ("cluster: \x1b[31mlab\n", ["1:10: the character U+001B is not allowed in YAML"]),
    "half a character": (
        'cluster: "\\ud83d"\n',
        ["1:10: half of a character (a lone surrogate); write the character itself"],
    ),
    "halves of two characters": (
        'cluster: lab\nssh: {user: "\\ude00\\ud83d"}\n',
        ["2:13: half of a character (a lone surrogate); write the character itself"],
    ),
    "an escape of no character": (
        'cluster: "\\UFFFFFFFF"\n',
        ["1:13: not YAML: while parsing a quoted scalar, found invalid Unicode character escape code"],
    ),
    "a character that may end a line": (
        "cluster: la\u2028b\n",
        ['1:12: the character U+2028 must be written "\\u2028", in double quotes'],
    ),
    "an address that begins with a colon": (
        "cluster: lab\ndns: {servers: [::1]}\n",
        [
            "2:17: not YAML: while parsing a flow node, did not find expected node content; between brackets a text that begins with `:` needs quotes"
        ],
    ),
    "NUL": ("cluster: lab\nhosts: \x00\n", ["2:8: the character U+0000 is not allowed in YAML"]),
    "merging text": (
        "a: &a x\ncluster:\n  <<: *a\n",
        ["1:4: `<<` merges mappings only: `<<: *name`"],
    ),
}

IN_PYTHON = {  # messages of PyYAML's own parser that differ from libyaml's
    "did not find expected ',' or ']'": "expected ',' or ']', but got ':'",
    "did not find expected node content": "expected the node content, but found ':'",
    "are not allowed in this context": "are not allowed here",
    "while parsing a quoted scalar, found invalid Unicode character escape code": (
        "an escape without a character, or a number that is too large"
    ),
}


@pytest.mark.parametrize(("text", "expected"), ROWS.values(), ids=ROWS)
def test_unreadable(problems: Callable[..., list[str]], text: str, expected: list[str]) -> None:
    assert problems(text) == expected


@pytest.mark.parametrize(("text", "expected"), ROWS.values(), ids=ROWS)
def test_unreadable_without_libyaml(
    problems: Callable[..., list[str]], text: str, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(composing, "_quick", composing._InPython)
    for words, others in IN_PYTHON.items():
        expected = [line.replace(words, others) for line in expected]
    assert problems(text) == expected


def refused(path: Path) -> tuple[str, ...]:
    with pytest.raises(InventoryError) as caught:
        load(path)
    return caught.value.problems


def test_no_such_file(tmp_path: Path) -> None:
    assert refused(tmp_path / "lab.yml") == (f"{tmp_path}/lab.yml: there is no such file",)


def test_a_folder(tmp_path: Path) -> None:
    assert refused(tmp_path) == (f"{tmp_path}: this is a folder; name the YAML file in it",)


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "lab.yml").touch()
    assert refused(tmp_path / "lab.yml") == (
        f"{tmp_path}/lab.yml:1:1: the file is empty; `provisioner inventory schema` describes the format",
    )


def test_no_permission_to_read(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    (tmp_path / "lab.yml").touch(mode=0)
    assert refused(tmp_path / "lab.yml") == (f"{tmp_path}/lab.yml: can't be read: Permission denied",)


def test_a_path_with_an_escape_is_shown_escaped(tmp_path: Path) -> None:
    assert refused(tmp_path / "\x1b[2J") == (f"{tmp_path}/\\x1b[2J: there is no such file",)


def test_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "lab.yml").write_bytes(b"cluster: lab\nhosts: \xff\n")
    assert refused(tmp_path / "lab.yml") == (f"{tmp_path}/lab.yml:2:8: byte 0xff is not UTF-8; save the file as UTF-8",)


def test_too_large(tmp_path: Path) -> None:
    (tmp_path / "lab.yml").write_bytes(b"#" * (1024 * 1024 + 1))
    assert refused(tmp_path / "lab.yml") == (
        f"{tmp_path}/lab.yml: the file is larger than 1 MiB, the limit for an inventory",
    )


def test_too_many_values_are_not_read_to_the_end(problems: Callable[..., list[str]]) -> None:
    assert problems("- x\n" * 200_000) == ["40000:3: the file has more than 20000 values"]


def test_aliases_that_multiply_are_stopped_early(problems: Callable[..., list[str]]) -> None:
    levels = "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12))
    began = time.process_time()
    assert problems("a0: &a0 [x, x]\n" + levels) == ["1:13: with its aliases, the file has more than 20000 values"]
    assert time.process_time() - began < 5


def test_merges_that_multiply_are_stopped_early(problems: Callable[..., list[str]]) -> None:
    levels = "".join(f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 12))
    began = time.process_time()
    (problem,) = problems("a0: &a0 {x: y}\n" + levels)
    assert "more than 20000 values" in problem
    assert time.process_time() - began < 5


@pytest.mark.parametrize("text", ["a: &a [*a]\n", "a: &a {b: *a}\n", "a: &a {<<: *a}\n", "&a a: *a\n? &b [*b]\n: x\n"])
def test_an_alias_that_contains_itself_ends(problems: Callable[..., list[str]], text: str) -> None:
    assert problems(text)


@pytest.mark.parametrize("text", ["[" * 50_000, "{a: " * 50_000, "- " * 50_000, "? " * 50_000])
@pytest.mark.parametrize("parser", ["_quick", "_InPython"])
def test_deep_nesting_ends(
    problems: Callable[..., list[str]], text: str, parser: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(composing, "_quick", getattr(composing, parser))
    began = time.process_time()
    (problem,) = problems(text)
    assert "nested deeper than 16 levels" in problem or "exceeded maximum nesting depth" in problem
    assert time.process_time() - began < 5


def test_anchors_and_merges_are_understood(loaded: Callable[..., Inventory]) -> None:
    text = """
cluster: lab
hosts:
  node1: &usual {address: 192.168.56.11, user: admin, port: 2222}
  node2: {<<: *usual, address: 192.168.56.12}
  node3:
    address: 192.168.56.13
    <<: [{user: first}, *usual]
store: {kind: consul}
networks: {demo: {subnet: 10.99.0.0/24}}
"""
    inventory = loaded(text)
    assert [(t.address, t.user, t.port) for t in map(inventory.target, inventory.hosts)] == [
        ("192.168.56.11", "admin", 2222),
        ("192.168.56.12", "admin", 2222),
        ("192.168.56.13", "first", 2222),
    ]


@pytest.mark.parametrize("parser", ["_quick", "_InPython"])
@pytest.mark.parametrize("version", ["", "%YAML 1.1\n---\n", "%YAML 1.2\n---\n"])
def test_plain_words_follow_yaml_1_2(version: str, parser: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(composing, "_quick", getattr(composing, parser))
    words = [
        "no",
        "on",
        "y",
        "off",
        "022",
        "0o17",
        "0x16",
        "0b1",
        "1:30",
        "1_000",
        "+5",
        ".inf",
        ".nan",
        "2001-01-01",
        "=",
        "tRue",
        "1.2.3",
        "1e",
    ]
    values = {"true": True, "FALSE": False, "0": 0, "-5": -5, "1.50": 1.5, "-.5": -0.5, "1e3": 1000.0, "!!str 5": "5"}
    values |= {word: word for word in words} | {
        "! 'no'": "no",
        "'5'": "5",
        "!!int no": "no",
        '"\\ud83d\\ude00"': "\U0001f600",
    }
    found = parse(version + "".join(f"k{n}: {word}\n" for n, word in enumerate(values)), Path())
    assert found.problems == []
    assert list(map(repr, found.value.values())) == list(map(repr, values.values()))
    nothing = parse(version + "a: null\nb: ~\nc: Null\nd:\n", Path())
    assert [problem.text for problem in nothing.problems] == [
        f"{key}: has no value; write one or remove the line" for key in "abcd"
    ]


def test_an_anchor_may_be_redefined() -> None:
    assert parse("a: &x 1\nb: &x 2\nc: *x\n", Path()).value == {"a": 1, "b": 2, "c": 2}


def test_yaml_1_2_has_no_norway_problem(loaded: Callable[..., Inventory]) -> None:
    text = """%YAML 1.1
---
cluster: no
hosts: {on: {address: 192.168.56.11}, "1": {address: 192.168.56.12}, y: {address: 192.168.56.13, user: yes}}
store: {kind: consul}
networks: {off: {subnet: 10.99.0.0/24}}
"""
    inventory = loaded(text)
    assert inventory.cluster == "no"
    assert list(inventory.hosts) == ["on", "1", "y"]
    assert inventory.target("y").user == "yes"
    assert list(inventory.networks) == ["off"]


def test_a_byte_order_mark_and_windows_lines_are_understood(loaded: Callable[..., Inventory]) -> None:
    text = "\ufeffcluster: lab\r\nhosts: {node1: {address: 192.168.56.11}}\r\nstore: {kind: consul}\r\n"
    assert loaded(text + "networks: {demo: {subnet: 10.99.0.0/24}}\r\n").cluster == "lab"


def test_all_problems_are_reported_at_once_in_the_order_of_the_file(problems: Callable[..., list[str]]) -> None:
    text = """
cluster: Lab
ssh: {usr: root, port: "22"}
hosts:
  node1: {address: 192.168.56.11, advertise: lo}
  node2: {address: 192.168.56.11, colour: red}
  node2: {address: 192.168.56.12}
store: {kind: consul, servers: [node1, node2], binary: nowhere.zip}
networks:
  one: {subnet: 10.99.0.0/24, mtu: 1}
  two: {subnet: 10.99.0.0/16, gateway: 10.98.0.1}
"""
    found = problems(text)
    assert [(line.split(":")[0], line.split(": ")[1]) for line in found] == [
        ("2", "cluster"),
        ("3", "ssh"),
        ("3", "ssh.port"),
        ("5", "hosts.node1.advertise"),
        ("6", "hosts.node2.address"),
        ("6", "hosts.node2"),
        ("7", "`node2` is a duplicate; the first is on line 6"),
        ("8", "store.servers"),
        ("8", "store.binary"),
        ("10", "networks.one.mtu"),
        ("11", "networks.two.subnet"),
        ("11", "networks.two.gateway"),
    ]
