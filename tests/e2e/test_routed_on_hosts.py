"""Hosts on two segments with a router between them: networks are proven, and `doctor` names what the router does to packets."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from provisioner.lab import FAULTS, Topology
from tests import results
from tests.e2e.cluster import Cluster
from tests.e2e.test_doctor import HOSTS, containers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from provisioner.lab import Lab

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1500)]

# Faults on paths to node2, which is alone on the second segment, and where `doctor` locates each.
BETWEEN = {
    "router-drops": "between node1 and node2",
    "between": "between node1 and node2",
    "between-from": "between node1 and node2",
    "gossip-between": "between node1 and node2",
    "router-mtu": "paths of node2",
    "router-mtu-silent": "path between node1 and node2",
    "router-nat": "between node1 and node2",
}
ONLY_PORTS = """table ip twin { chain c { type nat hook postrouting priority 100;
ip saddr 192.168.56.11 ip daddr 192.168.57.12 meta l4proto { tcp, udp } counter snat to 192.168.56.11:1024-1999; }; }"""
DATA_PORT = 4790


@pytest.fixture(scope="module")
def lab(make_lab_for_all) -> Lab:
    return make_lab_for_all(hosts=3, topology=Topology.ROUTED)


@pytest.fixture
def cluster(lab: Lab, tmp_path: Path) -> Cluster:
    return Cluster(lab, tmp_path)


@pytest.fixture
def router(lab: Lab) -> Callable[..., str]:
    """Runs a program of node1 on the router."""

    def run(*argv: str) -> str:
        spaces = (f"--net={lab.folder / 'router'}", f"--mount=/proc/{lab._host('node1').init}/ns/mnt")
        return subprocess.run(["nsenter", *spaces, *argv], check=True, stdout=subprocess.PIPE, text=True).stdout

    return run


def broken(cluster: Cluster, name: str) -> dict[str, str]:
    """Make a fault on the paths to node2, and return the first cause that `doctor` names, and `verify` too. `verify` passes afterwards."""
    fault = FAULTS[name]
    cluster.lab.break_(fault, "node2", "node1" if fault.place.pair else "")
    verified, run = cluster.run("verify"), cluster.run("doctor")
    cluster.lab.heal()
    for host in HOSTS:  # the kernels remember what routers have reported
        cluster.sh(host, "ip route flush cache")
    first = (
        run.report["causes"][0]
        if run.report["causes"]
        else {"id": "none", "where": run.err, "commands": [], "fixable": False}
    )
    results.record(
        name, "routed", "found", worked=first["id"] == fault.cause, seconds=run.report["seconds"], cause=first
    )
    assert first["id"] in {cause["id"] for cause in verified.report["causes"]}, verified.err
    assert cluster.run("verify").proven
    return {"id": first["id"], "where": first["where"]}


def test_a_network_through_a_router_is_proven_and_each_fault_is_named_first(cluster, router):
    assert cluster.run("up").proven
    containers(cluster)
    router("nft", ONLY_PORTS)  # VXLAN and gossip accept packets from any port of a known address
    healthy = cluster.run("doctor")
    assert (healthy.code, healthy.report["causes"]) == (0, []), healthy.err
    assert "packets 0 " not in router("nft", "list", "table", "ip", "twin")
    router("nft", "delete", "table", "ip", "twin")
    found = {name: broken(cluster, name) for name in BETWEEN}
    assert found == {name: {"id": FAULTS[name].cause, "where": where} for name, where in BETWEEN.items()}


def test_in_a_swarm_faults_block_the_data_port_that_it_has(cluster):
    cluster.lab.reset()
    cluster.store, cluster.extra = "", f"swarm: {{data_path_port: {DATA_PORT}}}"
    assert cluster.run("up").proven
    assert cluster.run("doctor").report["causes"] == []
    for name, where in (("router-drops", "between node1 and node2"), ("vxlan-blocked", "")):
        first = broken(cluster, name)
        assert first["id"] == "vxlan-blocked"
        assert where in first["where"]


def test_nat_between_the_segments_is_named_before_what_follows_from_it(cluster, router):
    """As in a lab of the topology "nat". The network was proven before, so that everything else is in order."""
    router("nft", "table ip outside { chain c { type nat hook postrouting priority 100; }; }")
    router("nft", "add rule ip outside c ip saddr 192.168.57.0/24 oifname eth0 masquerade")
    cluster.store, cluster.extra = "", f"swarm: {{data_path_port: {DATA_PORT}}}"
    run = cluster.run("doctor")
    assert run.report["causes"][0]["id"] == "nat-between", run.err
    assert "with the source address 192.168.56.254" in run.err

    # Fresh hosts do not become a cluster, and `up` says why. Whether the store gets a leader is a matter of chance.
    cluster.lab.reset()
    cluster.store, cluster.extra = "{kind: consul}", ""
    up = cluster.run("up")
    assert {failure["check"] for failure in up.report["failures"]} <= {"store-no-leader", "not-converged", "timed-out"}
    assert (up.code, [cause["id"] for cause in up.report["causes"]][:1]) == (1, ["nat-between"]), up.err

    cluster.lab.reset()
    cluster.store, cluster.extra = "", "control_plane: swarm"
    up = cluster.run("up")
    assert [(each["host"], each["check"]) for each in up.report["failures"]] == [("node2", "join-unanswered")], up.err
    assert (up.code, [cause["id"] for cause in up.report["causes"]][:1]) == (1, ["nat-between"]), up.err
    first = cluster.run("doctor").report["causes"][0]
    assert (first["id"], first["explains"] > 0) == ("nat-between", True)
    router("nft", "delete", "table", "ip", "outside")
    assert cluster.run("up").proven
