"""`vagrant up` as a user runs it, on real virtual machines: the project's Vagrantfile, with a box from vagrant/box/build.

Hardware virtualisation is not required; without it, the tests take some minutes. PROVISIONER_NO_VAGRANT=1 skips them. Without
that, a missing program is a failure.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from provisioner import labs
from provisioner.lab import machine
from tests.vagrant.box import build_box
from tests.vagrant.hypervisor import Hypervisor

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
BOX = "test/bullseye64"
VAGRANT_UP = 1200  # the most seconds; less than three minutes on two idle cores

PAIR = ("node1", "node2")
# The networks of inventories/swarm.yml that kernels of the lab's hosts may not support.
EXAMPLE = yaml.safe_load(
    (ROOT / "inventories/swarm.yml").read_text().replace("192.0.2.", "192.168.56.").replace("eth0", "eth1")
)
SWARM = {"control_plane": "swarm", "networks": {name: EXAMPLE["networks"][name] for name in ("sealed", "vlan")}}
SWARM["networks"]["vlan"]["ip_range"] = {name: EXAMPLE["networks"]["vlan"]["ip_range"][name] for name in PAIR}
# After this, the engine creates no rule that marks packets for encryption, and none that drops plain packets.
NO_MARKS = """iptables -t mangle -F OUTPUT; iptables -S INPUT | sed -n '/4789.*DROP/s/^-A/iptables -D/p' | sh; rm /usr/sbin/iptables; cat >/usr/sbin/iptables <<'END'; chmod 755 /usr/sbin/iptables
#!/bin/sh
case "$*" in *"-t mangle"*MARK* | *"--dport 4789"*DROP*) exit 0 ;; esac
exec /usr/sbin/xtables-nft-multi iptables "$@"
END
"""
IMAGE = "tar c -T /dev/null | docker import - tests/box >/dev/null"
MOUNTS = " ".join(
    f"--mount type=bind,src={folder},dst={folder},readonly" for folder in ("/usr", "/bin", "/lib", "/lib64")
)
SERVER = (
    "use Socket; socket S, PF_INET, SOCK_STREAM, 6; setsockopt S, SOL_SOCKET, SO_REUSEADDR, 1;"
    " bind S, sockaddr_in(8080, INADDR_ANY) or die; listen S, 9; push @held, $_ while accept $_ = undef, S"
)
CLIENT = (
    "use Socket; socket S, PF_INET, SOCK_STREAM, 6; connect S, sockaddr_in(8080, inet_aton(q(web))) or die; sleep 900"
)
# Sets IPVS's time limits in seconds for connections, and for connections that end, in a load balancer's namespace (ip_vs.h:
# IP_VS_SO_SET_TIMEOUT).
LIMIT = (
    "nsenter --net=$(ls -d /var/run/docker/netns/lb_*) perl -e 'socket S, 2, 3, 255 or die; setsockopt S, 0, 1162, pack(q(i3),"
    " {seconds}, 120, 300) or die $!'"
)

pytestmark = [pytest.mark.machines, pytest.mark.timeout(2 * VAGRANT_UP)]


@pytest.fixture(scope="module")
def box() -> Path:
    if left_out := os.environ.get("PROVISIONER_NO_VAGRANT"):
        pytest.skip(f"PROVISIONER_NO_VAGRANT={left_out}")
    machine.require_root()
    needed = ("vagrant", "libvirtd", "virsh", "qemu-system-x86_64", "dnsmasq")
    missing = [program for program in needed if not shutil.which(program)]
    assert not missing, (
        f"missing programs: {missing}; `sudo scripts/test` installs them, PROVISIONER_NO_VAGRANT=1 skips these tests"
    )
    return build_box()


class Training:
    """The folder vagrant/ of a checkout, with Vagrant in the hypervisor's namespaces."""

    def __init__(self, hypervisor: Hypervisor, folder: Path, box: Path) -> None:
        self.hypervisor = hypervisor
        self.folder = folder / "vagrant"
        shutil.copytree(ROOT / "vagrant", self.folder, ignore=shutil.ignore_patterns(".vagrant", "lab.yml"))
        (folder / "inventories").mkdir()
        inventory = (ROOT / "inventories/vagrant.yml").read_text()
        changed = re.sub(r"(?m)^  box: \S+", f"  box: {BOX}", inventory)
        # With emulation, each further machine takes a minute, and a growing store half a minute. Tests with labs cover both.
        changed = re.sub(r"(?m)^  machines: 3", f"  machines: {len(PAIR)}", changed)
        changed = changed.replace("store: {kind: consul}", "store: {kind: consul, servers: [node1]}")
        assert all(words in changed for words in (BOX, f"machines: {len(PAIR)}", "servers: [node1]"))
        (folder / "inventories/vagrant.yml").write_text(changed)
        self._environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("VAGRANT_", "LIBVIRT_"))},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "VAGRANT_HOME": str(folder / "home"),
            "VAGRANT_CHECKPOINT_DISABLE": "1",
            "VAGRANT_DEFAULT_PROVIDER": "libvirt",
            "VAGRANT_NO_COLOR": "1",
            "LC_ALL": "C.UTF-8",
        }
        self.run("vagrant", "box", "add", "--no-tty", "--name", BOX, str(box))

    def run(self, *argv: str, check: bool = True, timeout: float = 300, path: str = "") -> Any:
        environment = self._environment | ({"PATH": path} if path else {})
        return self.hypervisor.run(*argv, cwd=self.folder, check=check, timeout=timeout, env=environment)

    def up(self, *names: str, check: bool = True, path: str = "") -> Any:
        ended = self.run("vagrant", "up", "--no-tty", *names, check=check, timeout=VAGRANT_UP, path=path)
        print(ended.stdout)  # shown if the test fails
        return ended

    def sh(self, name: str, script: str) -> str:
        return str(self.run("vagrant", "ssh", name, "-c", f"sudo sh -c {shlex.quote(script)}").stdout)

    def link(self, name: str, state: str) -> None:
        """Set the link of a machine's second interface, which connects the machines, to "up" or "down"."""
        domain = f"vagrant_{name}"
        rows = [line.split() for line in self.hypervisor.virsh("domiflist", domain).splitlines()]
        addresses = [
            row[-1] for row in rows if len(row) == len(("name", "type", "source", "model", "mac")) and ":" in row[-1]
        ]
        self.hypervisor.virsh("domif-setlink", domain, addresses[1], state)


@pytest.fixture(scope="module")
def folder(box) -> Iterator[Path]:
    """A folder for one or two gigabytes. Leftovers of killed runs are removed first."""
    parent = labs.lab_dir() / "machines"
    for left in parent.glob("*"):
        if not Path(f"/proc/{left.name}").exists():
            shutil.rmtree(left)
    ours = parent / str(os.getpid())
    ours.mkdir(parents=True)
    try:
        yield ours
    finally:
        shutil.rmtree(ours)


@pytest.fixture(scope="module")
def training(box, folder) -> Iterator[Training]:
    hypervisor = Hypervisor(folder / "libvirt")
    try:
        yield Training(hypervisor, folder, box)
    finally:
        hypervisor.close()


def test_the_first_machine_alone(training):
    said = training.up("node1").stdout
    assert re.search(r"(?m)^proven: 1 host, ", said), said


def test_a_run_that_fails_makes_vagrant_up_fail(training):
    inventory = training.folder / "../inventories/vagrant.yml"
    text = inventory.read_text()
    inventory.write_text(text.replace("10.99.0.0/24", "10.99.0.1/24"))
    ended = training.up("node1", check=False)
    inventory.write_text(text)
    assert ended.returncode == 1
    assert "`provisioner up` ended with exit code 64" in ended.stdout
    assert "did you mean `10.99.0.0/24`" in ended.stdout


def test_without_provisioner_it_says_what_to_do(training):
    ended = training.up("node1", check=False, path="/usr/sbin:/usr/bin:/sbin:/bin")
    assert ended.returncode == 1
    assert ".venv/bin/pip install ." in ended.stdout
    training.up("node1", "--no-provision", path="/usr/sbin:/usr/bin:/sbin:/bin")


def test_another_machine_makes_it_a_proven_network(training):
    said = training.up().stdout  # starts all machines: one is already running, the other one joins it
    assert "proven: 2 hosts, 2 of 2 pairs on demo" in said, said
    assert said.count("==> provisioner up") == 1
    for name in PAIR:
        answer = training.run(
            "vagrant", "ssh", name, "-c", "sudo docker version -f '{{.Server.Version}}'; hostname"
        ).stdout
        assert re.search(rf"(?m)^20\.10\.\S+\s+^{name}\b", answer), answer


def test_a_machine_that_is_cut_off_is_named(training):
    lab = yaml.safe_load((training.folder / "lab.yml").read_text())
    (training.folder / "cut.yml").write_text(yaml.safe_dump(lab | {"ssh": lab["ssh"] | {"connect_timeout": 3}}))
    training.link("node2", "down")
    ended = training.run("provisioner", "verify", "cut.yml", check=False)
    training.link("node2", "up")
    assert ended.returncode == 1, ended.stdout
    assert re.search(r"(?m)^.*node2.*(unreachable|does not answer|no answer|timed out)", ended.stdout), ended.stdout


def on_both(training: Training, script: str) -> None:
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda name: training.sh(name, script), PAIR))


def test_a_swarm_whose_kernels_encrypt_and_have_ipvlan(training):
    """Networks that hosts of the lab may not support. An engine that does not mark packets for encryption is detected."""
    lab = yaml.safe_load((training.folder / "lab.yml").read_text())
    del lab["store"]
    (training.folder / "swarm.yml").write_text(yaml.safe_dump(lab | SWARM))
    on_both(training, "docker network rm demo; echo '{}' >/etc/docker/daemon.json; systemctl restart docker")
    said = training.run("provisioner", "up", "swarm.yml", timeout=600).stdout
    assert "proven: 2 hosts, 2 of 2 pairs on sealed" in said, said
    assert "✓ encrypted on sealed: 2 of 2 hosts" in said, said
    assert "✓ local on vlan: 2 of 2 hosts" in said, said
    on_both(training, NO_MARKS)
    (training.folder / "swarm.yml").write_text(
        yaml.safe_dump(lab | SWARM | {"networks": {"sealed": SWARM["networks"]["sealed"]}})
    )
    ended = training.run("provisioner", "verify", "swarm.yml", check=False)
    assert ended.returncode == 1, ended.stdout
    assert "✓ overlay on sealed: 2 of 2 pairs" in ended.stdout, ended.stdout
    assert re.search(r"packets to 192\.168\.56\.1[12].* are not encrypted", ended.stdout), ended.stdout
    assert "an encrypted network sends readable packets: node1, node2" in ended.stdout, ended.stdout


def examined(training: Training) -> dict[str, Any]:
    """Run `doctor` on the swarm, and return its document."""
    said = training.run("sh", "-c", "provisioner doctor swarm.yml --json 2>/dev/null", check=False).stdout
    print(said)  # shown if the test fails
    report: dict[str, Any] = json.loads(said)
    return report


def causes(training: Training) -> dict[str, list[str]]:
    """Return the causes that `doctor` finds, and their hosts."""
    return {cause["id"]: cause["hosts"] for cause in examined(training)["causes"]}


def running(training: Training) -> str:
    """Wait until the service runs on both nodes. Returns what `doctor` found no fault with."""
    tasks = "docker service ls --format '{{.Replicas}}' | grep -q 2/2"
    training.sh("node1", f"for n in $(seq 90); do {tasks} && exit; sleep 2; done; docker service ps web; exit 1")
    report = examined(training)
    assert [cause["id"] for cause in report["causes"]] == []
    return "\n".join(report["looked_at"])


def test_published_ports_and_virtual_addresses_of_services(training):
    """Kernels of the lab's hosts may have no IPVS, which serves virtual addresses and published ports of a swarm's services."""
    on_both(training, f"ln -sf /etc/alternatives/iptables /usr/sbin/iptables; {IMAGE}; systemctl restart docker")
    service = f"docker service create --quiet --name web --mode global --network sealed --publish 8080:8080 {MOUNTS} tests/box perl -e {shlex.quote(SERVER)}"
    training.sh(
        "node1",
        f"for n in $(seq 60); do docker node ls | grep -c Ready.*Active | grep -q 2 && break; sleep 2; done; timeout 120 {service}",
    )
    assert "virtual address of web" in running(training)
    # The load balancer of node2 forgets a connection without data, as it otherwise does after 15 minutes.
    training.sh(
        "node2",
        f"{LIMIT.format(seconds=2)}; docker run -d --name client --network sealed {MOUNTS} tests/box perl -e {shlex.quote(CLIENT)}"
        " && sleep 8 && docker exec client true",
    )
    found = examined(training)["causes"]
    assert [(cause["id"], cause["hosts"], cause["severity"]) for cause in found] == [
        ("ipvs-idle", ["node2"], "warning")
    ]
    assert "client from port" in found[0]["evidence"][0]
    training.sh("node2", f"{LIMIT.format(seconds=900)}; docker rm -f client")
    # The routing mesh of node2 loses what comes from other hosts.
    mesh = "nsenter --net=/var/run/docker/netns/ingress_sbox iptables"
    training.sh("node2", f"{mesh} -I INPUT -p tcp --dport 8080 -j DROP")
    assert causes(training) == {"published-unanswered": ["node1", "node2"]}  # the path between them
    training.sh("node2", f"{mesh} -D INPUT -p tcp --dport 8080 -j DROP")
    # So does its load balancer, for virtual addresses.
    training.sh("node2", "nsenter --net=$(ls -d /var/run/docker/netns/lb_*) iptables -I INPUT -p tcp -j DROP")
    assert causes(training) == {"vip-unanswered": ["node2"]}
    training.sh("node2", "systemctl restart docker")  # the cure that it names
    assert "virtual address of web" in running(training)


def test_destroyed_machines_leave_nothing(training):
    training.run("vagrant", "destroy", "-f")
    assert training.hypervisor.virsh("list", "--all", "--name").strip() == ""
