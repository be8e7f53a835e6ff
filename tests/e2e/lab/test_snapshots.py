"""Snapshots of settled hosts, with real hosts: each restores a working cluster, without anything from its last use."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from provisioner import labs
from provisioner.errors import LabError
from provisioner.lab import Lab, Topology
from provisioner.lab.host import Host
from provisioner.lab.snapshot import SETTLED
from tests.e2e.cluster import Cluster
from tests.e2e.lab.test_lab import as_typed, ssh, traces

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]

# A line for each file: type, owner, time, device, size, number of links, extended attributes and content.
EVERYTHING = """
import os, sys, hashlib
for folder, folders, files in os.walk(sys.argv[1]):
    folders.sort()
    for path in sorted(os.path.join(folder, name) for name in [*folders, *files]):
        s = os.lstat(path)
        marks = {name: os.getxattr(path, name, follow_symlinks=False) for name in sorted(os.listxattr(path, follow_symlinks=False))}
        what = os.readlink(path) if os.path.islink(path) else hashlib.sha256(open(path, "rb").read()).hexdigest() if os.path.isfile(path) else ""
        size = 0 if os.path.isdir(path) else s.st_size
        links = 0 if os.path.isdir(path) else s.st_nlink
        print(os.path.relpath(path, sys.argv[1]), oct(s.st_mode), s.st_uid, s.st_gid, s.st_mtime_ns, s.st_rdev, size, links, marks, what)
"""


def proven(cluster: Cluster) -> None:
    run = cluster.run("verify")
    assert (run.code, run.proven, run.report["writes"]) == (0, True, 0), run.err
    assert len(run.report["proofs"][0]["pairs"]) == 6


@pytest.mark.parametrize("kind", [name.removeprefix("settled-") for name in SETTLED])
def test_settled_hosts_are_a_proven_network_at_once(settled, kind):
    cluster = settled(kind)
    run = cluster.up()
    assert run.report["writes"] == 0
    assert len(run.report["proofs"][0]["pairs"]) == 6
    assert {cluster.sh(host, "systemctl is-system-running") for host in cluster.lab.hosts} == {"running"}


class TestUse:
    @pytest.mark.parametrize("memory", ["0", "1"], ids=["on disk", "in memory"])
    def test_a_reset_restores_nothing_of_the_last_use(self, make_lab, monkeypatch, tmp_path, memory):
        monkeypatch.setenv("PROVISIONER_LAB_IN_MEMORY", memory)
        lab = make_lab(hosts=1)
        lab.reset(to="settled-consul")
        cluster = Cluster(lab, tmp_path)
        before = cluster.sh("node2", "cat /etc/machine-id /etc/ssh/ssh_host_ed25519_key.pub")
        cluster.box("node1", "left", network="demo")
        cluster.sh(
            "node2",
            "rm /etc/provisioner/firewall.sh; touch /root/left; ip link add left type bridge; iptables -I INPUT -s 10.1.1.1 -j DROP",
        )
        cluster.sh("node3", "systemctl stop consul; rm -r /var/lib/consul /etc/consul.d")
        assert lab.add() == "node4"
        lab.cut("node2")
        began = time.monotonic()
        lab.reset(to="settled-consul")
        assert time.monotonic() - began < 60  # usually 4 s; more while other labs run
        assert lab.hosts == ("node1", "node2", "node3")
        assert cluster.sh("node1", "docker ps -aq") == ""
        assert cluster.sh("node2", "ls /root; ip link show left; iptables -S | grep 10.1.1.1", check=False) == ""
        assert cluster.sh("node2", "cat /etc/machine-id /etc/ssh/ssh_host_ed25519_key.pub") == before
        proven(cluster)

        # First one new host with two settled ones, then only new hosts.
        lab.reset(["node3"])
        assert ssh(lab, "node3", "ls /etc/provisioner /etc/consul.d/provisioner.json 2>/dev/null; hostname") == "node3"
        assert cluster.run("plan").code == 2
        cluster.up()
        lab.reset()
        assert cluster.sh("node1", "ls /etc/provisioner", check=False) == ""
        assert f"cluster: {lab.name}\n" in lab.inventory()

    def test_the_commands_that_users_type(self, make_lab, tmp_path):
        lab = make_lab(hosts=1)
        assert as_typed("reset", "--name", lab.name, "--to", "settled-etcd", timeout=600) == (0, "")
        inventory = tmp_path / "lab.yml"
        inventory.write_text(as_typed("inventory", "--name", lab.name)[1])
        assert "store: {kind: etcd}\n" in inventory.read_text()
        assert (
            as_typed("run", "--name", lab.name, "--", sys.executable, "-m", "provisioner", "plan", str(inventory))[0]
            == 0
        )
        assert as_typed("reset", "--name", lab.name, "--to", "settled-redis")[0] == 1
        assert as_typed("reset", "--name", lab.name, "--to", "settled-etcd", "node1")[0] == 64
        with pytest.raises(LabError, match="there is no snapshot 'settled-redis'"):
            lab.reset(to="settled-redis")
        assert ssh(lab, "node3", "hostname") == "node3", "the reset was refused before it removed anything"


class TestMaking:
    def test_leftovers_of_a_killed_reset_are_removed(self, monkeypatch, tmp_path):
        monkeypatch.setenv("PROVISIONER_LAB_DIR", str(tmp_path))
        (tmp_path / "images").symlink_to(Path(labs.DEFAULT_DIR, "images"))
        name = f"test-{os.getpid()}-kept"
        lab = Lab.up(name, hosts=1)
        try:
            code = f"from provisioner.lab import Lab; Lab.open({name!r}).reset(to='settled-consul')"
            process = subprocess.Popen([sys.executable, "-c", code])
            maker = f"settled-consul-{process.pid}"
            until = time.monotonic() + 60
            while not (tmp_path / "labs" / maker / "inventory.yml").exists() and time.monotonic() < until:
                time.sleep(0.05)
            time.sleep(1)
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert traces(maker)
            assert ssh(lab, "node1", "hostname") == "node1", "the lab is unchanged"
        finally:
            lab.down()
        assert traces(maker) == []
        assert list(tmp_path.glob("snapshots/*/*")) == []

    def test_files_keep_all_their_attributes(self, tmp_path):
        lab, image = tmp_path / "lab", tmp_path / "image"
        host = Host(lab, 1, image, Topology.FLAT)
        upper = host.folder / "upper"
        for folder in (upper / "opaque", host.folder / "seed", host.folder / "docker", host.folder / "containerd"):
            folder.mkdir(parents=True)
        os.setxattr(upper / "opaque", "trusted.overlay.opaque", b"y")
        os.mknod(upper / "whiteout", 0o600 | 0o020000, 0)
        os.mkfifo(upper / "fifo")
        (upper / "program").write_text("program")
        os.chown(upper / "program", 1234, 4321)
        (upper / "program").chmod(0o4750)
        os.link(upper / "program", upper / "linked")
        os.setxattr(upper / "program", "trusted.overlay.origin", b"\0\1")
        (upper / "link").symlink_to("nowhere")
        (host.folder / "docker" / "log").write_bytes(bytes(64 << 20))
        (host.folder / "docker").chmod(0o710)
        os.utime(upper / "program", (1, 1))
        before = {part: everything(host.folder / part) for part in ("upper", "docker")}
        assert "trusted.overlay.opaque" in before["upper"]
        kept = tmp_path / "kept"
        host.keep(kept)
        assert everything(kept / "upper") == before["upper"]
        restored = Host(tmp_path / "other", 1, image, Topology.FLAT)
        restored.restore(kept)
        assert everything(restored.folder / "docker") == before["docker"]
        assert (restored.folder / "docker/log").stat().st_blocks < 100, (
            "zeros take no blocks; the journals of stores are mostly zeros"
        )
        assert (restored.folder / "docker").stat().st_mode & 0o777 == 0o710
        assert restored._lower == f"{kept}/upper:{image}/root"
        restored.wipe()
        assert restored._lower == f"{image}/root"


def everything(folder: Path) -> str:
    return subprocess.run(
        [sys.executable, "-c", EVERYTHING, str(folder)], check=True, capture_output=True, text=True
    ).stdout
