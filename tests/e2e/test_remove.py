"""Hosts leave a cluster that keeps running: reachable hosts with containers, and dead hosts that leave endpoints behind."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.e2e.cluster import PROBE_IMAGE, Cluster
from tests.e2e.watch import NEW, watching

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.lab

# Everything on a host that could be ours. Only the store's data and daemon.json are kept, as .bak files.
TRACES = (
    "find /etc -path '*provisioner*' -o -path '/etc/consul.d/*' -o -name daemon.json; ls -A /etc/systemd/system/docker.service.d;"
    "iptables-save | grep PROVISIONER; ip6tables-save | grep PROVISIONER; systemctl list-unit-files --state=enabled | grep -e consul -e etcd -e provisioner;"
    "systemctl is-active consul etcd | grep -x active; ss -Hlntu | grep -e :7946 -e :8300 -e :8301 -e :2379 -e :2380; docker network ls -q --filter driver=overlay"
)

FILTER = (
    "add table inet mine; add chain inet mine input { type filter hook input priority 0; policy drop; };"
    "add rule inet mine input ct state established,related accept; add rule inet mine input iif lo accept;"
    "add rule inet mine input tcp dport 22 accept; add rule inet mine input meta l4proto icmp accept"
)


def test_a_server_with_containers_then_one_that_is_gone(settled, record_property):
    cluster = settled("consul")
    fresh = traces(cluster, cluster.lab.add())
    cluster.up()
    cluster.box("node1", "plain")
    cluster.box("node1", "web", "demo")
    before = cluster.started("node1", "plain"), cluster.started("node1", "web")

    refused = cluster.run("remove node1")
    assert refused.code == 1
    assert [f["check"] for f in refused.report["findings"]] == ["containers-attached"]
    assert "web (demo)" in refused.err
    planned = cluster.run("remove node1", "--plan", "--drain")
    assert (planned.code, planned.report["command"], planned.report["removed"]) == (2, "plan", "node1")
    for step in ("drain", "leave-engine", "leave", "members", "firewall", "store"):
        assert planned.drifts(step), step
    assert refused.report["writes"] == planned.report["writes"] == 0

    # node4's agent restarts, because it becomes a server.
    with watching(cluster, ("node2", "node3", "node4"), record_property, "remove a server of Consul", patience=30):
        removed = cluster.run("remove node1", "--drain")
    assert removed.code == 0, removed.err
    assert removed.proven
    assert "node1 is removed; proven: 3 hosts" in removed.report["verdict"]
    # A container of the watch may end after the store was read and before its host is.
    assert [f["check"] for f in removed.report["findings"] if NEW not in f["what"]] == ["still-named"]
    assert voters(cluster, "node2") == {"node2", "node3", "node4"}, "node4 has become a server in place of node1"
    assert (cluster.started("node1", "plain"), cluster.started("node1", "web")) == before, "its containers kept running"
    assert traces(cluster, "node1") == fresh
    assert cluster.engine("node1", "LiveRestoreEnabled") == "false"
    status_leaves_it_out(cluster)
    assert cluster.sh("node1", "ls -d /var/lib/consul.*.bak/raft | wc -l") == "1"
    assert cluster.sh("node1", "ls /etc/docker/*.bak /var/lib/provisioner 2>/dev/null", check=False) == ""
    for host in ("node2", "node3", "node4"):
        assert "192.168.56.11" not in cluster.sh(host, "iptables-save | grep PROVISIONER-PEERS")

    # The power of node4 is cut. The names and addresses of its containers stay in the store.
    cluster.hosts = ("node2", "node3", "node4")
    cluster.box("node4", "mine", "demo", "--ip 10.99.0.77")
    cluster.lab.stop("node4")
    cluster.ssh = ", connect_timeout: 3"
    cluster.box("node2", "other")
    again = cluster.sh(
        "node2", f"docker run -d --name mine --network demo --ip 10.99.0.77 {PROBE_IMAGE} true 2>&1", check=False
    )
    assert "already" in again, "the name is taken; the failed command leaves a container of that name on node2"
    plan_reports_its_endpoint(cluster)
    gone = cluster.run("remove 192.168.56.14")
    assert gone.code == 0, gone.err
    assert gone.proven
    assert sorted(f["check"] for f in gone.report["findings"]) == ["even-servers", "host-gone", "still-named"]
    assert gone.state("endpoints", "node3") == "converged", "repaired by a host without a container of that name"
    assert voters(cluster, "node2") == {"node2", "node3"}
    cluster.sh("node2", "docker rm -f mine")
    cluster.box("node2", "mine", "demo", "--ip 10.99.0.77")

    # A removed host can be added again.
    cluster.hosts = ("node1", "node2", "node3")
    cluster.up()
    cluster.hosts = ("node1", "node2")
    last = cluster.run("remove node9")
    assert last.code == 1
    assert [f["check"] for f in last.report["findings"] if f["severity"] == "stop"] == ["unknown-host"]


def status_leaves_it_out(cluster: Cluster) -> None:
    """node1 has neither store nor networks, so status does not list these as common to all hosts."""
    status = cluster.run("status")
    assert (status.code, status.report["verdict"]) == (0, "4 hosts: all reached"), status.err
    left = next(s for s in status.report["summaries"] if s["host"] == "node1")
    assert {"store", "store_role", "leader", "networks"} <= set(left["absent"])
    assert not {"store", "leader", "networks"} & set(status.err.partition("on all hosts  ")[2].split())


def plan_reports_its_endpoint(cluster: Cluster) -> None:
    """A plan without node4 in the inventory reports the endpoint that node4 left, and the cure."""
    hosts, cluster.hosts = cluster.hosts, ("node2", "node3")
    (left,) = [f for f in cluster.run("plan").report["findings"] if f["check"] == "endpoint-left"]
    assert "mine on demo" in left["what"]
    assert f"provisioner remove 192.168.56.14 {cluster.inventory}" in left["cure"]
    cluster.hosts = hosts


def test_a_manager_of_a_swarm(make_lab, tmp_path: Path):
    cluster = Cluster(make_lab(hosts=4, image="engine-26"), tmp_path, store="")
    cluster.sh("node1", f"nft '{FILTER}'")
    fresh = traces(cluster, "node1")
    cluster.up()

    # A worker whose power was cut is removed from the swarm.
    cluster.lab.stop("node4")
    cluster.ssh = ", connect_timeout: 3"
    gone = cluster.run("remove node4")
    assert gone.code == 0, gone.err
    assert "host-gone" in {f["check"] for f in gone.report["findings"]}
    assert "node4" not in cluster.sh("node1", "docker node ls --format '{{.Hostname}}'").split()
    assert "jump provisioner" in cluster.sh("node1", "nft list chain inet mine input")
    cluster.hosts = ("node1", "node2", "node3")

    cluster.box("node1", "web", "demo")
    before = cluster.started("node1", "web")
    assert cluster.run("remove node1").report["findings"][0]["check"] == "containers-attached"
    removed = cluster.run("remove node1", "--drain")
    assert removed.code == 0, removed.err
    assert removed.proven
    assert cluster.engine("node1", "Swarm.LocalNodeState") == "inactive"
    assert cluster.started("node1", "web") == before
    assert traces(cluster, "node1") == fresh
    assert "provisioner" not in cluster.sh("node1", "nft list ruleset")
    managers = cluster.sh("node2", "docker node ls --format '{{.Hostname}} {{.ManagerStatus}}'").split("\n")
    assert {line.split()[0] for line in managers if len(line.split()) > 1} == {"node2", "node3"}
    cluster.hosts = ("node2", "node3")
    cluster.lab.stop("node3")
    refused = cluster.run("remove node3")
    assert refused.code == 1
    assert "no-quorum" in [f["check"] for f in refused.report["findings"]], refused.err
    assert refused.report["writes"] == 0


def traces(cluster: Cluster, host: str) -> str:
    return cluster.sh(host, f"({TRACES}) 2>/dev/null", check=False)


def voters(cluster: Cluster, host: str) -> set[str]:
    token = "$(grep -o '[0-9a-f-]\\{36\\}' /etc/consul.d/provisioner-management.json)"  # the path is in docs/hosts.md
    peers = cluster.sh(host, f"CONSUL_HTTP_TOKEN={token} consul operator raft list-peers")
    return {line.split()[0] for line in peers.splitlines()[1:] if line.split()[4] == "true"}


def members(cluster: Cluster) -> set[str]:
    """The names of etcd's members."""
    socket = "/run/provisioner-etcd/localhost:2379"
    answer = cluster.sh("node2", f"curl -s --unix-socket {socket} http://localhost/v2/members")
    return {member["name"] for member in json.loads(answer)["members"]}


def test_a_member_of_etcd(settled):
    cluster = settled("etcd")
    fresh = traces(cluster, cluster.lab.add())
    cluster.hosts = ("node2", "node3")
    command = "remove 192.168.56.11"  # node1 is no longer in the inventory, so it is named by the address that the servers know
    while len(members(cluster)) == 3:  # kill the run at each write, until the one that removes node1 from etcd
        assert cluster.killed(1, command=command).code == -9
    assert members(cluster) == {"node2", "node3"}
    removed = cluster.run(command)
    assert removed.code == 0, removed.err
    assert removed.proven
    assert members(cluster) == {"node2", "node3"}
    assert traces(cluster, "node1") == fresh
    assert cluster.sh("node1", "ls -d /var/lib/etcd/provisioner.*.bak/member | wc -l") == "1"


def test_a_server_of_consul_that_has_a_new_name_in_the_inventory(settled):
    """The server keeps its name, because Consul would drop a renamed server from the quorum. To rename it, remove and add it."""
    cluster = settled("consul")
    cluster.called = {"node3": "db"}
    run = cluster.run("up")
    assert (run.code, run.report["writes"]) == (1, 0)
    assert [(f["check"], f["host"]) for f in run.report["findings"]] == [("renamed-host", "db")]
    assert "its Consul agent is called node3" in run.report["lost"]["db"]
    assert len(run.report["proofs"][0]["pairs"]) == 2

    cluster.called = {}
    removed = cluster.run("remove node3")
    assert removed.code == 0, removed.err
    cluster.called = {"node3": "db"}
    run = cluster.up()
    assert {pair["source"] for pair in run.report["proofs"][0]["pairs"]} == {"node1", "node2", "db"}
    assert cluster.run("plan").code == 0
