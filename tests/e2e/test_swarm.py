"""Swarm mode on real engines: a swarm is created and grows, roles change, all hosts lose power; and findings before changes."""

from __future__ import annotations

import json

import pytest

from provisioner.controlplane.swarm import SOUGHT
from provisioner.system.swarm import FOUNDER
from tests.e2e.captures import look_as_today
from tests.e2e.cluster import Cluster, Run
from tests.e2e.execs import execs
from tests.e2e.watch import watching

pytestmark = pytest.mark.lab

NODES = ("node1", "node2", "node3")
PEER = "for n in $(seq 120); do docker exec app-node1 ping -c 1 -W 1 app-{} >/dev/null 2>&1 && exit 0; sleep 0.5; done; exit 1"


def roles(cluster: Cluster) -> dict[str, str]:
    """The roles of the hosts as `status` reports them."""
    return {s["host"]: s["store_role"] for s in cluster.run("status").report["summaries"]}


def checks(run: Run) -> set[tuple[str, str]]:
    return {(f["check"], f["host"]) for f in run.report["findings"]}


def settled(cluster: Cluster) -> None:
    run = cluster.up()
    assert run.report["writes"] == 0
    assert run.report["control_plane"] == "swarm"


def without_a_majority(cluster: Cluster) -> None:
    for host in NODES[1:]:
        cluster.sh(host, "systemctl stop docker.socket docker")
    cluster.sh("node1", "for n in $(seq 60); do docker node ls >/dev/null 2>&1 || exit 0; sleep 0.5; done; exit 1")
    assert checks(cluster.run("plan")) == {("swarm-leaderless", "node1")}
    cluster.up()
    settled(cluster)


def _mended(cluster: Cluster, host: str) -> None:
    """Restart the engine of a node if it has not noticed its swarm. `doctor` names this. It happens by chance, if a node is unlocked."""
    listens = "for n in $(seq 20); do ss -Hltn 'sport = :7946' | grep -q . && exit; sleep 0.5; done; exit 1"
    if cluster.lab.exec(host, listens, check=False).returncode:
        found = cluster.run("doctor", "--only", "kernel").report["causes"]
        assert ("networking-off", [host]) in [(cause["id"], cause["hosts"]) for cause in found]
        cluster.sh(host, "systemctl restart docker")


def locked_and_drained(cluster: Cluster) -> None:
    """node3 is the only manager."""
    key = cluster.sh(
        "node3", "docker swarm update --autolock >/dev/null; docker swarm unlock-key -q; systemctl restart docker"
    )
    run = cluster.run("up")
    assert (run.code, run.report["writes"]) == (1, 0)
    assert ("swarm-locked", "node3") in checks(run)
    assert roles(cluster)["node3"] == "locked, waits for its key"
    cluster.sh(
        "node3",
        f"echo {key} | docker swarm unlock; docker swarm update --autolock=false; docker node update --availability drain node1",
    )
    _mended(cluster, "node3")
    ready = "docker node ls --format '{{.Status}}' | grep -c Ready"
    cluster.sh(
        "node3",
        f'for n in $(seq 120); do [ "$({ready})" = 3 ] && exit; sleep 0.5; done; docker node ls; exit 1',
        timeout=90,
    )
    # The engines of the others started with other managers, so they do not look for node3's gossip. Until it notices that, node3 lists
    # them. An engine that remembers the address of one that was lost tries it again about once a minute, and may find node3 by that.
    alone = '[ "$(docker network inspect -f "{{len .Peers}}" ingress)" = 1 ]'
    cluster.sh("node3", f"for n in $(seq 60); do {alone} && exit; sleep 0.5; done", timeout=90)
    run = cluster.run("verify")
    apart = {("engines-apart", "node3")} & checks(run)
    assert (run.code, checks(run)) == (1, {("node-resting", "node1"), *apart}), run.err
    error = run.report["proofs"][0]["error"]
    assert ("the engine of node3 does not know node1, node2 from gossip" in error) == bool(apart), error
    assert "its swarm node is drained" in error
    assert roles(cluster)["node1"] == "worker, drained"
    cluster.sh("node3", "docker node update --availability active node1")
    for host in NODES[:2]:
        cluster.sh(host, "systemctl restart docker")
    settled(cluster)
    cluster.sh("node3", "systemctl restart docker")


def recreated_without_containers(cluster: Cluster) -> None:
    """A network that differs from the inventory is recreated only if no host has a container on it."""
    cluster.networks = "{demo: {subnet: 10.98.0.0/24}}"
    plan = cluster.run("plan")
    assert (plan.code, set(plan.drifts("networks"))) == (2, {"network demo: subnet"})
    run = cluster.run("up", "--recreate", "demo")
    assert (run.code, run.report["writes"]) == (1, 0)
    assert "network-in-use" in {check for check, _ in checks(run)}
    for host in NODES:
        cluster.sh(host, f"docker rm -f app-{host}")
    run = cluster.run("up", "--recreate", "demo")
    assert (run.code, run.proven) == (0, True), run.err
    assert cluster.sh("node3", "docker network inspect -f '{{(index .IPAM.Config 0).Subnet}}' demo") == "10.98.0.0/24"


def test_a_swarm_is_made_grows_changes_its_managers_and_comes_back_after_a_power_cut(
    make_lab, tmp_path, record_property
):
    cluster = Cluster(
        make_lab(hosts=3, image="engine-26"), tmp_path, hosts=NODES[:2], store="", extra="swarm: {managers: [node1]}"
    )

    # The controller is killed when the swarm exists and no host has joined it. Eight writes come first: version, firewall,
    # unit and founder on each host.
    assert cluster.killed(9).code == -9
    assert cluster.engine("node1", "Swarm.LocalNodeState") == "active"
    assert cluster.engine("node2", "Swarm.LocalNodeState") == "inactive"
    with execs() as started:
        run = cluster.up()
    assert run.state("swarm", "node1") == "settled"
    assert "the inventory names no store" in run.report["control_plane_reason"]
    tokens = [cluster.sh("node1", f"docker swarm join-token -q {role}") for role in ("worker", "manager")]
    output = (
        run.out
        + run.err
        + run.log
        + cluster.sh("node2", "journalctl -q -o cat")
        + cluster.sh("node2", "grep -rhs SWMTKN /etc /tmp /run || true")
    )
    assert not [token for token in tokens if token in output]
    assert started.holding(set(tokens)) == []
    settled(cluster)
    # A worker without a container on the network stops listing it, as soon as the manager has updated it.
    cluster.sh(
        "node2",
        "for n in $(seq 40); do docker network ls --format '{{.Name}}' | grep -qx demo || exit 0; sleep 0.5; done; exit 1",
    )

    cluster.hosts = NODES
    with watching(cluster, NODES[:2], record_property, "a host joins a swarm", makers=NODES[:1]):
        run = cluster.up()
    assert len(run.report["proofs"][0]["pairs"]) == 6
    assert (run.state("swarm", "node1"), run.state("swarm", "node3")) == ("settled", "converged")
    look_as_today(cluster, "node1", "swarm-node1", SOUGHT)
    assert roles(cluster) == {"node1": "manager", "node2": "worker", "node3": "worker"}

    cluster.extra = ""  # three hosts become three managers, including the present one
    run = cluster.up()
    assert set(roles(cluster).values()) == {"manager"}
    cluster.box(
        "node2", "squatter", network="demo", options="--ip 10.99.0.254"
    )  # the address that node1's probe would get
    settled(cluster)
    cluster.sh("node2", "docker rm -f squatter")
    without_a_majority(cluster)
    cluster.extra = "swarm: {managers: [node3]}"
    cluster.up()
    assert roles(cluster) == {"node1": "worker", "node2": "worker", "node3": "manager"}
    locked_and_drained(cluster)
    settled(cluster)  # the only manager has just restarted; the others find it within a minute

    for host in NODES:
        cluster.box(host, f"app-{host}", network="demo", options="--restart always")
    for host in NODES:
        cluster.lab.stop(host)
    for host in NODES[:2]:
        cluster.lab.start(host)
    for host in NODES[:2]:  # a starting engine lets a container wait 20 s for the manager, then gives up
        cluster.sh(
            host,
            "systemctl start docker; docker inspect -f '{{.State.Error}}' app-" + host + " | grep 'attach to network'",
            timeout=150,
        )
    cluster.lab.start("node3")
    for host in NODES[1:]:
        cluster.sh("node1", PEER.format(host), timeout=150)
    settled(cluster)

    recreated_without_containers(cluster)
    cluster.extra = "swarm: {managers: [node3], data_path_port: 4790}"
    run = cluster.run("up")
    assert (run.code, run.report["writes"], checks(run)) == (1, 0, {("swarm-fixed", "")})


def test_engines_of_three_ages_and_what_excludes_a_swarm(make_lab, tmp_path, record_property):
    cluster = Cluster(make_lab(hosts=3, images={"node2": "engine-28", "node3": "engine-26"}), tmp_path)
    cluster.sh("node1", "echo '{\"live-restore\": true}' >/etc/docker/daemon.json; systemctl reload docker")
    cluster.sh("node2", "docker swarm init --advertise-addr 192.168.56.12 >/dev/null")
    cluster.sh("node3", 'echo \'{"cluster-store": "consul://127.0.0.1:8500"}\' >/etc/docker/daemon.json')
    cluster.extra, cluster.store = "control_plane: swarm", ""
    run = cluster.run("up")
    assert (run.code, run.report["writes"]) == (1, 0)
    assert checks(run) == {("live-restore", "node1"), ("other-swarm", "node2"), ("store-keys-left", "node3")}
    assert cluster.engine("node2", "Swarm.LocalNodeState") == "active"

    cluster.sh("node1", "rm /etc/docker/daemon.json; systemctl restart docker")
    cluster.sh("node2", "docker swarm leave --force >/dev/null")
    cluster.sh("node3", "rm /etc/docker/daemon.json")
    cluster.extra, cluster.store = "", "{kind: consul}"
    run = cluster.up()
    assert run.report["control_plane"] == "swarm"
    newest = cluster.engine("node2", "ServerVersion").partition("+")[0]
    record_property("the engine of Debian's next release", newest)
    assert f"26.1.5, {newest} on node2, node3" in run.report["control_plane_reason"]
    assert len(run.report["proofs"][0]["pairs"]) == 6
    assert cluster.sh("node1", "systemctl is-active consul", check=False) == "inactive"
    settled(cluster)


@pytest.mark.parametrize(("image", "oldest"), [("bare-13", (26, 1)), ("bare-28", (28, 5))])
def test_bare_hosts_whose_sources_have_a_later_engine_become_a_swarm(make_lab, tmp_path, image, oldest):
    """The smallest inventory names a store. The engine's version is known only after its installation."""
    cluster = Cluster(make_lab(hosts=2, image=image), tmp_path)
    plan = cluster.run("plan")
    assert (plan.code, plan.report["control_plane"], plan.drifts("engines")) == (2, "kv", ["package docker.io"] * 2)
    assert "no engine is installed yet on node1, node2" in plan.report["control_plane_reason"]
    run = cluster.up()
    assert (run.report["control_plane"], run.state("engines", "node1")) == ("swarm", "converged")
    version = cluster.engine("node1", "ServerVersion").partition("+")[0]
    assert tuple(map(int, version.split(".")[:2])) >= oldest
    assert f"{version} on node1, node2" in run.report["control_plane_reason"]
    assert "control plane changed to swarm" in run.err
    assert [o for o in run.report["outcomes"] if o["step"] == "store"] == []
    settled(cluster)


FREEZE = "for n in $(seq 20000); do [ -s /var/lib/docker/swarm/docker-state.json ] && kill -STOP $(pidof dockerd) && exit; sleep 0.001; done; exit 1"
ASK = "curl -sf --unix-socket /var/run/docker.sock http://docker/swarm"


def swarms(cluster: Cluster) -> dict[str, str]:
    """Host -> the ID of the swarm that its engine is in."""
    return {host: cluster.engine(host, "Swarm.Cluster.ID") for host in NODES}


def begun(cluster: Cluster) -> None:
    """Kill the controller while node1 creates the swarm. No other host may create one while node1 does not answer."""
    cluster.sh("node1", "echo '{\"debug\": true}' >/etc/docker/daemon.json; systemctl reload docker")
    process = cluster.begin("up")
    cluster.sh("node1", FREEZE)
    process.kill()
    assert cluster.ended(process).code == -9
    run = cluster.run("up")  # node1's engine hangs
    assert run.code == 1
    assert "node1: it was chosen to create the swarm, and its engine does not answer" in run.report["errors"][0]
    cluster.lab.cut("node1")
    run = cluster.run("up")  # now node1 itself can't be reached
    assert (run.code, run.report["writes"]) == (1, 0)
    assert "node1: it was chosen to create the swarm, and can't be reached" in run.report["errors"][0]
    assert {(f["host"], f["check"]) for f in run.report["failures"]} == {
        ("", "swarm-may-exist"),
        ("node1", "host-unreachable"),
    }
    assert {cluster.engine(host, "Swarm.LocalNodeState") for host in NODES[1:]} == {"inactive"}
    cluster.lab.uncut("node1")
    cluster.sh("node1", "kill -CONT $(pidof dockerd)")


def unlabelled(cluster: Cluster) -> None:
    """Repeat a power cut between the creation of the swarm and of its label. (By hand, because the moment is short.)"""
    record = cluster.file("node2", FOUNDER)
    cluster.sh(  # an engine that was frozen while it created a swarm may never answer a request to leave it
        "node1",
        f"""timeout 60 docker swarm leave --force || {{ systemctl restart docker; docker swarm leave --force; }}
        docker swarm init --advertise-addr 192.168.56.11 && echo '{record}' >{FOUNDER}""",
        timeout=240,
    )
    cluster.lab.stop("node1")
    cluster.lab.start("node1")
    cluster.up()
    requests = cluster.sh("node1", "journalctl -q -b -u docker -o cat | grep -c 'Calling GET /swarm\"'")
    assert requests == "1", "the two joining hosts have the same role, so the token is read once"
    assert cluster.sh("node1", ASK + ' | grep -o \'provisioner.cluster":"test"\'')
    assert len(set(swarms(cluster).values())) == 1
    assert [cluster.file(host, FOUNDER) for host in NODES] == [""] * 3
    settled(cluster)


def second(cluster: Cluster) -> None:
    """node3 is alone in a second swarm of this cluster. It leaves that swarm only when the swarm is empty."""
    body = {
        "ListenAddr": "0.0.0.0:2377",
        "AdvertiseAddr": "192.168.56.13",
        "Spec": {"Labels": {"provisioner.cluster": "test"}},
    }
    cluster.sh(
        "node3", f"docker swarm leave --force; {ASK}/init -H 'Content-Type: application/json' -d '{json.dumps(body)}'"
    )
    cluster.sh("node3", "echo hidden | docker secret create theirs -")
    own = cluster.engine("node3", "Swarm.Cluster.ID")
    run = cluster.run("up")
    assert (run.code, cluster.engine("node3", "Swarm.Cluster.ID")) == (1, own)
    assert "it has secrets: " in run.outcome("swarm", "node3")["error"]
    cluster.sh("node3", "docker secret rm theirs; docker network create -d overlay --attachable demo")
    cluster.box("node3", "app", network="demo")
    run = cluster.run("up")
    assert (run.code, cluster.engine("node3", "Swarm.Cluster.ID")) == (1, own)
    assert "it has containers on the network demo: " in run.outcome("swarm", "node3")["error"]
    cluster.sh("node3", "docker rm -f app")
    run = cluster.up()
    assert run.state("swarm", "node3") == "converged"
    assert checks(run) == set(), "the findings are repaired"
    assert len(set(swarms(cluster).values())) == 1
    settled(cluster)


def test_a_cluster_never_gets_two_swarms(make_lab, tmp_path):
    cluster = Cluster(make_lab(hosts=3), tmp_path, store="", extra="control_plane: swarm")
    begun(cluster)
    unlabelled(cluster)
    second(cluster)
