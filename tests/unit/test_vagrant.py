"""vagrant/Vagrantfile, validated by Vagrant itself, without creating a machine.

scripts/test installs Debian's vagrant and then sets PROVISIONER_TEST_VAGRANT=1, so that its absence is a failure.
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
    """Runs Vagrant in a copy of its folder, beside a copy of the inventory. A test may change both."""
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
    """Whether a provider is installed, so that its settings can be validated, too."""
    installed = (  # Vagrant itself answers slowly, so it is queried last
        any(Path("/usr/share/rubygems-integration/all/specifications").glob("vagrant-libvirt-*"))
        or "vagrant-libvirt" in vagrant("plugin", "list").stdout
    )
    assert installed or os.environ.get("PROVISIONER_TEST_VAGRANT") != "1"
    return installed


def test_the_vagrantfile_is_valid(vagrant, libvirt):
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


def test_an_unsuitable_address_is_reported(vagrant, tmp_path):
    inventory = tmp_path / "inventories/vagrant.yml"
    inventory.write_text(inventory.read_text().replace("192.168.56.12", "node2.example.net"))
    ended = vagrant("validate", "--ignore-provider")
    assert ended.returncode == 1
    assert "the address of node2 must be an IPv4 address" in ended.stderr


@pytest.fixture
def lab(vagrant, tmp_path) -> Callable[[str], str]:
    """Runs Ruby with lab.rb in the copy of the folder. In its Vagrant environment, node1 and node4 exist."""

    def run(script: str) -> str:
        made = (
            'Env = Struct.new(:active_machines, :home_path).new([[:node1, :libvirt], [:node4, :libvirt]], "/elsewhere")'
        )
        return subprocess.run(
            ["ruby", "-r./lab.rb", "-e", f"{made}\n{script}"],
            cwd=tmp_path / "vagrant",
            env=os.environ | {"VAGRANT_HOME": "/elsewhere", "LC_ALL": "C.UTF-8"},
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        ).stdout

    return run


def test_lab_yml_has_the_existing_machines_and_the_inventory_s_other_settings(lab, tmp_path, monkeypatch):
    inventory = tmp_path / "inventories/vagrant.yml"
    inventory.write_text(inventory.read_text().replace("user: vagrant", "user: !env LAB_USER"))
    monkeypatch.setenv("LAB_USER", "admin")
    lab("Lab.send(:write, Env)")
    written = load(tmp_path / "vagrant/lab.yml", check_files=False)
    given = load(inventory, check_files=False)
    assert list(written.hosts) == ["node1", "node4"]
    assert written.ssh.user == "admin"
    assert written.ssh.key == Path("/elsewhere/insecure_private_key")
    assert written.ssh.known_hosts.resolve() == given.ssh.known_hosts.resolve()
    assert (written.networks, written.store, written.advertise) == (given.networks, given.store, given.advertise)


def test_the_number_of_machines_and_the_memory_of_one(lab, tmp_path):
    inventory = tmp_path / "inventories/vagrant.yml"
    text = inventory.read_text()
    larger = text.replace("192.168.56.12}", "192.168.56.12, x-vagrant: {memory: 4096}}")
    inventory.write_text(larger.replace("machines: 3", "machines: 4"))
    machines = lab(
        "Lab.machines.each { |m| puts [m.name, m.address, m.memory, m.cpus, m.autostart].join(' ') }"
    ).splitlines()
    assert machines[:2] == ["node1 192.168.56.11 1024 1 true", "node2 192.168.56.12 4096 1 true"]
    assert [line.endswith("true") for line in machines] == [True] * 4 + [False] * (len(machines) - 4)
    assert len(machines) > 4
    inventory.write_text(text.replace("machines: 3", f"machines: {len(machines)}"))
    assert lab("puts Lab.machines.count(&:autostart)") == f"{len(machines)}\n"
    for number, problem in (
        (
            8,
            "`machines` is 8, but `hosts` has only 6: add 2 more lines there, such as `node7: {address: 192.168.56.17}`",
        ),
        ("many", '`machines` must be a whole number of at least 1, not "many"'),
        (0, "`machines` must be a whole number of at least 1, not 0"),
    ):
        inventory.write_text(text.replace("machines: 3", f"machines: {number}"))
        with pytest.raises(subprocess.CalledProcessError) as caught:
            lab("Lab.machines")
        assert problem in caught.value.stderr


def test_the_key_of_a_recreated_machine_is_removed(lab, tmp_path):
    known = tmp_path / "vagrant/.vagrant/known_hosts"
    lab("Lab.forget_key('192.168.56.11')")  # no file yet
    known.parent.mkdir()
    known.write_text("192.168.56.1 ssh-ed25519 A\n192.168.56.11 ssh-ed25519 B\n192.168.56.12 ssh-ed25519 C\n")
    lab("Lab.forget_key('192.168.56.11')")
    assert known.read_text() == "192.168.56.1 ssh-ed25519 A\n192.168.56.12 ssh-ed25519 C\n"
