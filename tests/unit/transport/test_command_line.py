"""The command in messages is a whole one: a person can copy it into a shell."""

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from provisioner.model import SshTarget
from provisioner.transport.command_line import ssh, way

PLAIN = SshTarget("node1", "192.0.2.1", 22, "root", None, "strict", Path("~/.ssh/known_hosts"))
BASTION = replace(PLAIN, name="gw", address="gw", user="ops", port=2222)
NAMED = {"key": Path("/k/id"), "named": frozenset({"key"})}


@pytest.mark.parametrize(
    ("changes", "command"),
    [
        ({}, "ssh root@192.0.2.1"),
        ({"port": 2222, "alias": "web"}, "ssh -p 2222 root@web"),
        ({"config": "none"}, "ssh -F none root@192.0.2.1"),
        ({"config": "/c/my file"}, "ssh -F '/c/my file' root@192.0.2.1"),
        ({"key": Path("/k/$(id)")}, "ssh -i '/k/$(id)' -o IdentitiesOnly=yes root@192.0.2.1"),
        ({"known_hosts": Path("/k/100%")}, "ssh root@192.0.2.1"),  # from OpenSSH's configuration
        (
            {"known_hosts": Path("/k/a b%"), "named": frozenset({"known_hosts"})},
            "ssh -o 'UserKnownHostsFile=\"/k/a b%%\"' root@192.0.2.1",
        ),
        ({"jump": BASTION}, "ssh root@192.0.2.1"),
        ({"jump": BASTION, "named": frozenset({"jump"})}, "ssh -J ops@gw:2222 root@192.0.2.1"),
        (
            {
                "jump": replace(BASTION, jump=replace(BASTION, address="2001:db8::1", port=22)),
                "named": frozenset({"jump"}),
            },
            "ssh -J 'ops@[2001:db8::1],ops@gw:2222' root@192.0.2.1",
        ),
    ],
)
def test_each_setting_has_its_option(changes, command):
    assert ssh(replace(PLAIN, **changes)) == command


def test_a_key_for_jump_hosts_too():
    """`-J` does not pass options on."""
    far = replace(BASTION, name="far", address="far", **NAMED)
    target = replace(
        PLAIN, jump=replace(BASTION, jump=far, **NAMED), key=Path("/k/id"), named=frozenset({"key", "jump"})
    )
    words = shlex.split(ssh(target))
    assert [*words[:4], *words[-1:]] == ["ssh", "-i", "/k/id", "-o", "root@192.0.2.1"]
    (proxy,) = [word for word in words if word.startswith("ProxyCommand=")]
    inner = shlex.split(proxy.removeprefix("ProxyCommand="))
    assert inner[:3] == ["ssh", "-W", "[%h]:%p"]
    assert inner[-3:] == ["-p", "2222", "ops@gw"]
    (proxy,) = [word for word in inner if word.startswith("ProxyCommand=")]
    assert proxy == "ProxyCommand=ssh -W [%%h]:%%p -i /k/id -o IdentitiesOnly=yes -p 2222 ops@far"
    assert way(target) == "ops@far:2222,ops@gw:2222"
