"""Resolvers of engines, names, aliases and isolated networks: the example inventory with dnsmasq as its resolver."""

from __future__ import annotations

import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from provisioner.lab.recipes import SWITCH_ADDRESS
from tests.e2e.cluster import Cluster
from tests.e2e.test_inventories import EXAMPLES, Example, proven

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.cluster import Run

pytestmark = pytest.mark.lab

NODES = ("node1", "node2", "node3")
NAME, FOUND = "www.shop.example.net", "203.0.113.80"
# Connects a host to the overlay: packets that any container sends to the overlay's subnet are routed into it.
LEG = """set -e
ns=$(echo /run/docker/netns/*-"$(docker network inspect -f '{{{{.Id}}}}' {network} | cut -c1-10)")
ip link add leg type veth peer name leg-in
ip link set leg-in netns $ns
nsenter --net=$ns ip link set leg-in master br0 up
ip address add {address}/24 dev leg
ip link set leg up"""


@contextmanager
def resolver(cluster: Cluster, log: Path, *options: str) -> Iterator[None]:
    """Run dnsmasq on the controller's address in the lab. It knows NAME, and refuses other names."""
    with log.open("w") as out:
        process = subprocess.Popen(
            [
                *("nsenter", f"--net={cluster.lab.folder / 'switch'}", "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null"),
                *("--no-hosts", "--no-resolv", "--bind-interfaces", f"--listen-address={SWITCH_ADDRESS}", "--pid-file="),
                *("--user=root", "--log-queries", "--log-facility=-", f"--address=/{NAME}/{FOUND}", *options),
            ],
            stdin=subprocess.DEVNULL, stdout=out, stderr=out,
        )  # fmt: skip
    try:
        until = time.monotonic() + 5
        while "started" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        process.wait()


def result(run: Run, proof: str, network: str) -> dict[str, object]:
    return next(p for p in run.report["proofs"] if (p["proof"], p["network"]) == (proof, network))


def causes(proof: dict[str, object]) -> set[tuple[str, str]]:
    return {(problem["check"], problem["host"]) for problem in proof["problems"]}


def test_external_names_and_isolated_networks(make_lab, tmp_path):
    cluster, log = Example(make_lab(hosts=3), tmp_path), tmp_path / "dnsmasq.log"
    cluster.adapt((EXAMPLES / "dns.yml").read_text())
    cluster.given["dns"]["servers"] = [SWITCH_ADDRESS]
    cluster.box("node1", "before", options="--restart=always")
    before = {node: cluster.sh(node, "systemctl show -p MainPID --value docker") for node in NODES}

    with resolver(cluster, log):
        drifts = {(d["what"], d["note"]) for d in cluster.run("plan").outcome("daemon", "node1")["drifts"]}
        assert ("the running engine's DNS", "restart") in drifts
        run = cluster.run("up")
        proven(run, hosts=3, networks=2)
        kinds = {(p["proof"], p["network"]): len(p["checks"]) for p in run.report["proofs"] if p["proof"] != "overlay"}
        # dns: external names, search domains and options on each host. isolation: two probes of the other network on each
        # host; for one network also the cluster's ports.
        assert kinds == {
            ("dns", "frontend"): 9, ("dns", "backend"): 9, ("isolation", "frontend"): 6, ("isolation", "backend"): 9,
        }  # fmt: skip
        assert all(f"query[A] {NAME} from {cluster.lab.address(node)}" in log.read_text() for node in NODES)
        after = {node: cluster.sh(node, "systemctl show -p MainPID --value docker") for node in NODES}
        assert not set(before.values()) & set(after.values())
        assert cluster.started("node1", "before").startswith("true ")
        assert cluster.run("plan").code == 0

        cluster.box("node1", "web", "frontend", "--network-alias shop")
        cluster.box("node3", "asks", "frontend")
        found = "docker exec asks getent hosts "
        assert (
            cluster.sh("node3", found + "shop").split()[0]
            == cluster.sh("node1", "docker exec web hostname -i").split()[0]
        )
        assert cluster.sh("node3", found + "www").split()[0] == FOUND  # by the search domain
        assert cluster.sh("node3", found + "nowhere", check=False) == ""
        assert "timeout:2" in cluster.sh("node3", "docker exec asks cat /etc/resolv.conf")

    # A route from one network into the other on node2, and a resolver that knows the address of node2's probe of the other.
    cluster.box("node2", "leg", "backend")
    cluster.sh("node2", LEG.format(network="backend", address="10.99.1.200"))
    with resolver(cluster, log, "--address=/#/10.99.1.253"):
        run = cluster.run("verify")
    assert [p["state"] for p in run.overlays] == ["settled"] * 2, run.err
    apart = result(run, "isolation", "frontend")
    assert {(c["host"], c["detail"]) for c in apart["checks"] if not c["proven"]} == {
        ("node1", "its name is resolved"), ("node2", "its name is resolved, its address answers"),
    }  # fmt: skip
    assert causes(apart) == {("networks-joined", "node1"), ("networks-joined", "node2")}
    cluster.sh("node2", "ip link del leg")
    resolvers_that_fail(cluster, log)


def resolvers_that_fail(cluster: Example, log: Path) -> None:
    """Three faults: no resolver, a resolver that does not know the name, and one that refuses reverse lookups."""
    del cluster.given["networks"]["frontend"]
    run = cluster.run("verify")
    assert [p["state"] for p in run.overlays] == ["settled"], run.err
    silent = {("resolver-silent", name) for name in cluster.lab.hosts}
    assert (run.code, causes(result(run, "dns", "backend"))) == (1, silent)
    assert (
        f"check that 53/udp passes from node1, node2, node3 to {SWITCH_ADDRESS}"
        in result(run, "dns", "backend")["error"]
    )
    assert "connection refused" in result(run, "dns", "backend")["error"]
    with resolver(cluster, log, "--local=/gone.example.net/"):
        cluster.given["dns"]["check"] = "gone.example.net"
        unknown = result(cluster.run("verify"), "dns", "backend")
        assert (
            "set dns.check to a name that the resolvers know; they know no address of gone.example.net"
            in unknown["error"]
        )
        assert causes(unknown) == {("name-unknown", name) for name in cluster.lab.hosts}
        del cluster.given["dns"]["check"]
        run = cluster.run("verify", "--only", "dns")
        assert [p["name"] for p in run.report["proofs"] if p["chosen"]] == ["dns/backend"]
        refused = result(run, "dns", "backend")
        assert causes(refused) == {("resolver-refuses", name) for name in cluster.lab.hosts}
        assert f"configure {SWITCH_ADDRESS} to answer queries of the hosts" in refused["error"]
        assert "REFUSED" in refused["error"]


def test_in_a_swarm(make_lab, tmp_path):
    networks = "{frontend: {subnet: 10.99.0.0/24}, backend: {subnet: 10.99.1.0/24, internal: true}}"
    dns = f"dns: {{servers: [{SWITCH_ADDRESS}], search: [shop.example.net], check: {NAME}}}"
    cluster = Cluster(make_lab(hosts=2, image="engine-26"), tmp_path, store="", networks=networks, extra=dns)
    with resolver(cluster, tmp_path / "dnsmasq.log"):
        run = cluster.up()
        proofs = {
            (p["proof"], p["network"]): {c["proven"] for c in p["checks"]} for p in run.report["proofs"] if p["checks"]
        }
        kept_apart = {("isolation", "frontend"), ("isolation", "backend")}
        assert proofs.keys() == {("dns", "frontend"), ("internal", "backend"), *kept_apart}
        assert all(found == {True} for found in proofs.values())
        cluster.box("node1", "web", "frontend", "--network-alias shop")
        cluster.box("node2", "asks", "frontend")
        found = "docker exec asks getent hosts "
        assert (  # gossip brings the name
            cluster.sh("node2", f"for n in $(seq 50); do {found} shop && exit; sleep 0.2; done; exit 1").split()[0]
            == cluster.sh("node1", "docker exec web hostname -i").split()[0]
        )
        assert cluster.sh("node2", found + "www").split()[0] == FOUND
        assert cluster.up().report["writes"] == 0
