"""vagrant/Vagrantfile, judged by Vagrant itself; no machine is made.

scripts/test installs Debian's vagrant and then sets PROVISIONER_TEST_VAGRANT=1: its absence is a failure there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from provisioner.inventory import load

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(
    not shutil.which("vagrant") and os.environ.get("PROVISIONER_TEST_VAGRANT") != "1",
    reason="vagrant is not installed; `sudo scripts/test` installs it",
)


@pytest.fixture
def vagrant(tmp_path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Vagrant in a copy of its folder, beside a copy of the inventory: both may be changed."""
    shutil.copytree(ROOT / "vagrant", tmp_path / "vagrant", ignore=shutil.ignore_patterns(".vagrant"))
    (tmp_path / "inventories").mkdir()
    shutil.copy(ROOT / "inventories/vagrant.yml", tmp_path / "inventories")
    environment = {
        **os.environ,
        "VAGRANT_HOME": str(tmp_path / "home"),
        "VAGRANT_CHECKPOINT_DISABLE": "1",
        "VAGRANT_DEFAULT_PROVIDER": "libvirt",
        "LC_ALL": "C.UTF-8",
    }

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["vagrant", *arguments],
            cwd=tmp_path / "vagrant",
            env=environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


@pytest.fixture
def libvirt(vagrant) -> bool:
    """Whether a provider is there whose settings can be judged too."""
    installed = "vagrant-libvirt" in vagrant("plugin", "list").stdout or any(
        Path("/usr/share/rubygems-integration/all/specifications").glob("vagrant-libvirt-*")
    )
    assert installed or os.environ.get("PROVISIONER_TEST_VAGRANT") != "1"
    return installed


def test_vagrant_finds_it_valid(vagrant, libvirt):
    ended = vagrant("validate", *([] if libvirt else ["--ignore-provider"]))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "Vagrantfile validated successfully." in ended.stdout
    assert ended.stderr == ""


def test_its_machines_are_the_hosts_of_the_inventory(vagrant, libvirt, tmp_path):
    if not libvirt:
        pytest.skip("vagrant-libvirt is not installed")
    inventory = tmp_path / "inventories/vagrant.yml"
    text = inventory.read_text()
    inventory.write_text(text.replace("\nhosts:\n", "\nhosts:\n  another: {address: 192.168.56.99}\n"))

    lines = vagrant("status", "--machine-readable").stdout.splitlines()

    machines = [line.split(",")[1] for line in lines if ",metadata,provider," in line]
    assert sorted(machines) == sorted(["another", *load(ROOT / "inventories/vagrant.yml", check_files=False).hosts])


def test_an_address_that_vagrant_can_not_give_is_told(vagrant, tmp_path):
    inventory = tmp_path / "inventories/vagrant.yml"
    inventory.write_text(inventory.read_text().replace("192.168.56.12", "node2.example.net"))
    ended = vagrant("validate", "--ignore-provider")
    assert ended.returncode == 1
    assert "the address of node2 must be an IPv4 address" in ended.stderr
