"""Takes the captures of real hosts again: `python -m tests.unit.system.capture`, as root. Labs of its own, removed at the end.

With the word `stores` or `swarm`: those of the other stores, or of swarm mode, alone.

What is in captures/ is what `reading.script()` printed on a host, whole; only lines of the drop-in that are written otherwise
since have been put in as text.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Self

from provisioner.controlplane.swarm import SOUGHT
from provisioner.stores.consul import Consul
from provisioner.stores.etcd import Etcd
from provisioner.stores.zookeeper import ZooKeeper
from provisioner.system import reading

HERE = Path(__file__).parent / "captures"
# A capture is to have no secret in it.
OPEN = {"consul": ", security: {gossip: false, tls: false, acls: false}", "etcd": ", security: {tls: false}"}
NETWORKS = ("files",)  # sections enough for addresses, routes and resolvers

ODD_KEYS = """printf '%s' '{"log-level": "warn", "cluster-store": "consul://127.0.0.1:8500", "labels": ["a=\u00e9\\"b"],
"cluster-advertise": "192.168.56.11:2376", "storage-driver": "overlay2"}' >/etc/docker/daemon.json"""
INVALID = """printf '{"log-level": "warn",}\\n' >/etc/docker/daemon.json"""
SECOND_NETWORK = (
    "ip link add eth1 type veth peer name far && ip link set eth1 up && ip link set far up && ip addr add {} dev eth1"
)
RESOLVERS = """cat >/etc/resolv.conf <<'END'
; two comments, of both kinds
# nameserver 192.0.2.9
search example.com
nameserver 127.0.0.53
nameserver  10.99.0.53
nameserver 2001:db8::1
nameserver ::ffff:192.0.2.1
nameserver fe80::1%eth0.5
options edns0
END
mkdir -p /run/systemd/resolve && echo 'nameserver 10.99.0.54' >/run/systemd/resolve/resolv.conf
ip addr add 192.168.56.100/24 dev eth0; ip addr add 10.7.7.7/32 dev eth0; ip route add 10.0.0.0/8 via 192.168.56.1
ip route add blackhole 203.0.113.0/24; ip link set eth0 mtu 1400"""
BOX = """tar c -T /dev/null | docker import - box >/dev/null; docker run -d --name app --network demo -v /usr:/usr:ro -v /lib:/lib:ro \\
-v /lib64:/lib64:ro box /usr/bin/sleep 3600 >/dev/null"""
LISTENERS = r"""perl -e 'use Socket; $0 = "squatter"; for (["tcp", 8500], ["udp", 7946], ["tcp", 8301]) { my ($kind, $port) = @$_;
socket(my $s, PF_INET, $kind eq "tcp" ? SOCK_STREAM : SOCK_DGRAM, 0); bind($s, sockaddr_in($port, INADDR_ANY)) or die $!;
listen($s, 1) if $kind eq "tcp"; push @all, $s } sleep 600' >/dev/null 2>&1 &
sleep 0.5"""


def provisioner(*words: str) -> str:
    done = subprocess.run([sys.executable, "-m", "provisioner", *words], check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout


class Lab:
    """A lab that is there inside a `with` block."""

    def __init__(self, name: str, hosts: int, image: str) -> None:
        self.name, self.hosts, self.image = name, hosts, image

    def __enter__(self) -> Self:
        provisioner("lab", "up", "--name", self.name, "--hosts", str(self.hosts), "--image", self.image)
        return self

    def __exit__(self, *_: object) -> None:
        provisioner("lab", "down", "--name", self.name)

    def sh(self, host: str, script: str) -> str:
        return provisioner("lab", "exec", "--name", self.name, host, "--", "sh", "-c", script)

    def take(self, host: str, name: str, only: tuple[str, ...] = reading.ALL, store: reading.Sought = Consul.sought) -> None:
        (HERE / f"{name}.txt").write_text(self.sh(host, reading.script(store, only)), encoding="utf-8")

    def up(self, kind: str = "consul", control: str = "") -> None:
        with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
            text = provisioner("lab", "inventory", "--name", self.name)
            file.write(text.replace("store: {kind: consul}", control or f"store: {{kind: {kind}{OPEN.get(kind, '')}}}"))
            file.flush()
            command = [sys.executable, "-m", "provisioner", "up", file.name]
            provisioner("lab", "run", "--name", self.name, "--", *command)


def stores() -> None:
    """etcd and ZooKeeper under engines."""
    for kind, sought in (("etcd", Etcd.sought), ("zookeeper", ZooKeeper.sought)):
        with Lab(f"capture-{kind}", 3, "engine-20.10") as lab:
            lab.up(kind)
            for host in ("node1", "node2", "node3"):
                lab.take(host, f"{kind}-{host}", store=sought)


def swarm() -> None:
    """One manager and two workers; only on the second host is a container on the network."""
    with Lab("capture-swarm", 3, "engine-26") as lab:
        lab.up(control="swarm: {managers: [node1]}")
        lab.sh("node2", BOX)
        for host in ("node1", "node2", "node3"):
            lab.take(host, f"swarm-{host}", store=SOUGHT)


def main() -> None:
    HERE.mkdir(exist_ok=True)
    if sys.argv[1:] == ["swarm"]:
        swarm()
        return
    stores()
    if sys.argv[1:] == ["stores"]:
        return
    swarm()
    with Lab("capture-bare", 1, "bare") as lab:
        lab.take("node1", "bare")
        lab.sh("node1", LISTENERS)
        lab.take("node1", "taken")
    with Lab("capture-new", 1, "engine-26") as lab:
        lab.take("node1", "new")
    with Lab("capture", 3, "engine-20.10") as lab:
        for host in ("node1", "node2", "node3"):
            lab.take(host, f"installed-{host}")
        lab.up()
        for host in ("node1", "node2", "node3"):
            lab.take(host, f"settled-{host}")
        lab.sh("node1", ODD_KEYS)
        lab.take("node1", "odd-keys")
        lab.sh("node1", INVALID)
        lab.take("node1", "invalid")
        lab.sh("node2", "systemctl stop docker.service")
        lab.take("node2", "stopped")
        lab.sh("node2", "systemctl stop consul.service")
        lab.take("node2", "all-stopped")
        lab.sh("node3", "kill -STOP $(cat /run/docker.pid)")
        lab.take("node3", "hanging")
        lab.sh("node3", "kill -CONT $(cat /run/docker.pid)")
        for number in (1, 2, 3):
            lab.sh(f"node{number}", SECOND_NETWORK.format("10.0.2.15/24"))
            lab.take(f"node{number}", f"nat-node{number}", NETWORKS)
            lab.sh(f"node{number}", f"ip addr flush dev eth1; ip addr add 192.168.121.{number}0/24 dev eth1")
            lab.take(f"node{number}", f"two-node{number}", NETWORKS)
        lab.sh("node3", RESOLVERS)
        lab.take("node3", "resolvers", NETWORKS)


if __name__ == "__main__":
    main()
