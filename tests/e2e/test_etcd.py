"""etcd as the engines' store: to a proven network from used or bare hosts, lost and returning servers, the order at boot."""

from __future__ import annotations

import json
import re

import pytest

from provisioner.errors import LabError
from provisioner.stores import authority
from provisioner.stores.base import TLS_FILES
from provisioner.stores.etcd import Etcd
from provisioner.system import certificates
from tests.e2e.captures import look_as_today
from tests.e2e.cluster import Cluster
from tests.e2e.execs import execs
from tests.e2e.their_store import put

pytestmark = pytest.mark.lab

NODES = ("node1", "node2", "node3")
URL = "etcd://192.168.56.11:2379,192.168.56.12:2379,192.168.56.13:2379"
INSTALL = "apt-get -q update >/dev/null && apt-get install -q -y --no-install-recommends etcd-server >/dev/null"


def etcd(lab, tmp_path, **words) -> Cluster:
    return Cluster(lab, tmp_path, store="{kind: etcd}", **words)


def health(cluster: Cluster, host: str) -> str:
    ask = r"""timeout 3 perl -e 'use IO::Socket::INET; $s = IO::Socket::INET->new("127.0.0.1:2381") or exit; print $s "GET /%s HTTP/1.0\r\n\r\n"; print <$s>'"""
    return cluster.sh(host, ask % "health", check=False)


def fetch(cluster: Cluster, host: str, path: str, options: str = "") -> str:
    """The answer to a request of root on a server, who needs no certificate."""
    return cluster.sh(host, f"curl -s {options} --unix-socket /run/provisioner-etcd/localhost:2379 http://etcd{path}")


def private(cluster: Cluster) -> set[str]:
    """The lines of every private key."""
    files = [cluster.file(host, path) for host in NODES for path in (TLS_FILES[2], authority.KEY)]
    lines = {line for text in files for line in text.splitlines() if len(line) == 64}
    assert len(lines) >= 2 * (len(NODES) + 1)
    return lines


def test_hosts_with_and_without_an_engine_become_a_proven_network_on_etcd(make_lab, tmp_path):
    cluster = etcd(make_lab(hosts=3, images={"node2": "bare"}), tmp_path)
    with execs() as started:
        run = cluster.up()
    assert started.holding(private(cluster)) == []
    assert (
        {run.state("packages", host) for host in NODES} == {run.state("store", host) for host in NODES} == {"converged"}
    )
    for host in NODES:
        assert cluster.engine(host, "ClusterStore") == URL
        assert '"health":"true"' in health(cluster, host)
        assert cluster.sh(host, "ls /var/lib/etcd") == "provisioner"  # the package's own cluster was never started
    assert cluster.run("plan").code == 0
    look_as_today(cluster, "node1", "etcd-secured-node1", Etcd.sought)
    status = {s["host"]: s for s in cluster.run("status").report["summaries"]}
    assert {s["store_role"] for s in status.values()} == {"server"}
    assert len({s["leader"] for s in status.values()} & set(NODES)) == 1

    seen = {host: cluster.file(host, "/etc/provisioner/tls/cert.pem") for host in NODES}
    with execs() as started:
        run = cluster.run("rotate certificates")
    assert run.code == 0, run.err
    assert run.proven
    said = run.err.partition("changed on node1, node2, node3\n")[2]
    assert "/etc/provisioner/tls/cert.pem" in said
    assert "rotate  etcd's certificates (rotation)" in said
    assert started.holding(private(cluster)) == []
    assert all(cluster.file(host, "/etc/provisioner/tls/cert.pem") != seen[host] for host in NODES)
    assert "PRIVATE" not in run.out + run.err
    assert cluster.run("plan").code == 0
    engines_start_after_the_store_has_a_leader(cluster)
    reported_commands_restore_a_server_that_was_reinstalled(cluster)
    reported_commands_restore_a_server_that_was_removed(cluster)


def engines_start_after_the_store_has_a_leader(cluster: Cluster) -> None:
    for host in NODES:
        cluster.lab.stop(host)
    cluster.lab.start("node1")
    assert cluster.sh("node1", "sleep 5; systemctl is-active docker", check=False) == "activating"
    assert '"health":"true"' not in health(cluster, "node1")
    for host in NODES[1:]:
        cluster.lab.start(host)
    for host in NODES:
        cluster.sh(
            host,
            "for n in $(seq 60); do [ $(systemctl is-active docker) = active ] && exit 0; sleep 1; done; exit 1",
            timeout=90,
        )
        assert "demo" in cluster.sh(host, "docker network ls --format '{{.Name}}'").split()
    assert cluster.up().report["writes"] == 0


def reported_commands_restore_a_server_that_was_reinstalled(cluster: Cluster) -> None:
    cluster.box("node3", "app", "demo")
    cluster.lab.reset(["node3"])
    (cluster.folder / "known_hosts").unlink()
    run = cluster.run("up")
    assert (run.code, run.report["writes"]) == (1, 0)
    found = {(f["check"], f["host"]): f["cure"] for f in run.report["findings"]}
    assert set(found) == {("etcd-data-lost", "node3"), ("endpoint-left", "node3")}
    cluster.sh("node1", INSTALL.replace("etcd-server", "etcd-client"))
    for command in re.findall("`(.*?)`", found["etcd-data-lost", "node3"]):
        cluster.sh("node1", command)
    run = cluster.up()
    assert len(run.report["proofs"][0]["pairs"]) == 6
    with pytest.raises(LabError, match="endpoint with name app already exists"):
        cluster.box("node3", "app", "demo")
    (left,) = cluster.run("verify").report["findings"]
    command, host = re.fullmatch("remove the endpoints: `(.*)` \\(on (node[12])\\)", left["cure"]).groups()
    cluster.sh(host, command)
    cluster.sh("node3", "docker start app")
    plan = cluster.run("plan")
    assert (plan.code, plan.report["findings"]) == (0, [])


def reported_commands_restore_a_server_that_was_removed(cluster: Cluster) -> None:
    members = json.loads(fetch(cluster, "node1", "/v2/members"))["members"]
    (gone,) = (member["id"] for member in members if member["name"] == "node3")
    fetch(cluster, "node1", f"/v2/members/{gone}", "-X DELETE")
    cluster.sh("node3", "for n in $(seq 60); do systemctl is-active -q etcd || exit 0; sleep 0.5; done; exit 1")
    run = cluster.run("up")
    assert (run.code, run.report["writes"]) == (1, 0)
    (found,) = (f for f in run.report["findings"] if f["check"] == "server-added")
    assert found["host"] == "node3"
    away, adding = re.findall("`(.*?)`", found["cure"])
    cluster.sh("node3", away)
    cluster.sh("node1", adding)
    assert len(cluster.up().report["proofs"][0]["pairs"]) == 6


def closed_to_clients_without_a_certificate(cluster: Cluster) -> None:
    """Clients with a certificate of a different authority are refused, too."""
    own = "/etc/provisioner/tls"
    ask = "curl -s --cacert {0}/ca.pem {1} {2}://192.168.56.12:2379/v2/keys || echo refused"
    other = certificates.issue(certificates.authority("another"), "engines", names=[], addresses=["192.168.56.11"])
    put(cluster, "node1", ("/root/cert.pem", "/root/key.pem"), (other.certificate, other.key))
    by = {
        "its own": f"--cert {own}/cert.pem --key {own}/key.pem",
        "none": "",
        "another's": "--cert /root/cert.pem --key /root/key.pem",
    }
    answers = {who: cluster.sh("node1", ask.format(own, words, "https")) for who, words in by.items()}
    assert '"nodes"' in answers.pop("its own")
    assert answers == {"none": "refused", "another's": "refused"}
    assert cluster.sh("node1", ask.format(own, "-f", "http")) == "refused"


def test_the_package_s_own_cluster_is_replaced_only_if_it_is_empty(make_lab, tmp_path):
    cluster = etcd(make_lab(hosts=3), tmp_path)
    for host in NODES[:2]:
        cluster.sh(host, INSTALL, timeout=120)
        assert cluster.sh(host, "systemctl is-active etcd") == "active"
    cluster.sh("node2", "curl -s -X PUT -d value=theirs localhost:2379/v2/keys/mine")
    pid = cluster.sh("node2", "systemctl show -p MainPID etcd")

    run = cluster.run("up")
    assert run.code == 1
    assert [f["check"] for f in run.report["findings"] if f["host"] == "node2"] == ["foreign-etcd"]
    assert {run.state("store", host) for host in ("node1", "node3")} == {"converged"}
    assert cluster.sh("node2", "systemctl show -p MainPID etcd") == pid
    assert "theirs" in cluster.sh("node2", "curl -s localhost:2379/v2/keys/mine")

    cluster.sh("node2", "systemctl disable -q --now etcd")
    cluster.up()
    assert cluster.sh("node2", "ls /var/lib/etcd").split() == ["default", "provisioner"]  # data of others stay
    assert "theirs" not in fetch(cluster, "node2", "/v2/keys/mine")
    closed_to_clients_without_a_certificate(cluster)
    assert cluster.run("plan").code == 0


def test_two_servers_of_five_are_lost_and_come_back(make_lab, tmp_path):
    cluster = etcd(make_lab(hosts=5), tmp_path)
    assert len(cluster.up().report["proofs"][0]["pairs"]) == 20
    assert cluster.engine("node5", "ClusterStore").count(":2379") == 5
    for host in NODES:
        cluster.box(host, f"app-{host}", network="demo", options="--restart always")
    cluster.lab.stop("node2", "node5")
    assert "1 received" in cluster.sh("node1", "docker exec app-node1 ping -c 1 -W 5 app-node3")
    cluster.ssh = ", connect_timeout: 3"
    run = cluster.run("up")
    assert (run.code, run.report["writes"], set(run.report["lost"])) == (1, 0, {"node2", "node5"})
    assert [len([p for p in proof["pairs"] if p["proven"]]) for proof in run.overlays] == [6]

    cluster.lab.start("node2", "node5")
    cluster.sh(
        "node1",
        "for n in $(seq 90); do docker exec app-node1 ping -c 1 -W 1 app-node2 >/dev/null && exit 0; sleep 1; done; exit 1",
        timeout=200,
    )
    assert cluster.up().report["writes"] == 0


def test_an_added_host_gets_no_server_and_the_servers_stay(make_lab, tmp_path):
    cluster = etcd(make_lab(hosts=4), tmp_path, hosts=("node1", "node2"))
    cluster.up()
    assert cluster.engine("node2", "ClusterStore") == "etcd://192.168.56.11:2379"
    pid = cluster.sh("node1", "systemctl show -p MainPID etcd docker")
    cluster.hosts = ("node4", "node1", "node2", "node3")
    run = cluster.up()
    assert len(run.report["proofs"][0]["pairs"]) == 12
    assert cluster.sh("node4", "command -v etcd", check=False) == ""
    assert cluster.sh("node1", "systemctl show -p MainPID etcd docker") == pid
    assert cluster.run("plan").code == 0
    cluster.store = "{kind: etcd, servers: [node1, node2, node3]}"
    run = cluster.run("up")
    assert run.code == 1
    assert {f["check"] for f in run.report["findings"]} == {"server-added"}
    assert run.report["writes"] == 0
    assert json.loads(fetch(cluster, "node1", "/v2/members"))["members"][0]["name"] == "node1"
