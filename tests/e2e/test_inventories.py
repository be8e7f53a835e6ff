"""Runs each example inventory on lab hosts that are set up as the inventory describes. Only addresses and keys differ."""

from __future__ import annotations

import base64
import json
import subprocess
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from provisioner.stores.zookeeper import ZooKeeper
from tests.e2e.captures import look_as_today
from tests.e2e.cluster import Cluster, Run, primary
from tests.e2e.their_store import start_etcd

if TYPE_CHECKING:
    from provisioner.lab import Lab

pytestmark = pytest.mark.lab

EXAMPLES = Path(__file__).parents[2] / "inventories"


class Example(Cluster):
    """An example inventory on a lab's hosts."""

    def adapt(self, text: str) -> None:
        """Load the inventory, and give the lab's hosts the users, ports and interfaces that it names."""
        self.given: dict[str, Any] = yaml.safe_load(text)
        ssh = self.given.setdefault("ssh", {})
        if own := self.given.get("x-vagrant"):  # the hosts that Vagrant creates by default
            self.given["hosts"] = dict(list(self.given["hosts"].items())[: own["machines"]])
        known = self.folder / "known_hosts"
        keys = self.lab.known_hosts.read_text()
        for node, host in zip(self.lab.hosts, self.given["hosts"].values(), strict=False):
            address = host["address"] = self.lab.address(node)
            if port := host.get("port"):
                self.sh(node, f"printf 'Port 22\\nPort {port}\\n' >>/etc/ssh/sshd_config; systemctl restart ssh")
                keys += "".join(
                    f"[{address}]:{port} {line.partition(' ')[2]}\n"
                    for line in keys.splitlines()
                    if line.startswith(address)
                )
            self._user(node, host.get("user") or ssh.get("user", "root"))
            advertised = host.get("advertise") or self.given.get("advertise")
            if advertised and advertised[0].isdigit():
                host["advertise"] = address.replace(".56.", ".56.1")
                self.sh(node, primary(address, host["advertise"]))
            elif advertised:
                self.sh(node, f"ip link set eth0 down; ip link set eth0 name {advertised}; ip link set {advertised} up")
        known.write_text(keys)
        ssh |= {"key": str(self.lab.key), "known_hosts": str(known)}

    def _user(self, node: str, user: str) -> None:
        if user != "root":
            self.sh(
                node,
                f"id {user} >/dev/null 2>&1 || useradd -m -s /bin/bash {user}; install -d -o {user} -m 700 ~{user}/.ssh;"
                f" install -o {user} -m 600 /root/.ssh/authorized_keys ~{user}/.ssh/;"
                f" echo '{user} ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/{user}",
            )

    @property
    def inventory(self) -> Path:
        path = self.folder / "inventory.yml"
        with path.open("w") as file:
            yaml.safe_dump(self.given, file)
        return path


def proven(run: Run, hosts: int, networks: int) -> None:
    assert run.code == 0, run.err
    assert [len(p["pairs"]) for p in run.overlays] == [hosts * (hosts - 1)] * networks
    assert run.proven, run.err


@pytest.mark.parametrize(
    ("name", "image"), [("lab", "engine-20.10"), ("three-hosts", "engine-28"), ("vagrant", "engine-20.10")]
)
def test_three_hosts(make_lab, tmp_path, name, image):
    example = Example(make_lab(hosts=3, image=image), tmp_path)
    example.adapt((EXAMPLES / f"{name}.yml").read_text())
    proven(example.run("up"), hosts=3, networks=1)
    assert example.run("plan").code == 0


def test_airgapped(make_lab, tmp_path):
    """Consul is uploaded as a zip file, because the package source has none."""
    example = Example(make_lab(hosts=3), tmp_path)
    example.adapt((EXAMPLES / "airgapped.yml").read_text())
    consul = base64.b64decode(example.lab.exec("node1", ["base64", "-w0", "/usr/bin/consul"]).stdout)
    (tmp_path / "files").mkdir()
    with zipfile.ZipFile(tmp_path / "files/consul.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("consul", consul)
    for node in example.lab.hosts:
        example.sh(
            node,
            "dpkg --purge consul; printf 'Package: consul\\nPin: version *\\nPin-Priority: -1\\n' >/etc/apt/preferences.d/no-consul",
        )
    proven(example.run("up"), hosts=3, networks=1)
    assert example.sh("node2", "command -v consul; dpkg -s consul 2>/dev/null | wc -l").split() == [
        "/usr/local/bin/consul",
        "0",
    ]
    assert example.run("plan").code == 0


def test_etcd(make_lab, tmp_path):
    """On Debian 12, whose package has already started an empty etcd 3.4 without v2 on every host."""
    example = Example(make_lab(hosts=4, image="engine-20.10.24"), tmp_path)
    example.adapt((EXAMPLES / "etcd.yml").read_text())
    store, example.given["store"], example.given["control_plane"] = example.given["store"], {"kind": "consul"}, "kv"
    refused = example.run("up")  # the engines of Debian 12 are built without Consul's driver
    assert (refused.code, refused.report["writes"]) == (1, 0)
    assert {(f["check"], f["severity"]) for f in refused.report["findings"]} == {("driver-not-built", "stop")}
    example.given["store"] = store
    del example.given["control_plane"]
    proven(example.run("up"), hosts=4, networks=1)
    ask = "curl -s --unix-socket /run/provisioner-etcd/localhost:2379 http://etcd/version"
    assert [json.loads(example.sh(node, ask))["etcdserver"][:4] for node in ("node1", "node2", "node3")] == ["3.4."] * 3
    assert example.sh("node4", "ls /etc/etcd /var/lib/etcd/provisioner 2>/dev/null", check=False) == ""
    assert example.run("plan").code == 0


NODES = ("node1", "node2", "node3")
RESOLVE = "docker exec {} getent hosts {}"


def at_once(example: Example, script: str) -> None:
    """Run a script on all three hosts in parallel; each must succeed."""
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda node: example.sh(node, script.replace("NODE", node), timeout=120), NODES))


def test_zookeeper(make_lab, tmp_path):
    """Engines work on ZooKeeper as on the other stores, although they misread it. No operation fails, in parallel or alone."""
    example = Example(make_lab(hosts=3), tmp_path)
    example.adapt((EXAMPLES / "zookeeper.yml").read_text())
    proven(example.run("up"), hosts=3, networks=1)
    assert example.run("plan").code == 0
    look_as_today(example, "node2", "zookeeper-node2", ZooKeeper.sought)
    for node in NODES:
        example.box(node, node, "demo", "--restart always")
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda node: [example.box(node, f"{node}-{n}", "demo") for n in range(3)], NODES))
    at_once(example, "docker rm -f NODE-0 NODE-1 && docker network create -d overlay of-NODE")
    # Each host removes a network that another one has created.
    at_once(example, "docker rm -f NODE-2 && docker network rm of-$(echo NODE | tr 123 231)")
    assert example.sh("node3", "docker network ls -qf driver=overlay | wc -l") == "1"
    addresses = {node: example.sh(node, RESOLVE.format(node, node)).split()[0] for node in NODES}
    assert len(set(addresses.values())) == len(NODES)
    (leader,) = {summary["leader"] for summary in example.run("status").report["summaries"]} - {""}
    example.sh(leader, "systemctl stop zookeeper")
    example.box("node1", "late", "demo")
    assert example.sh("node2", f"for n in $(seq 20); do {RESOLVE.format('node2', 'late')} && exit; sleep 0.5; done")
    assert example.run("up").proven
    at_once(example, "systemctl restart docker")
    at_once(
        example,
        "for n in $(seq 60); do docker exec NODE getent hosts node1 node2 node3 && exit; sleep 0.5; done; exit 1",
    )
    servers = [f"{example.lab.address(node)}:2181" for node in NODES]
    example.given["store"] = {"kind": "zookeeper", "endpoints": servers}  # the same store, as an external one
    assert example.killed(1, "requested").code == -9, "killed as soon as it holds the store's lock"
    proven(example.run("up"), hosts=3, networks=1)
    assert example.run("plan").code == 0
    closed = "(echo 'setAcl / world:anyone:r'; sleep 1; echo quit) | /usr/share/zookeeper/bin/zkCli.sh -server 127.0.0.1:2181"
    example.sh("node1", closed)
    example.given["store"]["prefix"] = "other"  # nothing exists below this prefix, so the rights of the root node count
    found = {(f["check"], f["host"]) for f in example.run("plan").report["findings"]}
    assert found >= {("store-forbidden", node) for node in NODES}
    del example.given["store"]["prefix"]
    example.lab.stop("node3")
    gone = example.run("remove node3")
    assert (gone.code, gone.drifts("endpoints")) == (0, ["node3 on demo"]), gone.err
    example.box("node1", "node3", "demo")  # the name is free again


def test_external(make_lab, tmp_path):
    """A fourth host has an external etcd 3.5, which refuses clients without a certificate."""
    example = Example(make_lab(hosts=4, images={"node4": "etcd-3.5"}), tmp_path)
    example.adapt((EXAMPLES / "external.yml").read_text())
    assert [word.rpartition(":")[2] for word in example.given["store"]["endpoints"]] == ["2379"]
    example.given["store"]["endpoints"] = [f"{example.lab.address('node4')}:2379"]
    start_etcd(example, "node4", tmp_path / "files")
    proven(example.run("up"), hosts=3, networks=1)
    assert example.run("plan").code == 0


def without_unsupported_networks(example: Example) -> set[str]:
    """Remove the networks that this kernel does not support, after `up` has reported them without changes. Returns the others.

    tests/vagrant covers these networks on kernels that support them.
    """
    needed = {"sealed": "esp4", "vlan": "ipvlan"}
    has = {
        name
        for name, word in needed.items()
        if not example.sh("node1", f"grep -q ' {word}_' /proc/kallsyms || modprobe -nq {word} || echo no", check=False)
    }
    lacking = needed.keys() - has
    if lacking:
        run = example.run("up")
        assert (run.code, run.report["writes"]) == (1, 0)
        found = [
            (f["check"], f["host"], f["what"].split()[2]) for f in run.report["findings"] if f["severity"] == "stop"
        ]
        assert sorted(found) == sorted(("kernel-without", host, name) for host in example.lab.hosts for name in lacking)
    for name in lacking:
        del example.given["networks"][name]
    return has


def test_swarm(make_lab, tmp_path):
    example = Example(make_lab(hosts=5, image="engine-26"), tmp_path)
    example.adapt((EXAMPLES / "swarm.yml").read_text().replace("192.0.2.", "192.168.56."))
    has = without_unsupported_networks(example)
    run = example.run("up")
    proven(run, hosts=5, networks=1 + ("sealed" in has))
    assert [p["network"] for p in run.report["proofs"] if p["proof"] == "local"] == ["vlan"] * ("vlan" in has)
    roles = {s["host"]: s["store_role"] for s in example.run("status").report["summaries"]}
    assert roles == dict.fromkeys(example.lab.hosts, "manager")
    assert "4790" in example.sh("node2", "iptables-save | grep 'dports.*PROVISIONER-PEERS'")
    assert (
        example.sh("node3", "docker network inspect -f '{{(index .IPAM.Config 0).Subnet}}' ingress") == "10.20.0.0/24"
    )
    assert example.run("plan").code == 0


def jumbo(lab: Lab, hosts: dict[str, str]) -> None:
    """Set an MTU of 9000 bytes on the lab's network, as the inventory assumes."""
    with lab.enter():
        for node in hosts:
            subprocess.run(["ip", "link", "set", node, "mtu", "9000"], check=True)
    for node, interface in hosts.items():
        lab.exec(node, ["ip", "link", "set", interface, "mtu", "9000"])


def test_large(make_lab, tmp_path):
    example = Example(make_lab(hosts=7), tmp_path)
    example.adapt((EXAMPLES / "large.yml").read_text())
    names = [h.get("advertise", "eth1") for h in example.given["hosts"].values()]
    jumbo(example.lab, {n: "eth0" if a[0].isdigit() else a for n, a in zip(example.lab.hosts, names, strict=True)})
    run = example.run("up")
    proven(run, hosts=7, networks=4)
    roles = {s["host"]: s["store_role"] for s in example.run("status").report["summaries"]}
    assert {host for host, role in roles.items() if role == "server"} == {
        "store1",
        "store2",
        "store3",
        "web1",
        "batch1",
    }
    assert {p["network"]: p["mtu"] for p in run.overlays} == {
        "frontend": 1450,
        "backend": 1450,
        "database": 1450,
        "bulk": 8950,
    }
    assert example.run("plan").code == 0
