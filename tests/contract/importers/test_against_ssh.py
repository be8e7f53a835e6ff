"""Our reader of OpenSSH's configuration compared with `ssh -G`, on generated configurations and on odd ones."""

from __future__ import annotations

import os
import pwd
import shutil
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import ssh_oracle

from provisioner.errors import InventoryError
from provisioner.inventory.importers import ssh_config

FIRST = int(os.environ.get("PROVISIONER_SEED", "1"))

pytestmark = pytest.mark.skipif(not shutil.which("ssh"), reason="ssh is not installed")


def generated(folder: Path, seed: int) -> str:
    """A configuration with blocks, patterns, includes and jump hosts. Names in it: h0 to h7."""
    random = Random(seed)
    names = [f"h{n}" for n in range(8)]
    for n in range(3):
        (folder / f"key {n}").touch()

    def options(*, jump: bool) -> list[str]:
        lines = {
            "HostName": random.choice(["%h.example.net", "10.0.0.7", "a%%b.%h", "fe.example"]),
            "Port": str(random.randint(1, 9999)),
            "User": random.choice(["root", '"deploy"', "ops # comment"]),
            "IdentityFile": random.choice([f'"{folder}/key {n}"' for n in range(4)] + ["~/no-such-key", "none"]),
            "StrictHostKeyChecking": random.choice(["no", "yes", "accept-new", "ask", "off"]),
            "UserKnownHostsFile": random.choice(["/dev/null", "~/a ~/b", f"{folder}/known"]),
            "ServerAliveInterval": "30",
        }
        if jump:
            lines["ProxyJump"] = random.choice(["none", "ops@h7:99", "h6", "h7,h6", "[2001:db8::1]:22", "other"])
        case, equals = random.choice([str, str.lower, str.upper]), random.choice([" ", " = ", "=", "\t"])
        return [
            f"{random.choice(['', '  '])}{case(key)}{equals}{value}"
            for key, value in lines.items()
            if random.random() < 0.35
        ]

    def block() -> list[str]:
        some = random.sample(names, random.randint(1, 3))
        head = random.choice(["", "*", "h? !h2", "!h3 h*", "Match all"]) if random.random() < 0.4 else " ".join(some)
        jump = not {"h6", "h7"} & set(some) and head == " ".join(some)
        return [head if head.startswith("Match") else f"Host {head or '*'}", *options(jump=jump)]

    (folder / "more").write_text("\n".join([*options(jump=False), *block(), *block()]) + "\n")
    lines = options(jump=False)
    for _ in range(random.randint(2, 7)):
        lines += block()
        if random.random() < 0.2:
            lines.append(f"Include {folder}/more")
    return "\n".join(lines) + "\n"


ODD = {
    "quotes": "Host h0\n  User \"a b\"\n  IdentityFile 'x y'\n",
    "equals": "Host=h0\nPort=5\nUser =u\n",
    "windows": "Host h0\r\n  Port 5\r\n  User u\r\n",
    "comments": "# x\nHost h0 # no name\n  User u#x\n  Port 5 # y\n",
    "underscore": "Host h_0\n  Port 5\nHost h0\n  ProxyJump h_0\n",
    "case": "hOST h0\n  hostNAME H0.Example\n",
    "negated": "Host !h0 *\n  Port 5\nHost h0 !h1\n  Port 6\n",
    "top": "Port 5\nHost h0\n  Port 6\n",
    "ipv6": "Host h0\n  HostName 2001:db8::5\n  ProxyJump u@[2001:db8::1]:5\n",
    "none": "Host h0\n  ProxyJump none\nHost *\n  ProxyJump other\n",
    "loop": "Host h0\n  ProxyJump h1\nHost h1\n  ProxyJump h0\n",
    "url": "Host h0\n  ProxyJump ssh://u@other:5/\n",
    "percent": "Host h0\n  HostName %h-%%\n",
    "unknown": "Host h0\n  NoSuchOption x\n",
    "ignored": "IgnoreUnknown NoSuch*\nHost h0\n  NoSuchOption x\n  Port 5\n",
    "no-value": "Host h0\n  Port\n",
    "backslash": "Host h0\n  IdentityFile /a\\ b\n  User a\\b\n",
    "tokens": "Host h0\n  User u\n  IdentityFile %d/.ssh/%r@%h\n",
    "tabs": "\tHost\th0\n\t\tPort\t5\n",
    "empty": "",
}


def compare(text: str, folder: Path) -> None:
    file = folder / "config"
    file.write_text(text, encoding="utf-8", newline="")
    if ssh_oracle.options(file, "h0") is None:
        return
    here = ssh_config.Here(pwd.getpwuid(os.geteuid()).pw_name, Path("/nowhere"), folder)
    found = ssh_config.parsed(text, str(file), here)
    for machine in found.machines:
        ours = replace(
            machine,
            address=machine.address.lower(),
            known_hosts=machine.known_hosts.replace("~", ssh_oracle.HOME, 1),
            key=machine.key.replace("~", ssh_oracle.HOME, 1),
        )
        wanted = ssh_oracle.expected(file, machine.name, ours, explicit="identityfile" in text.lower())
        assert ours == wanted


@pytest.mark.parametrize("seed", range(FIRST, FIRST + 25))
def test_generated_configurations(tmp_path: Path, seed: int) -> None:
    compare(generated(tmp_path, seed), tmp_path)


@pytest.mark.parametrize("name", ODD)
def test_odd_configurations(tmp_path: Path, name: str) -> None:
    """What ssh reads, we read alike. What it refuses, we refuse or read without a crash."""
    try:
        compare(ODD[name], tmp_path)
    except InventoryError:
        assert ssh_oracle.options(tmp_path / "config", "h0") is None
