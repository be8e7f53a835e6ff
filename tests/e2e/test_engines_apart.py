"""Engines that do not find one another by gossip: each lists the networks, but no packet passes between them."""

from __future__ import annotations

import pytest

from tests.e2e.cluster import Cluster

pytestmark = pytest.mark.lab

NODES = ("node1", "node2", "node3")
# In the raw table, where the firewall step looks for no drift.
BLOCK = "iptables -t raw -A {chain} -p {protocol} --dport 7946 -{way} eth0 -j DROP"


def test_engines_that_stayed_apart_are_found_named_and_brought_together_without_a_restart(make_lab, tmp_path):
    cluster = Cluster(make_lab(hosts=3), tmp_path)
    for protocol in ("tcp", "udp"):
        for chain, way in (("PREROUTING", "i"), ("OUTPUT", "o")):
            cluster.sh("node1", BLOCK.format(chain=chain, protocol=protocol, way=way))
    run = cluster.run("up")
    assert run.code == 1
    assert [host for host in NODES if run.state("gossip", host) == "failed"] == ["node1"]
    error = run.outcome("gossip", "node1")["error"]
    assert "without node2, node3" in error
    assert "7946/tcp and 7946/udp" in error
    assert {(p["source"], p["target"]) for p in run.report["proofs"][0]["pairs"]} == {
        ("node2", "node3"),
        ("node3", "node2"),
    }

    run = cluster.run("plan")
    assert run.code == 2
    assert [d["found"] for d in run.outcome("gossip", "node1")["drifts"]] == ["without node2, node3"]
    before = {host: cluster.sh(host, "systemctl show -p MainPID docker") for host in NODES}
    cluster.sh("node1", "iptables -t raw -F")  # from now on they may sometimes find one another by themselves
    cluster.up()
    assert {host: cluster.sh(host, "systemctl show -p MainPID docker") for host in NODES} == before
    assert cluster.run("plan").code == 0
