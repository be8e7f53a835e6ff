"""Jump hosts in an inventory: their syntax and the resulting targets."""

from __future__ import annotations

import re

import pytest

from provisioner.errors import InventoryError
from provisioner.inventory import load


def made(tmp_path, ssh="", node2=""):
    (tmp_path / "lab.yml").write_text(
        f"cluster: lab\nssh: {{user: deploy{ssh}}}\nhosts:\n  node1: {{address: 192.0.2.1, user: root}}\n"
        f"  node2: {{address: 192.0.2.2{node2}}}\nstore: {{kind: consul}}\nnetworks: {{demo: {{subnet: 10.99.0.0/24}}}}\n"
    )
    return load(tmp_path / "lab.yml", check_files=False)


def way(target):
    hops = []
    while target.jump:
        target = target.jump
        hops.insert(0, f"{target.user}@{target.address}:{target.port}")
    return hops


def test_none_by_default(tmp_path):
    assert way(made(tmp_path).target("node1")) == []


def test_for_all_hosts_with_each_ones_user(tmp_path):
    inventory = made(tmp_path, ssh=", jump: 'bastion:2222'")
    assert way(inventory.target("node1")) == ["root@bastion:2222"]
    assert way(inventory.target("node2")) == ["deploy@bastion:2222"]


def test_several_and_of_one_host_only(tmp_path):
    inventory = made(tmp_path, node2=", jump: 'ops@out.example,[2001:db8::1]:99'")
    assert way(inventory.target("node1")) == []
    assert way(inventory.target("node2")) == ["ops@out.example:22", "deploy@2001:db8::1:99"]


def test_a_host_without(tmp_path):
    inventory = made(tmp_path, ssh=", jump: bastion", node2=", jump: none")
    assert [bool(inventory.target(n).jump) for n in ("node1", "node2")] == [True, False]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("''", "is not a jump host"),
        ("'a,'", "is not a jump host"),
        ("ssh://bastion/", "is not a jump host"),
        ("bastion:0", "0 is not a valid port"),
        ("bastion:70000", "70000 is not a valid port"),
        ("'-oProxyCommand=x@bastion'", "is not a user's name"),
        ("'a b@bastion'", "is not a user's name"),
        ("'$(reboot)'", "is not an address"),
        ("'ops@10.0.0.300'", "is not an IPv4 address"),
        ("[a, b]", "must be text"),
    ],
)
def test_refused(tmp_path, text, why):
    with pytest.raises(InventoryError, match=re.escape("lab.yml:5:")) as caught:
        made(tmp_path, node2=f", jump: {text}")
    assert why in caught.value.problems[0]
