"""`doctor --manager` and `inventory import swarm` on a swarm made by hand, of one or two kinds of engines, with settings of its own."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from provisioner.lab import enter_switch
from tests.e2e.cluster import Cluster, Run
from tests.e2e.loaded import Provisioner
from tests.e2e.test_collect import leaked, members
from tests.e2e.test_doctor import ALL, SEED

if TYPE_CHECKING:
    from provisioner.lab import Lab

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]

IMAGES = (
    ("engine-20.10", "engine-26"),
    ("engine-28", "engine-28"),
    ("engine-28", "engine-20.10"),
    ("engine-26", "engine-28"),
)

INIT = (
    "docker swarm init --advertise-addr 192.168.56.11 --data-path-port 5789"
    " --default-addr-pool 10.77.0.0/16 --default-addr-pool-mask-length 25"
)
NETWORKS = "docker network create -d overlay --attachable front; docker network create -d overlay --label tier=2 back"


def run(cluster: Cluster, *words: str, host: str = "node1") -> Run:
    """Run a command about the manager of the swarm, whose hosts' keys are known."""
    known = str(cluster.folder / "known_hosts")
    argv = [*words, f"root@{cluster.lab.address(host)}", "--key", str(cluster.lab.key), "--known-hosts", known]
    return cluster.ended(Provisioner(argv, [partial(enter_switch, cluster.lab.name)]))


def doctor(cluster: Cluster, *options: str, host: str = "node1") -> Run:
    return run(cluster, "doctor", "--json", *options, "--manager", host=host)


def causes(found: Run) -> list[tuple[str, list[str]]]:
    return [(cause["id"], cause["hosts"]) for cause in found.report["causes"]]


def state(cluster: Cluster) -> list[str]:
    """What a run could have left: files, containers, images, rules; and the version of the swarm."""
    left = "ls -d /etc/provisioner* /run/provisioner* 2>&1; docker ps -aq; docker images -q; iptables-save | grep -ci provisioner"
    here = [cluster.sh(host, left, check=False) for host in ("node1", "node2")]
    return [*here, cluster.engine("node1", "Swarm.Cluster.Version.Index")]


def test_a_swarm_of_others_is_examined_and_imported(make_lab, tmp_path: Path) -> None:
    """On one pair of engines, chosen by the seed; on all of them with PROVISIONER_ALL=1."""
    for images in IMAGES if ALL else [random.Random(SEED).choice(IMAGES)]:
        print(f"seed {SEED}: {images}")
        folder = tmp_path / "-".join(images)
        folder.mkdir()
        swarm_of_others(make_lab(hosts=2, images=dict(zip(("node1", "node2"), images, strict=True))), folder)


def swarm_of_others(lab: Lab, tmp_path: Path) -> None:
    cluster = Cluster(lab, tmp_path, store="")
    cluster.run("status")  # writes known_hosts
    cluster.sh("node1", INIT)
    token = cluster.sh("node1", "docker swarm join-token -q worker")
    cluster.sh("node2", f"docker swarm join --token {token} 192.168.56.11:2377")
    cluster.sh("node1", NETWORKS)
    before = state(cluster)

    found = doctor(cluster, "--reach-nodes")
    assert (found.code, causes(found), found.report["writes"]) == (0, [], 0), found.err
    assert [(p["network"], p["state"], len(p["pairs"])) for p in found.report["proofs"] if p["pairs"]] == [
        ("front", "settled", 2)
    ]
    assert "5789/udp 2 of 2" in str(found.report)
    alone = doctor(cluster)
    assert (alone.code, alone.report["hosts"], causes(alone)) == (0, ["node1"], [("nodes-unexamined", [])]), alone.err
    worker = doctor(cluster, host="node2")
    assert (worker.code, "192.168.56.11" in worker.report["errors"][0]) == (64, True)

    cluster.sh("node2", "iptables -I INPUT -p udp --dport 5789 -j DROP")
    blocked = doctor(cluster, "--reach-nodes", "--collect", str(tmp_path))
    assert (blocked.code, causes(blocked)[:1]) == (1, [("vxlan-blocked", ["node1", "node2"])]), blocked.err
    files = members(Path(blocked.report["archive"]["path"]))
    assert leaked(files, {"join token": token.rpartition("-")[2]}) == []
    assert {"node1/swarm.json", "node1/nodes.json", "node1/packets.pcap", "node2/packets.pcap"} <= set(files)
    assert b"SWMTKN" not in files["node1/swarm.json"]
    cluster.sh("node2", "iptables -D INPUT -p udp --dport 5789 -j DROP; systemctl stop docker.socket docker")
    stopped = doctor(cluster, "--reach-nodes")
    assert (stopped.code, causes(stopped)[:1]) == (1, [("engine-down", ["node2"])]), stopped.err
    cluster.sh("node2", "systemctl start docker")
    assert state(cluster)[:2] == before[:2]

    imported = run(cluster, "inventory", "import", "swarm")
    assert (imported.code, "for each host, `plan` shows" in imported.err) == (0, True)
    file = tmp_path / "swarm.yml"
    file.write_text(imported.out)
    plan = cluster.ended(Provisioner(["plan", "--json", str(file)], [partial(enter_switch, cluster.lab.name)]))
    assert plan.code == 2, plan.err
    assert not plan.report["findings"]
    assert {plan.state(step, host) for step in ("swarm", "networks") for host in ("node1", "node2")} == {"settled"}
