"""Our reader of Ansible's inventories compared with `ansible-inventory --list`, on generated inventories and on odd ones."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

import ansible_oracle
import pytest
from generated_inventories import Made

from provisioner.errors import InventoryError
from provisioner.inventory.importers import ansible
from provisioner.inventory.importers.ansible_cfg import Defaults
from tests import oracles

if TYPE_CHECKING:
    from pathlib import Path

    from provisioner.inventory.importers import Found

SEEDS = range(int(os.environ.get("PROVISIONER_SEED", "1")), int(os.environ.get("PROVISIONER_SEED", "1")) + 12)
ME = Defaults("me")


def reached(found: Found) -> dict[str, tuple[str, ...]]:
    return {m.name: (m.address, m.port, m.user, m.key, "local" if m.left_out else "") for m in found.machines}


def expected(answer: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    """What Ansible's connection plugin makes of the merged variables."""
    all_of = answer.get("_meta", {}).get("hostvars", {})
    result = {}
    for name in ansible_oracle.members(answer, "all"):
        of = {key: str(value) for key, value in all_of.get(name, {}).items() if value is not None}
        if of.get("ansible_connection") == "local":
            result[name] = ("", "", "", "", "local")
            continue
        values = (
            of.get("ansible_ssh_host") or of.get("ansible_host") or name,
            of.get("ansible_ssh_port") or of.get("ansible_port") or "22",
            of.get("ansible_ssh_user") or of.get("ansible_user") or "me",
            of.get("ansible_ssh_private_key_file") or of.get("ansible_private_key_file") or "",
        )
        result[name] = (*values, "")
    return result


ODD = {  # odd inventories, by their file names
    "comments": "; one\n# two\na # three\n  b ansible_user=u#x\nc ansible_user='#x' # y\n",
    "spaces": "  [ g ]\n[g2] ; x\n\ta\tansible_port=5 \n[g2:vars]\n ansible_user = u v \n",
    "quotes": "a ansible_user='u' ansible_host=\"h\"\nb 'ansible_user=x y'\n[all:vars]\nansible_ssh_private_key_file='/k k' # x\nansible_port='22'\n",
    "literals": "a ansible_user='\"q\"' ansible_port=0022\nb ansible_user=1e3 ansible_port=0x16\nc ansible_user=True ansible_host=1.0\n",
    "windows": "[g]\r\na ansible_port=5\r\n[g:vars]\r\nansible_user=u\r\n",
    "bom": "\ufeff[g]\na\n",
    "ports": "a:5\nb:5 ansible_port=6\n[2001:db8::1]:7\n2001:db8::2\n10.0.0.1:8\n",
    "ranges": "w[1:5:2]\nx[a:c]\ny[08:11]:5\n[d:e][1:2]\nz[:2]\n",
    "late": "[p:vars]\nansible_user=p\n[p:children]\nc\n[c]\na\n[c:vars]\nansible_port=9\n",
    "undeclared": "[p:children]\nnobody\n[g]\na\n",
    "vars-of-nothing": "[nothing:vars]\nansible_user=x\n[g]\na\n",
    "unknown-section": "[g:things]\na\n",
    "twice": "[a]\nh ansible_user=1 ansible_port=1\n[b]\nh ansible_user=2\n[a]\nh ansible_port=3\n",
    "names": "[web-1]\na_b\nA.B-c\n[web.2:children]\nweb-1\n",
    "unicode": "[größe]\nhöst ansible_user=ü\n",
    "all-child": "[all:children]\ng\n[g]\na\n[all]\nb\n",
    "local": "a ansible_connection=local\nlocalhost\n",
    "empty": "",
    "only-comments": "# nothing\n",
    "equals": "a ansible_user=x=y\n",
    "backslash": "a ansible_user=x\\y\nb ansible_ssh_private_key_file='C:\\k'\n",
    "hosts.yml": "all:\n  hosts:\n    a:\n    b: {ansible_port: 5}\n    c[1:2]: {ansible_user: u}\n",
    "string.yml": "g: {hosts: a, children: h}\n",
    "list.yml": "g: {hosts: [a, b]}\n",
    "scalars.yml": "g:\n  hosts:\n    a: {ansible_user: 0o17, ansible_host: 1e3}\n    b: {ansible_user: null, ansible_port: '5'}\n",
    "number.yml": "g: {hosts: {1: }}\n",
    "unknown.yml": "g: {hosts: {a: }, things: {b: }}\n",
    "anchors.yml": "x: &v {vars: {ansible_user: u}}\ng: {<<: *v, hosts: {a: }}\n",
    "order.yml": "g:\n  hosts: {a: {ansible_user: first}}\n  children: {h: {hosts: {a: {ansible_user: second}}}}\n",
    "same.yml": "g: {hosts: {a: {ansible_user: 1}}}\ng: {hosts: {b: }}\n",
    "colon.yml": "g:\n  hosts:\n    'a:22': \n    '[2001:db8::1]:22': {ansible_user: u}\n",
    "json": '{"all": {"hosts": {"a": {"ansible_port": 5, "ansible_user": "u"}}}}',
    "no-ending": "all:\n  hosts:\n    a:\n",
    "list-of-words.yml": "- a\n- b\n",
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The sources by name: a seed, or the name of an odd file."""
    sources = {}
    for seed in SEEDS:
        sources[str(seed)] = Made(tmp_path_factory.mktemp("generated"), seed).source
    for name, text in ODD.items():
        sources[name] = tmp_path_factory.mktemp("odd") / name
        sources[name].write_text(text, encoding="utf-8", newline="")
    return sources


@pytest.fixture(scope="module")
def answers(made: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    return ansible_oracle.listed(made, tmp_path_factory.mktemp("answers"))


def compare(source: Path, answer: dict[str, Any]) -> None:
    assert reached(ansible.machines((source,), defaults=ME)) == expected(answer), answer["said"]
    for group in set(answer) - {"_meta", "said"}:
        ours = {m.name for m in ansible.machines((source,), group=group, defaults=ME).machines}
        assert ours == ansible_oracle.members(answer, group), group


@pytest.mark.parametrize("seed", SEEDS)
def test_generated_inventories(made: dict[str, Path], answers: dict[str, dict[str, Any]], seed: int) -> None:
    assert answers[str(seed)]["_meta"]["hostvars"]
    compare(made[str(seed)], answers[str(seed)])


def test_a_script_is_executed_with_trust_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "script"
    script.write_text(
        f'#!/bin/sh\ntouch {tmp_path}/executed\necho \'{{"g": {{"hosts": ["s1"], "vars": {{"ansible_user": "u"}}}}}}\'\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{oracles.program('ansible-inventory').parent}:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InventoryError, match="one problem"):
        ansible.machines((script,), defaults=ME)
    assert not (tmp_path / "executed").exists()
    assert reached(ansible.trusted(script, group="g", defaults=ME)) == {"s1": ("s1", "22", "u", "", "")}


@pytest.mark.parametrize("name", ODD)
def test_odd_inventories(made: dict[str, Path], answers: dict[str, dict[str, Any]], name: str) -> None:
    """What Ansible reads, we read alike. What it refuses, we refuse, or read what is plainly meant."""
    if "Unable to parse" not in answers[name]["said"]:
        compare(made[name], answers[name])
    else:
        with contextlib.suppress(InventoryError):
            ansible.machines((made[name],), defaults=ME)
