"""Renews the captures of real hosts: `python -m tests.unit.system.capture [GROUP...]`, as root, from the project's folder.

Groups: consul, etcd, zookeeper, swarm, bare; the default is all. Each group creates a lab and removes it at the end. Stores are
captured with their default security, and Consul and etcd also without security.

The files in captures/ contain the output of `reading.script()` on a host, without secrets (`redacted`).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Self

from provisioner.controlplane.swarm import SOUGHT
from provisioner.stores.consul import Consul
from provisioner.stores.etcd import Etcd
from provisioner.stores.zookeeper import ZooKeeper
from provisioner.system import facts, reading
from tests.unit.captured import printed

if TYPE_CHECKING:
    from collections.abc import Mapping

HERE = Path(__file__).parent / "captures"
NODES = ("node1", "node2", "node3")
CONSUL = "store: {kind: consul, security: {gossip: false, tls: false, acls: false}}"
NETWORKS = ("files",)  # the sections that have addresses, routes and resolvers

_TOKEN = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_KEY = re.compile(r"\"[A-Za-z0-9+/]{40,}=*\"")
_SECRET = re.compile(r"BEGIN [A-Z ]*PRIVATE KEY-----\n[^\n:]*:(?!redacted\n)|SWMTKN-|" + _TOKEN.pattern)


def redacted(raw: Mapping[str, str]) -> dict[str, str]:
    """Return the sections without private keys, tokens and gossip keys. Raises ValueError if a secret would remain."""
    without = _by_line(raw.get("secrets", ""))
    if _SECRET.search(without) or any("SWMTKN-" in text for text in raw.values()):
        raise ValueError("a secret would be left in a capture")
    return {**raw, "secrets": without} if "secrets" in raw else dict(raw)


def _by_line(text: str) -> str:
    """Redact the section "secrets", where each line begins with the path of its file."""
    inside, lines = False, []
    for line in text.split("\n"):
        path, colon, rest = line.partition(":")
        if "-----END" in rest:
            inside = False
        shown = "redacted" if inside else _KEY.sub('"redacted"', _TOKEN.sub("redacted", rest))
        inside = inside or ("PRIVATE KEY-----" in rest and "BEGIN" in rest)
        lines.append(path + colon + shown)
    return "\n".join(lines)


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


def provisioner(*words: str) -> bytes:
    """Run the program and return its standard output. Its progress goes to the terminal."""
    memory = {"PROVISIONER_LAB_IN_MEMORY": "1"}
    return subprocess.run(
        [sys.executable, "-m", "provisioner", *words], check=True, stdout=subprocess.PIPE, env={**memory, **os.environ}
    ).stdout


class Lab:
    """A lab that exists inside a `with` block."""

    def __init__(self, name: str, hosts: int, image: str) -> None:
        self.name, self.hosts, self.image = name, hosts, image

    def __enter__(self) -> Self:
        provisioner("lab", "down", "--name", self.name)  # of an interrupted run
        provisioner("lab", "up", "--name", self.name, "--hosts", str(self.hosts), "--image", self.image)
        return self

    def __exit__(self, *_: object) -> None:
        provisioner("lab", "down", "--name", self.name)

    def sh(self, host: str, script: str) -> bytes:
        return provisioner("lab", "exec", "--name", self.name, host, "--", "sh", "-c", script)

    def take(
        self, host: str, name: str, only: tuple[str, ...] = reading.ALL, store: reading.Sought = Consul.sought
    ) -> None:
        found = facts.parse(self.sh(host, reading.script(store, only)))
        (HERE / f"{name}.txt").write_bytes(printed(redacted(found.raw)))
        print(name, flush=True)

    def take_all(self, name: str, store: reading.Sought = Consul.sought) -> None:
        for host in NODES:
            self.take(host, f"{name}-{host}", store=store)

    def up(self, control: str) -> None:
        """Set up the lab's hosts. control: the inventory's `store` or `swarm`."""
        with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
            text = provisioner("lab", "inventory", "--name", self.name).decode()
            known = re.sub("(?m)^store: .*\\n", "", text) + f"{control}\n"  # labs of later engines have no store
            # certificates and etcd's token contain the cluster's name, and the tests rely on it
            file.write(known.replace(f"cluster: {self.name}\n", f"cluster: {self.name.removesuffix('-secured')}\n"))
            file.flush()
            provisioner("lab", "run", "--name", self.name, "--", sys.executable, "-m", "provisioner", "up", file.name)


def etcd() -> None:
    for name, control in (
        ("etcd", "store: {kind: etcd, security: {tls: false}}"),
        ("etcd-secured", "store: {kind: etcd}"),
    ):
        with Lab(f"capture-{name}", 3, "engine-20.10") as lab:
            lab.up(control)
            lab.take_all(name, Etcd.sought)


def zookeeper() -> None:
    with Lab("capture-zookeeper", 3, "engine-20.10") as lab:
        lab.up("store: {kind: zookeeper}")
        lab.take_all("zookeeper", ZooKeeper.sought)


def swarm() -> None:
    """One manager and two workers. Only the second host has a container on the network."""
    with Lab("capture-swarm", 3, "engine-26") as lab:
        lab.up("swarm: {managers: [node1]}")
        lab.sh("node2", BOX)
        lab.take_all("swarm", SOUGHT)


def bare() -> None:
    with Lab("capture-bare", 1, "bare") as lab:
        lab.take("node1", "bare")
        lab.sh("node1", LISTENERS)
        lab.take("node1", "taken")
    with Lab("capture-new", 1, "engine-26") as lab:
        lab.take("node1", "new")


def consul() -> None:
    with Lab("capture-secured", 3, "engine-20.10") as lab:
        lab.up("store: {kind: consul}")
        lab.take_all("secured")
    with Lab("capture", 3, "engine-20.10") as lab:
        lab.take_all("installed")
        lab.up(CONSUL)
        lab.take_all("settled")
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


GROUPS = {made.__name__: made for made in (bare, consul, etcd, zookeeper, swarm)}


def main() -> None:
    HERE.mkdir(exist_ok=True)
    for name in sys.argv[1:] or GROUPS:
        GROUPS[name]()


if __name__ == "__main__":
    main()
