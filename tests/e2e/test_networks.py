"""inventories/networks.yml on real hosts: each kind of network is created, proven, shown, broken and recreated."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.e2e.cluster import PROBE_IMAGE
from tests.e2e.test_inventories import EXAMPLES, Example
from tests.e2e.watch import watching

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

NODES = ("node1", "node2", "node3")


def inspected(example: Example, host: str, network: str) -> Any:
    return json.loads(example.sh(host, f"docker network inspect {network}", check=False) or "[]")


def claims(run, network: str) -> dict[tuple[str, str, str], bool]:
    (proof,) = [p for p in run.report["proofs"] if (p["proof"], p["network"]) == ("local", network)]
    return {(c["host"], c["target"], c["what"].split()[0] + c["what"].split()[1]): c["proven"] for c in proof["checks"]}


def test_networks_of_every_kind(make_lab, tmp_path, record_property):
    example = Example(make_lab(hosts=3), tmp_path)
    example.adapt((EXAMPLES / "networks.yml").read_text().replace("172.31.10.", "192.168.56."))
    networks = example.given["networks"]

    unmanaged = created(example)
    for name in ("backend", "lan"):  # these are proven; keeping them would only repeat their proofs
        del networks[name]
    builtin_networks(example)
    del networks["jobs"]
    networks["quiet"]["subnet"], networks["web"]["mtu"] = "10.99.2.0/24", 1300
    shown_and_left_alone(example)
    refused_while_in_use(example)
    wrong_count_is_reported(example)
    example.sh("node1", "docker network create -d overlay --subnet 10.76.0.0/24 another")
    with watching(example, NODES, record_property, "up --recreate of another network", network="another"):
        recreated(example)
    renamed(example)
    assert example.sh("node2", "docker network inspect -f '{{.Id}}' theirs") == unmanaged


def created(example: Example) -> str:
    """The networks are proven, and listed with the built-in ones. Returns the ID of an unmanaged network, which stays."""
    unmanaged = example.sh("node2", "docker network create theirs")
    run = example.run("up")
    assert run.code == 0, run.err
    proofs = [p for p in run.report["proofs"] if p["proof"] in ("overlay", "local")]
    assert {p["network"]: (p["state"], len(p["pairs"]), len(p["checks"])) for p in proofs} == {
        "backend": ("settled", 6, 0), "quiet": ("settled", 6, 0),
        "web": ("settled", 0, 6), "jobs": ("settled", 0, 6), "lan": ("settled", 0, 12),
    }  # fmt: skip
    assert {p["network"]: p["mtu"] for p in proofs}["web"] == 1400
    inside = [p for p in run.report["proofs"] if p["proof"] == "internal"]
    assert {(p["network"], p["state"], len(p["checks"])) for p in inside} == {
        ("quiet", "settled", 3),
        ("jobs", "settled", 3),
    }
    apart = [p for p in run.report["proofs"] if p["proof"] == "isolation"]
    assert {(p["network"], p["state"], len(p["checks"])) for p in apart} == {
        ("backend", "settled", 9), ("quiet", "settled", 6), ("web", "settled", 2), ("jobs", "settled", 2),
    }  # fmt: skip
    assert example.sh("node2", "docker network inspect -f '{{.Id}}' theirs") == unmanaged
    assert "br-web" in example.sh("node1", "ip -o link show type bridge")
    assert inspected(example, "node3", "web") == []
    (lan,) = inspected(example, "node2", "lan")
    assert lan["IPAM"]["Config"] == [
        {"Subnet": "192.168.56.0/24", "IPRange": "192.168.56.96/27", "Gateway": "192.168.56.1"}
    ]
    (backend,) = inspected(example, "node3", "backend")
    assert backend["IPAM"]["Config"][0]["AuxiliaryAddresses"] == {"license-server": "10.99.0.5"}
    example.box("node1", "six", network="web")
    assert "fd97::1" in example.sh("node1", "docker exec six ip -6 route")
    example.sh("node1", "docker rm -f six")
    assert example.run("plan").code == 0
    status = {s["host"]: s for s in example.run("status").report["summaries"]}
    found = {n["name"]: (n["driver"], n["wanted"]) for n in status["node2"]["all_networks"]}
    assert (
        found.items()
        >= {
            "bridge": ("bridge", False),
            "host": ("host", False),
            "none": ("null", False),
            "lan": ("macvlan", True),
        }.items()
    )
    return unmanaged


def builtin_networks(example: Example) -> None:
    """The built-in networks are tested with one of them broken. The proofs leave nothing behind."""
    example.sh(
        "node2",
        "iptables -I FORWARD -i docker0 ! -o docker0 -j DROP; for way in i o; do iptables -I DOCKER-USER -$way br-web -j ACCEPT; done",
    )
    run = example.run("verify", "--all")
    assert run.code == 1
    failed = {(p["proof"], p["network"]): p for p in run.report["proofs"] if p["state"] == "failed"}
    assert set(failed) == {("local", "bridge"), ("isolation", "web"), ("isolation", "jobs")}
    assert "node2: the probe of jobs on node2: its address answers" in failed["isolation", "web"]["error"]
    bridge = claims(run, "bridge")
    closed = {(host, target) for (host, target, _), is_proven in bridge.items() if not is_proven}
    assert {("node2", "node1"), ("node2", "node3")} <= closed  # neither requests nor answers leave the bridge
    assert {("node1", "node3", "acontainer"), ("node2", "", "containerson")} <= {
        key for key, is_proven in bridge.items() if is_proven
    }
    assert set(claims(run, "none").values()) == set(claims(run, "host").values()) == {True}
    example.sh(
        "node2",
        "iptables -D FORWARD -i docker0 ! -o docker0 -j DROP; for way in i o; do iptables -D DOCKER-USER -$way br-web -j ACCEPT; done",
    )
    for node in NODES:
        assert example.sh(node, "docker ps -aq; docker image ls -q provisioner/probe") == ""


def shown_and_left_alone(example: Example) -> None:
    plan = example.run("plan")
    drifts = {(o["host"], d["what"], d["note"]) for o in plan.report["outcomes"] for d in o["drifts"]}
    assert plan.code == 2
    assert drifts == {
        *((node, "network quiet: subnet", "up --recreate quiet") for node in NODES),
        *((node, "network web: option com.docker.network.driver.mtu", "up --recreate web") for node in NODES[:2]),
    }
    run = example.run("up")
    assert (run.code, run.report["writes"], run.report["lost"]) == (1, 0, {})
    assert "up --recreate quiet" in run.outcome("networks", "node3")["error"]
    assert example.run("up", "--recreate", "quit").code == 64


def refused_while_in_use(example: Example) -> None:
    before = inspected(example, "node1", "quiet")[0]["Id"]
    example.box("node2", "app", network="web")
    example.box("node1", "old", network="web")
    example.sh("node1", "docker stop -t 0 old")
    # This container is never started. When the last container on a host ends, the engine's call that decreases the endpoint
    # count in the store may get lost.
    example.sh(
        "node3",
        f"tar c -T /dev/null | docker import - {PROBE_IMAGE} >/dev/null; docker create --name db --network quiet {PROBE_IMAGE} db",
    )
    run = example.run("up", "--recreate", "quiet", "--recreate", "web")
    reported = [f["what"] for f in run.report["findings"] if f["check"] == "network-in-use"]
    assert run.code == 1
    assert [what.rpartition(": ")[2] for what in reported] == [
        "db (created) on node3",
        "old (exited) on node1, app on node2",
    ]
    assert inspected(example, "node1", "quiet")[0]["Id"] == before
    for node, name in (("node1", "old"), ("node2", "app"), ("node3", "db")):
        example.sh(node, f"docker rm -f {name}")


def wrong_count_is_reported(example: Example) -> None:
    """The endpoint count in the store is wrong, as after a lost call of an engine. The reported command corrects it."""
    (quiet,) = inspected(example, "node1", "quiet")
    count = f"docker/network/v1.0/endpoint_count/{quiet['Id']}/"
    assert example.sh("node1", f"consul kv get {count}") == '{"Count":0}'
    example.sh("node1", f"""consul kv put {count} '{{"Count":1}}'""")
    run = example.run("up", "--recreate", "quiet")
    assert run.code == 1
    assert "the engine counts endpoints on it that neither the hosts nor the store had a moment ago" in run.err
    (command,) = re.findall(r"`(consul kv put .*)` on any host, and run again with --recreate", run.err)
    example.sh("node2", command)
    assert example.sh("node1", f"consul kv get {count}") == '{"Count":0}'


def recreated(example: Example) -> None:
    """A run is killed after it has removed the networks and before it creates them. The next run completes the work."""
    run = example.killed(1, "networks", "--recreate", "quiet", "--recreate", "web")
    assert run.code == -9, run.err
    assert inspected(example, "node2", "web") == inspected(example, "node1", "quiet") == []
    run = example.run("up")
    assert run.code == 0, run.err
    assert inspected(example, "node3", "quiet")[0]["IPAM"]["Config"] == [{"Subnet": "10.99.2.0/24"}]
    assert inspected(example, "node2", "web")[0]["Options"]["com.docker.network.driver.mtu"] == "1300"


def renamed(example: Example) -> None:
    """Networks get new names and keep their subnets. The run names the commands that remove the old ones, and then succeeds."""
    networks = example.given["networks"]
    networks["calm"], networks["www"] = networks.pop("quiet"), networks.pop("web")
    run = example.run("up")
    assert (run.code, run.report["writes"]) == (1, 0)
    cures = {(f["host"], f["cure"]) for f in run.report["findings"]}
    named = {(host, *re.findall(r"docker network rm (\S+) \((on [^,)]*)", cure)[0]) for host, cure in cures}
    assert named == {
        *((node, "quiet", "on node1") for node in NODES),
        *((node, "web", "on the host itself") for node in NODES[:2]),
    }
    example.sh("node1", "docker network rm quiet web")
    example.sh("node2", "docker network rm web")
    run = example.run("up")
    assert run.proven, run.err
