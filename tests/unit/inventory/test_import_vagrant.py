from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from importing import HERE, sound, targets

from provisioner.errors import InventoryError
from provisioner.inventory.importers import Found, vagrant

if TYPE_CHECKING:
    from pathlib import Path

KEY = "/home/me/lab/.vagrant/machines/{}/virtualbox/private_key"
VIRTUALBOX = "".join(
    f"""Host {name}
  HostName 127.0.0.1
  User vagrant
  Port {port}
  UserKnownHostsFile /dev/null
  StrictHostKeyChecking no
  PasswordAuthentication no
  IdentityFile {KEY.format(name)}
  IdentitiesOnly yes
  LogLevel FATAL
  PubkeyAcceptedKeyTypes +ssh-rsa
  HostKeyAlgorithms +ssh-rsa

"""
    for name, port in (("node1", 2222), ("node2", 2200), ("node3", 2201))
)
LIBVIRT = """Host default
  HostName 192.168.121.87
  User vagrant
  Port 22
  UserKnownHostsFile /dev/null
  StrictHostKeyChecking no
  IdentityFile "/home/me/my lab/.vagrant/machines/default/libvirt/private_key"
"""


def test_virtualbox_uses_forwarded_ports() -> None:
    found = vagrant.machines(VIRTUALBOX, "vagrant ssh-config", HERE)
    assert [(m.name, m.address, m.port, m.user, m.key) for m in found.machines] == [
        ("node1", "127.0.0.1", "2222", "vagrant", KEY.format("node1")),
        ("node2", "127.0.0.1", "2200", "vagrant", KEY.format("node2")),
        ("node3", "127.0.0.1", "2201", "vagrant", KEY.format("node3")),
    ]
    assert {m.known_hosts for m in found.machines} == {"/home/me/lab/.vagrant/known_hosts"}
    assert {m.notes for m in found.machines} == {()}
    assert found.advertise == "eth1"
    (note,) = found.notes
    assert note.startswith("3 of the machines are reached through a forwarded port")


def test_libvirt_uses_addresses() -> None:
    found = vagrant.machines(LIBVIRT, "-", HERE)
    assert [(m.address, m.port, m.key) for m in found.machines] == [
        ("192.168.121.87", "22", "/home/me/my lab/.vagrant/machines/default/libvirt/private_key")
    ]
    assert found.advertise == ""


def test_nothing() -> None:
    assert vagrant.machines("", "-", HERE) == Found(())


def test_results_in_a_valid_inventory(tmp_path: Path) -> None:
    for name in ("node1", "node2", "node3"):
        key = tmp_path / ".vagrant" / "machines" / name / "virtualbox" / "private_key"
        key.parent.mkdir(parents=True)
        key.touch()
    inventory, notes = sound(vagrant.machines(VIRTUALBOX.replace("/home/me/lab", str(tmp_path)), "-"), tmp_path)
    assert targets(inventory)["node2"] == ("127.0.0.1", 2200, "vagrant", "private_key")
    assert (inventory.advertise, inventory.ssh.host_keys) == ("eth1", "accept-new")
    assert inventory.ssh.known_hosts == tmp_path / ".vagrant" / "known_hosts"
    assert "forwarded port" in notes


def program(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if text:
        (folder / "vagrant").write_text(f"#!/bin/sh\n{text}\n")
        (folder / "vagrant").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin" if text else str(folder))


def test_vagrant_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, '[ "$*" = ssh-config ] && echo Host a', monkeypatch)
    assert vagrant.printed() == "Host a\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "vagrant: is not installed here; on a machine that has it, run `vagrant ssh-config >machines`"),
        ("echo 'not ready\nfor SSH' >&2; exit 1", "vagrant ssh-config: not ready for SSH; run `vagrant up` first"),
        ("exit 3", "vagrant ssh-config: exit code 3; run `vagrant up` first"),
    ],
)
def test_vagrant_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, expected: str) -> None:
    program(tmp_path, text, monkeypatch)
    with pytest.raises(InventoryError) as caught:
        vagrant.printed()
    assert caught.value.problems[0].startswith(expected)
