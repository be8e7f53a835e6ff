"""Machines from the output of `vagrant ssh-config`."""

from __future__ import annotations

import ipaddress
import re
import subprocess
from dataclasses import replace
from pathlib import Path

from provisioner.inventory.importers import ssh_config
from provisioner.inventory.importers.found import Found, Machine, cant

INNER = "eth1"
"""The interface of a machine's first private network, if the box uses the kernel's old names. eth0 is Vagrant's NAT."""

_PATIENCE = 120.0  # seconds; Vagrant starts slowly, and queries its provider for each machine
_STATE = re.compile(r"(.*/\.vagrant)/machines/")


def machines(text: str, file: str, here: ssh_config.Here | None = None) -> Found:
    """The machines in the output of `vagrant ssh-config`."""
    found = ssh_config.parsed(text, file, here or ssh_config.Here.now())
    nat = [machine.name for machine in found.machines if _is_loopback(machine.address)]
    notes = list(found.notes)
    if nat:
        notes.append(
            f"{len(nat)} of the machines are reached through a forwarded port of this machine, which may change at"
            f" their next start. They reach one another on another interface: `advertise: {INNER}` is a guess;"
            " `ip -4 -br address` on a machine shows its name (a private_network in the Vagrantfile creates it)"
        )
    elif found.machines:
        notes.append("each engine's advertised address is detected on the machine; `advertise` overrides it")
    return Found(tuple(map(_kept_apart, found.machines)), tuple(notes), INNER if nat else "")


def printed() -> str:
    """The output of `vagrant ssh-config` in this folder. Raises InventoryError."""
    try:
        done = subprocess.run(
            ["vagrant", "ssh-config"], capture_output=True, text=True, errors="replace", check=False, timeout=_PATIENCE
        )
    except FileNotFoundError:
        raise cant(
            "vagrant",
            "is not installed here; on a machine that has it, run `vagrant ssh-config >machines`,"
            " then here `provisioner inventory import vagrant machines`",
        ) from None
    except subprocess.TimeoutExpired:
        raise cant("vagrant ssh-config", f"did not end within {_PATIENCE:.0f} s") from None
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise cant("vagrant ssh-config", f"{said[:400]}; run `vagrant up` first, in the folder of the Vagrantfile")
    return done.stdout


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def _kept_apart(machine: Machine) -> Machine:
    """Keep the host keys of machines that are often recreated in Vagrant's own folder, if it is known."""
    state = _STATE.match(machine.key)
    if machine.known_hosts or not state or machine.host_keys != "accept-new":
        return machine
    return replace(machine, known_hosts=str(Path(state[1], "known_hosts")))
