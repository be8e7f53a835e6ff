"""`--limit` on real hosts: only the named ones are changed, proven and reported, and what all hosts share stays as it is."""

from __future__ import annotations

import time

import pytest

from provisioner.lab import FAULTS
from tests.e2e.typed import QUESTION, asked

pytestmark = pytest.mark.lab

NODES = ("node1", "node2", "node3")
DRIFTS = "rm /etc/provisioner/firewall.sh; iptables -t mangle -F PROVISIONER-FORWARD"
WRITTEN = "find /etc /run/provisioner* /var/lib/provisioner -newer /root/mark -type f 2>/dev/null | sort; true"


def hosts(run) -> set[str]:
    return {outcome["host"] for outcome in run.report["outcomes"]}


def test_only_the_named_host_is_repaired_and_proven(settled):
    cluster = settled("consul")
    for host in NODES[1:]:
        cluster.sh(host, DRIFTS)
    planned = cluster.run("plan", "--limit", "node2")
    assert (planned.code, hosts(planned), planned.report["limit"]) == (2, {"node2"}, ["node2"])
    assert planned.report["verdict"].startswith("1 of 3 hosts: 1 would change")
    for host in NODES:
        cluster.sh(host, "touch /root/mark")
    time.sleep(1)

    run, shown = asked(cluster, "up", ("y", lambda: None), options=("--limit", "node2"))
    assert (run.code, shown.count(QUESTION)) == (0, 1), shown
    assert run.state("firewall", "node2") == "converged"
    assert "/etc/provisioner/firewall.sh" in cluster.sh("node2", WRITTEN)
    assert [cluster.sh(host, WRITTEN) for host in ("node1", "node3")] == ["", ""], "nothing was written elsewhere"
    (overlay,) = run.overlays
    assert {(pair["source"], pair["target"]) for pair in overlay["pairs"]} == {
        ("node1", "node2"), ("node2", "node1"), ("node2", "node3"), ("node3", "node2")
    }  # fmt: skip
    assert run.report["verdict"].startswith("proven: 1 of 3 hosts, 4 of 4 pairs on demo"), run.err
    rest = cluster.run("plan")
    assert {o["host"] for o in rest.report["outcomes"] if o["state"] == "drifted"} == {"node3"}

    unknown = cluster.run("up", "--limit", "node2,nodd3")
    assert (unknown.code, "did you mean `node3`?" in unknown.err) == (64, True)
    paths_of_other_hosts_do_not_count(cluster)


def paths_of_other_hosts_do_not_count(cluster) -> None:
    """The path from node3 to node2 is blocked, which node1 does not notice."""
    cluster.up()
    cluster.lab.break_(FAULTS["vxlan-blocked-from"], "node2", "node3")
    verified = cluster.run("verify", "--limit", "node1")
    assert (verified.code, verified.proven, hosts(verified)) == (0, True, {"node1"}), verified.err
    verified = cluster.run("verify", "--limit", "node3")
    assert (verified.code, len(verified.overlays[0]["pairs"])) == (1, 4)
    assert not any({pair["source"], pair["target"]} == {"node1", "node2"} for pair in verified.overlays[0]["pairs"])
    healthy = cluster.run("doctor", "--limit", "node1")
    assert (healthy.code, healthy.report["causes"]) == (0, []), healthy.err
    assert all("node1" in (path["source"], path["target"]) for path in healthy.report["paths"])
    ill = cluster.run("doctor", "--limit", "node3", "--fix", "--yes")
    assert ill.report["causes"][0]["id"] == FAULTS["vxlan-blocked-from"].cause
    assert all(fix["state"] == "skipped" for fix in ill.report["fixes"] if fix["host"] != "node3")
    cluster.lab.heal()


def test_the_members_of_the_swarm_stay(settled):
    cluster = settled("swarm-26")
    cluster.sh("node3", "docker swarm leave --force")
    refused = cluster.run("up", "--limit", "node3")
    assert (refused.code, refused.report["writes"]) == (1, 0), refused.err
    assert [failure["check"] for failure in refused.report["failures"]] == ["beyond-limit"]
    assert "node3: the swarm (join)" in refused.err
    assert cluster.engine("node3", "Swarm.LocalNodeState") == "inactive"
    planned = cluster.run("plan", "--limit", "node3")
    assert (planned.code, planned.drifts("swarm")) == (1, ["the swarm"])
    # An engine that was stopped is started, and is in the swarm again without a change of the members.
    cluster.sh("node2", "systemctl stop docker.socket docker")
    run = cluster.run("up", "--limit", "node2")
    assert run.state("daemon", "node2") == "converged", run.err
    assert cluster.engine("node2", "Swarm.LocalNodeState") == "active"
