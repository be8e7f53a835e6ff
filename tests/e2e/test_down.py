"""`down` restores hosts to their earlier state, with every control plane, and removes nothing that belongs to others."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.e2e import fingerprint
from tests.e2e.cluster import Cluster

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.lab

FILTER = (
    "add table inet mine; add chain inet mine input { type filter hook input priority 0; policy drop; };"
    "add rule inet mine input ct state established,related accept; add rule inet mine input iif lo accept;"
    "add rule inet mine input tcp dport 22 accept; add rule inet mine input meta l4proto icmp accept"
)
DAEMON_JSON = '{"debug" : true}'  # not in the form that we would write
# Differences that remain after packages were installed and removed, each with its reason.
OF_PACKAGES = {
    (
        "file|content",
        r"/var/(cache/(apt|debconf|ldconfig|man|fontconfig)|lib/(apt|dpkg|ucf|systemd))(/.*)?",
    ): "files of apt, dpkg and their helpers",
    ("file|content", r"/etc/ld\.so\.cache"): "rewritten by each package with a library",
    (
        "sysctl",
        r"net/ipv4/(ip_forward|conf/\w+/(forwarding|accept_redirects))",
    ): "set by the engine, until the next boot",
    ("link|route|sysctl", r".*docker0.*"): "the engine's bridge, until the next boot",
    ("rule", r".*(filter|nat) .*"): "the engine's rules, until the next boot",
}
# Created by the Java runtime that ZooKeeper's package needs.
OF_JAVA = {
    (
        "file|content",
        r"/(etc/(ssl|java|\.java|ca-certificates)|var/lib/(ca-certificates-java|ca-certificates)|usr/(share|local/share)/ca-certificates).*",
    ): "certificates"
}


def prints(cluster: Cluster) -> dict[str, dict[tuple[str, str], str]]:
    return {host: fingerprint.take(cluster, host) for host in cluster.hosts or cluster.lab.hosts}


def as_found(cluster: Cluster, before: dict[str, dict[tuple[str, str], str]], also=()) -> None:
    found = {host: fingerprint.differences(old, fingerprint.take(cluster, host), also) for host, old in before.items()}
    assert {host: differences for host, differences in found.items() if differences} == {}


def test_consul_with_files_rules_and_containers_of_others(make_lab, tmp_path: Path):
    """node1 has its own daemon.json and iptables. node2 has an nftables filter and a unit for Consul that is not ours."""
    cluster = Cluster(make_lab(hosts=2), tmp_path, networks="{demo: {subnet: 10.99.0.0/24}, own: {driver: bridge}}")
    cluster.sh("node1", f"umask 027; printf '%s' '{DAEMON_JSON}' >/etc/docker/daemon.json; systemctl restart docker")
    cluster.sh(
        "node2",
        f"nft '{FILTER}'; docker network create own >/dev/null; echo '[Unit]' >/etc/systemd/system/consul.service",
    )
    before = prints(cluster)
    cluster.up()
    record = cluster.sh(
        "node1", "stat -c '%a %U' /var/lib/provisioner/record; cat /var/lib/provisioner/record"
    ).splitlines()
    assert record[0] == "600 root"
    assert {"begun\t-\tfresh", "network\town"} <= {line.strip() for line in record}

    refused = cluster.run("down")
    assert (refused.code, "--yes" in refused.err, refused.out.count("writes")) == (64, True, 1)
    cluster.box("node2", "web", "demo")
    started = cluster.started("node2", "web")
    attached = cluster.run("down", "--yes")
    assert (attached.code, attached.report["writes"]) == (1, 0)
    assert "web (demo)" in attached.err
    planned = cluster.run("down", "--plan", "--force")
    assert (planned.code, planned.report["writes"]) == (2, 0)
    assert planned.drifts("drain")

    assert cluster.killed(4, "answered", "--yes", "--force", "--data", command="down").code == -9
    forced = cluster.run("down", "--yes", "--force", "--data")
    assert forced.code == 0, forced.err
    assert cluster.started("node2", "web") == started, "it was disconnected, and kept running"
    cluster.sh("node2", "docker rm -f web; docker rmi tests/box")
    as_found(cluster, before)
    again = cluster.run("down", "--yes")
    assert (again.code, again.report["writes"]) == (0, 0), again.err
    assert "nothing to do" in again.report["verdict"]


@pytest.mark.parametrize("kind", ["etcd", "zookeeper"])
def test_stores_from_packages_that_a_run_installed(make_lab, tmp_path: Path, kind):
    cluster = Cluster(make_lab(hosts=1), tmp_path, store=f"{{kind: {kind}}}")
    before = prints(cluster)
    cluster.up()
    kept = cluster.run("down", "--yes")
    assert kept.code == 0, kept.err
    record = cluster.sh("node1", "cut -f 1 /var/lib/provisioner/record | sort -u").splitlines()
    assert set(record) <= {"begun", "package", "package-user", "package-group", "package-folder"}
    assert cluster.sh("node1", f"ls -d /var/lib/{kind}/provisioner.*.bak")
    all_of_it = cluster.run("down", "--yes", "--packages", "--data")
    assert all_of_it.code == 0, all_of_it.err
    as_found(cluster, before, {**OF_PACKAGES, **OF_JAVA})
    assert cluster.run("down", "--yes", "--packages", "--data").report["writes"] == 0


def test_bare_hosts_after_an_interrupted_up(make_lab, tmp_path: Path):
    cluster = Cluster(make_lab(hosts=1, image="bare"), tmp_path)
    before = prints(cluster)
    assert cluster.killed(4).code == -9
    gone = cluster.run("down", "--yes", "--packages", "--data")
    assert gone.code == 0, gone.err
    assert (
        cluster.sh(
            "node1", "command -v dockerd consul; ls -d /etc/provisioner /var/lib/provisioner 2>/dev/null", check=False
        )
        == ""
    )
    as_found(cluster, before, OF_PACKAGES)


def test_a_swarm_with_services_a_host_that_is_gone_and_a_foreign_swarm(make_lab, tmp_path: Path):
    cluster = Cluster(make_lab(hosts=3, image="engine-26"), tmp_path, store="")
    before = prints(cluster)
    cluster.up()
    cluster.box("node2", "web", "demo")
    cluster.sh("node1", "docker service create -q --detach --name idle --replicas 0 tests/box true")
    started = cluster.started("node2", "web")
    refused = cluster.run("down", "--yes")
    assert (refused.code, refused.report["writes"]) == (1, 0)
    assert {f["check"] for f in refused.report["findings"]} == {"containers-attached", "swarm-services"}

    cluster.lab.stop("node3")
    cluster.ssh = ", connect_timeout: 3"
    forced = cluster.run("down", "--yes", "--force")
    assert forced.code == 1, "a host was not reached"
    assert list(forced.report["lost"]) == ["node3"]
    assert cluster.engine("node2", "Swarm.LocalNodeState") == "inactive"
    assert cluster.started("node2", "web") == started
    cluster.sh("node2", "docker rm -f web; docker rmi tests/box")
    as_found(cluster, {host: before[host] for host in ("node1", "node2")})

    again = cluster.run("down", "--yes")
    assert (again.code, again.report["writes"], again.report["errors"]) == (1, 0, []), "the same host is still gone"

    cluster.lab.start("node3")
    cluster.hosts, cluster.ssh = ("node1", "node2"), ""
    cluster.sh("node1", "docker swarm init --advertise-addr 192.168.56.11")
    foreign = cluster.run("down", "--yes")
    assert (foreign.code, foreign.report["writes"]) == (1, 0)
    assert [f["check"] for f in foreign.report["findings"]] == ["swarm-not-ours"]
    assert json.loads(cluster.sh("node1", "docker info --format '{{json .Swarm.ControlAvailable}}'")) is True


def test_a_store_without_a_majority_and_hosts_that_return_later(make_lab, tmp_path: Path):
    cluster = Cluster(make_lab(hosts=3), tmp_path, ssh=", connect_timeout: 3")
    before = prints(cluster)
    cluster.up()
    cluster.box("node1", "web", "demo")
    started = cluster.started("node1", "web")
    cluster.lab.stop("node2", "node3")
    refused = cluster.run("down", "--yes")
    assert [f["check"] for f in refused.report["findings"]] == ["containers-attached"], refused.err
    assert (refused.code, refused.report["writes"], "web (demo)" in refused.err) == (1, 0, True)

    forced = cluster.run("down", "--yes", "--force", "--data")
    assert (forced.code, sorted(forced.report["lost"])) == (1, ["node2", "node3"]), forced.err
    assert forced.report["errors"] == []
    assert forced.drifts("drain") == ["container web"]
    assert cluster.started("node1", "web") == started, "it was disconnected, and kept running"
    assert cluster.sh("node1", "docker restart -t 1 web && docker rm -f web && docker rmi tests/box"), "it can start"
    as_found(cluster, {"node1": before["node1"]})

    cluster.lab.start("node2", "node3")
    # Hosts that lost their power during a write: the first note of a run, and a file of the store.
    cluster.sh("node1", "mkdir -m 700 /var/lib/provisioner")
    cluster.sh("node2", "touch /etc/consul.d/.provisioner.a1b2c3d4e5f6")
    for host in ("node2", "node3"):  # an engine that starts waits for its store
        cluster.sh(
            host, "for n in $(seq 60); do timeout 5 docker ps >/dev/null && exit; sleep 1; done; exit 1", timeout=400
        )
    returned = cluster.run("down", "--yes", "--data")
    assert returned.code == 0, returned.err
    as_found(cluster, before)
