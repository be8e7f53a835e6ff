"""The contenders of the benchmark and their commands. Their files are in a temporary folder of the run."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from provisioner.lab import Lab

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
OURS = ROOT / ".venv" / "bin" / "provisioner"
EXTRA = ROOT / ".venv-bench" / "bin"


@dataclass(frozen=True)
class Contender:
    """The command lines of the jobs. prepare: a shell script that runs on the hosts before them; its time is not counted."""

    name: str
    up: list[str]
    plan: list[str] = field(default_factory=list)
    doctor: list[str] = field(default_factory=list)
    prepare: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


def ours(lab: Lab, folder: Path) -> Contender:
    return _ours("ours", lab.inventory(), folder)


def plain(lab: Lab, folder: Path) -> Contender:
    """The same job as the raw script's: Consul without gossip key, TLS and ACLs."""
    off = "store: {kind: consul, security: {gossip: false, tls: false, acls: false}}"
    return _ours("plain", _with(lab, off), folder)


def etcd(lab: Lab, folder: Path) -> Contender:
    """On etcd, which is already installed and has never been started."""
    return _ours("etcd", _with(lab, "store: {kind: etcd}"), folder, prepare=_installed("etcd-server", "etcd"))


def zookeeper(lab: Lab, folder: Path) -> Contender:
    return _ours(
        "zookeeper", _with(lab, "store: {kind: zookeeper}"), folder, prepare=_installed("zookeeper", "zookeeper")
    )


def _installed(package: str, unit: str) -> str:
    """A script that installs a missing package without starting its unit."""
    install = f"apt-get -qq update && apt-get -qq install --no-install-recommends {package}"
    return f"dpkg -s {package} >/dev/null 2>&1 || {{ systemctl mask {unit} && {install}; systemctl unmask {unit}; }} >/dev/null 2>&1"


def external(lab: Lab, folder: Path) -> Contender:
    """On an external Consul without TLS, on the first host."""
    first, address = lab.hosts[0], lab.address(lab.hosts[0])
    start = (
        f'[ "$(hostname)" != {first} ] || systemd-run -q consul agent -server -bootstrap-expect=1 -data-dir=/var/lib/theirs'
        f" -bind={address} -client={address}; until curl -s {address}:8500/v1/status/leader | grep -q :; do sleep 0.2; done"
    )
    store = f'store: {{kind: consul, endpoints: ["{address}:8500"]}}'
    return _ours("external", _with(lab, store), folder, prepare=start)


def swarm(lab: Lab, folder: Path) -> Contender:
    return _ours("swarm", _with(lab, "control_plane: swarm"), folder)


def _ours(name: str, inventory: str, folder: Path, prepare: str = "") -> Contender:
    path = folder / f"{name}.yml"
    path.write_text(inventory)
    up, plan, doctor = ([str(OURS), word, "--verbose", str(path)] for word in ("up", "plan", "doctor"))
    return Contender(name, up, plan, doctor, prepare=prepare)


def _with(lab: Lab, instead: str) -> str:
    """The lab's inventory with this line instead of its store."""
    return re.sub(r"(?m)^store: .*$", instead, lab.inventory())


def raw(lab: Lab, folder: Path) -> Contender:
    hosts = [f"{name}={lab.address(name)}" for name in lab.hosts]
    return Contender("raw", [str(HERE / "raw.sh"), str(lab.key), str(lab.known_hosts), *hosts])


def pyinfra(lab: Lab, folder: Path) -> Contender:
    data = {"ssh_user": "root", "ssh_key": str(lab.key), "ssh_known_hosts_file": str(lab.known_hosts)}
    hosts = [
        (name, {**data, "ssh_hostname": lab.address(name), "address": lab.address(name), "number": number})
        for number, name in enumerate(lab.hosts)
    ]
    inventory = folder / "inventory.py"
    inventory.write_text(f"hosts = {hosts!r}\n")
    command = [str(EXTRA / "pyinfra"), str(inventory), str(HERE / "pyinfra_deploy.py")]
    return Contender("pyinfra", [*command, "--yes"], [*command, "--dry"])


def ansible(lab: Lab, folder: Path) -> Contender:
    options = (
        f"-o UserKnownHostsFile={lab.known_hosts} -o IdentitiesOnly=yes -o ControlMaster=auto -o ControlPersist=60s"
    )
    lines = [f"{name} ansible_host={lab.address(name)}" for name in lab.hosts]
    inventory = folder / "hosts.ini"
    inventory.write_text(
        "\n".join(
            [
                *("[all]", *lines, "", "[all:vars]", "ansible_user=root", f"ansible_ssh_private_key_file={lab.key}"),
                f"ansible_ssh_common_args={shlex.quote(options)}",
            ]
        )
        + "\n"
    )
    command = [str(EXTRA / "ansible-playbook"), "-i", str(inventory), str(HERE / "ansible" / "site.yml")]
    settings = {
        "ANSIBLE_CONFIG": str(HERE / "ansible" / "ansible.cfg"),
        "ANSIBLE_LOCAL_TEMP": str(folder / "ansible"),
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(folder / "cp"),
    }
    python = (
        "python3 -c 'import json' 2>/dev/null || "
        "{ apt-get -qq update && apt-get -qq install --no-install-recommends python3; } >/dev/null 2>&1"
    )
    return Contender("ansible", command, [*command, "--check"], prepare=python, environment=settings)


ALL: dict[str, Callable[[Lab, Path], Contender]] = {
    "ours": ours, "plain": plain, "raw": raw, "etcd": etcd, "zookeeper": zookeeper, "external": external, "swarm": swarm,
    "pyinfra": pyinfra, "ansible": ansible,
}  # fmt: skip
OWN = ("plain", "etcd", "zookeeper", "external", "swarm")  # provisioner on other stores and control planes
DEFAULT = "ours,plain,raw,etcd,zookeeper,external,swarm"  # these need no other tools on this machine


def environment(contender: Contender) -> dict[str, str]:
    """The environment of a command, without variables for terminals or proxies."""
    kept = {key: os.environ[key] for key in ("PATH", "HOME", "LANG", "PROVISIONER_LAB_DIR") if key in os.environ}
    return {"LC_ALL": "C.UTF-8", **kept, **contender.environment}
