"""`doctor` on real hosts: it reports each lab fault first and at the right place, with a cure, and nothing on a healthy cluster.

Faults are independent of each other, so some share one cluster: break, examine, cure. The test ends if a fault can't be healed.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import random
import shlex
import time
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from provisioner.lab import FAULTS
from provisioner.lab.faults import Place
from tests import results
from tests.e2e.cures import clean, curable, healed, paste
from tests.e2e.pairs import HOSTS, drawn, placed

if TYPE_CHECKING:
    from pathlib import Path

    from provisioner.lab import Fault
    from tests.e2e.cluster import Cluster
    from tests.e2e.pairs import Pair

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1800)]

ALL = os.environ.get("PROVISIONER_ALL") == "1"
SEED = int(os.environ.get("PROVISIONER_SEED", "0")) or random.SystemRandom().randrange(1, 10_000)
STEPS = 3  # how many reports, one after the other, may name cures until `verify` passes
# Pairs of faults that could hide each other: one removes a host or path that is needed to see the other. More are drawn: see pairs.py.
HIDING = (
    ("vxlan-blocked", "gossip-udp"),
    ("vxlan-blocked", "ip-forward"),
    ("mtu", "vxlan-blocked-from"),
    ("engine-down", "vxlan-blocked"),
    ("route-shadow", "gossip-blocked"),
    ("firewall-reload", "packet-loss"),
)
HIDING_IN_A_SWARM = (("node-drained", "overlay-dropped"),)


def chosen(store: str, *more: str) -> list[Fault]:
    """Return the faults that a cluster of this kind can have. more: only these, and those that need this kind."""
    return [
        fault
        for fault in FAULTS.values()
        if fault.place is not Place.ROUTER  # test_routed_on_hosts.py has a router
        and (fault.id in more or (store in fault.stores if more else not fault.stores or store in fault.stores))
    ]


def victim(dice: random.Random, fault: Fault) -> tuple[str, str]:
    """Return a host for the fault, and another one if the fault is on a path."""
    host, other = dice.sample(HOSTS, 2)
    return host, other if fault.place.pair else ""


def containers(cluster: Cluster, *, proven: bool = False) -> bool:
    """See that a container runs on demo on each host, and let each ping the others: some faults need their forwarding entries.

    Returns whether one of them had to be started.

    proven: `verify` has just passed, and it tests running containers, too. So only those that do not run are looked at.

    Faults may restart an engine, which does not always start its containers again, or starts them without their network: it may
    not be there yet. Engines of a swarm look for a lost neighbour about once a minute: names may come late.
    """
    started = False
    for host in HOSTS:  # the last fault may have left an engine waiting for its store for a while
        cluster.sh(
            host,
            "for n in $(seq 60); do timeout 5 docker info >/dev/null 2>&1 && exit; sleep 1; done; exit 1",
            timeout=400,
        )
        shown = "{{.State.Running}} {{len .NetworkSettings.Networks}}"
        state = cluster.sh(host, f"docker inspect -f '{shown}' web-{host} 2>/dev/null", check=False)
        started |= state != "true 1"
        if state and state != "true 1":
            mend = f"docker network connect demo web-{host}" if state == "true 0" else f"docker start web-{host}"
            tries = f"for n in $(seq 5); do {mend} >/dev/null && echo well && exit; sleep 2; done"
            if cluster.sh(host, tries, timeout=300) != "well":  # an engine 20.10 may keep a namespace that is gone
                paste(cluster, cluster.run("doctor").report["causes"])
                assert cluster.sh(host, f"docker start web-{host}") == f"web-{host}"
        elif not state:
            cluster.box(host, f"web-{host}", "demo", "--restart always")
    for one, other in itertools.permutations(HOSTS, 2) if started or not proven else ():
        ping = f"docker exec web-{one} ping -qc 1 -W 2 web-{other}"
        # An engine 20.10 sometimes loses its store for one container, when it starts, or keeps one of the two entries for a container.
        for host, patience in ((one, 20), (other, 20), ("", 60)):
            script = f"for n in $(seq {patience}); do {ping} >/dev/null && echo well && exit; sleep 1; done"
            if cluster.sh(one, script, timeout=300) == "well":
                break
            assert host, f"web-{one} does not reach web-{other}:\n{cluster.run('doctor').err[-2000:]}"
            cluster.sh(host, f"docker restart -t 0 web-{host} || docker start web-{host}", timeout=120)
            if host == other:
                paste(cluster, cluster.run("doctor").report["causes"])
    return started


def complaint(causes: list[dict[str, Any]], fault: Fault, *hosts: str) -> str:
    """Return what is wrong with a diagnosis, or ""."""
    host, named = hosts[0], [(cause["id"], cause["hosts"]) for cause in causes]
    found = [cause for cause in causes if cause["id"] == fault.cause]
    if not found:
        return f"{fault.id} on {host}: not found in {named}"
    here = [cause for cause in found if not cause["hosts"] or set(hosts) & set(cause["hosts"])]
    if not here:
        return f"{fault.id} on {host}: found at another place: {named}"
    return "" if here[0]["evidence"] and here[0]["cure"] else f"{fault.id}: no evidence or cure"


def back(cluster: Cluster) -> None:
    """Wait until all managers of the swarm are back: a fault that takes one away leaves it behind for a while."""
    ready = 'test "$(docker node ls --format {{.ManagerStatus}} | grep -cE "Leader|Reachable")" = 3'
    for host in HOSTS:
        cluster.sh(
            host, f"for n in $(seq 400); do {ready} && exit; sleep 0.5; done; docker node ls; exit 1", timeout=240
        )


def lacking(folder: Path, causes: list[dict[str, Any]]) -> list[str]:
    """Return the causes that are missing in the files of a run."""
    cases = ET.parse(folder / "r.xml").iter("testcase")
    named = [str(case.get("name")) for case in cases if case.get("classname") == "causes"]
    page = (folder / "r.html").read_text()
    shown = [cause["id"] for cause in causes if f"<code>{cause['id']}</code>" in page]
    return [
        cause["id"]
        for cause, name in zip(causes, named, strict=True)
        if not name.startswith(cause["id"]) or cause["id"] not in shown
    ]


def settle(cluster: Cluster, *, up: bool = False) -> None:
    """Wait until nothing differs any more: what hung or was unreachable needs a while after a fault is healed.

    up: mend with `up` what still differs after some seconds, such as rules for an address that a fault had added.
    """
    for step in range(20):
        code = cluster.run("plan").code
        if code == 0:
            return
        if up and code == 2 and step >= 4:
            cluster.run("up")
        time.sleep(2)


def recovered(cluster: Cluster, fault: Fault, causes: list[dict[str, Any]]) -> tuple[str, bool]:
    """Cure a fault as its report says, or by the lab if its cure is only words. Returns what `verify` still says then, and if `up` ran.

    Engines of a swarm look for lost ones once a minute, so it looks again for a while.
    """
    by_report, did = curable(fault), set()
    if not by_report:
        healed(cluster)
    for step in range(8):
        if by_report and step < STEPS:
            did.add(paste(cluster, causes))
            if did == {""}:
                return f"its report has no command and needs no `up`: {[cause['id'] for cause in causes]}", False
        if not cluster.store:
            back(cluster)
        run = cluster.run("verify")
        if run.code == 0:
            return "", "up" in did
        causes = run.report["causes"]
        if not by_report or step + 1 >= STEPS or not any(cause["commands"] or cause["fixable"] for cause in causes):
            settle(cluster)
        if step >= STEPS:
            time.sleep(10)
    return run.err[-1000:], "up" in did


# All faults on Consul; in the swarm those that only a swarm has, and those that its engines show otherwise; on other stores theirs.
@pytest.mark.parametrize(
    ("kind", "faults"),
    [
        *(("consul", chosen("consul")[part::6]) for part in range(6)),
        ("swarm-28", chosen("swarm", "firewall-reload", "gossip-blocked")),
        ("etcd", [FAULTS["store-down"], FAULTS["store-hangs"]]),
        ("zookeeper", [FAULTS["store-down"], FAULTS["store-hangs"]]),
    ],
    ids=[*(f"consul-{part}" for part in range(1, 7)), "swarm-28", "etcd", "zookeeper"],
)
def test_each_fault_is_named_first_and_at_its_place(settled, capsys, tmp_path, kind, faults):
    cluster = settled(kind)
    containers(cluster)
    healthy = cluster.run("doctor")
    assert (healthy.code, healthy.report["causes"]) == (0, []), healthy.err
    namespaces = 6 if kind == "swarm-28" else 3  # in a swarm, those of the ingress too
    assert any(f"{namespaces} overlay namespaces" in line for line in healthy.report["looked_at"])
    dice, wrong, left = random.Random(SEED), [], ""
    for fault in faults:
        host, to = victim(dice, fault)
        containers(cluster, proven=not left)
        cluster.lab.break_(fault, host, to)
        verified = cluster.run("verify", "--strict")  # some faults are warnings
        run = cluster.run("doctor", "--junit", str(tmp_path / "r.xml"), "--html", str(tmp_path / "r.html"))
        causes, begin = run.report["causes"], time.monotonic()
        left, up = recovered(cluster, fault, causes)
        seconds = time.monotonic() - begin
        if curable(fault):
            clean(cluster, up=up or bool(left))
            if not cluster.store:
                back(cluster)
            results.record(fault.id, kind, "fixed", worked=not left, seconds=seconds)
        if verified.code != 1 or complaint(verified.report["causes"], fault, host, to):
            wrong.append(f"{fault.id} on {host}: verify gives {verified.code}\n{verified.err[-1000:]}")
        if any(cause["severity"] == "error" for cause in causes) and run.code != 1:
            wrong.append(f"{fault.id} on {host}: doctor gives {run.code}")
        if left:
            wrong.append(f"{fault.id} on {host}: verify fails afterwards\n{left}")
        first = bool(causes) and causes[0]["id"] == fault.cause and not complaint(causes, fault, host, to)
        named = next((cause for cause in causes if cause["id"] == fault.cause), None)
        results.record(fault.id, kind, "found", worked=first, seconds=run.report["seconds"], cause=named)
        if causes and causes[0]["id"] != fault.cause:
            wrong.append(
                f"{fault.id} on {host}: the first cause is {[(cause['id'], cause['hosts']) for cause in causes]}"
            )
        elif said := complaint(causes, fault, host, to):
            wrong.append(f"{said}\n{run.err[-1000:]}")
        wrong += [f"{fault.id}: the files lack {name}" for name in lacking(tmp_path, causes)]
        with capsys.disabled():
            print(f"{fault.id} on {host}: {run.report['seconds']:.1f} s, cured in {seconds:.1f} s")
    assert not wrong, f"seed {SEED}:\n" + "\n".join(wrong)


def ask(cluster: Cluster, host: str, what: str) -> Any:
    """Send a request to the diagnostic server of an engine."""
    request = f"GET /{what.replace('%', '%%')} HTTP/1.0\\r\\n\\r\\n"
    said = cluster.sh(host, f"exec bash -c 'exec 3<>/dev/tcp/127.0.0.1/2000; printf \"{request}\" >&3; cat <&3'")
    return json.loads(said.replace("\r", "").partition("\n\n")[2])


def show_tables(cluster: Cluster) -> None:
    """Turn the diagnostic servers of all engines on."""
    for host in HOSTS:
        keys = json.loads(cluster.file(host, "/etc/docker/daemon.json") or "{}") | {"network-diagnostic-port": 2000}
        cluster.sh(host, f"echo {shlex.quote(json.dumps(keys))} >/etc/docker/daemon.json; systemctl reload docker")


def an_old_address_is_announced_too(cluster: Cluster, network: str) -> None:
    """Let node1 announce an address that no container has, beside the right one of its container, and then in its place."""
    endpoint, address = cluster.sh(
        "node1",
        "docker inspect -f '{{with .NetworkSettings.Networks.demo}}{{.EndpointID}} {{.IPAddress}}{{end}}' web-node1",
    ).split()
    old = f"{address.rpartition('.')[0]}.250"
    table = f"nid={network}&tname=endpoint_table&json"
    entry = base64.b64decode(ask(cluster, "node1", f"getentry?{table}&key={endpoint}")["details"]["value"])
    # Field 5 of the entry is its address (protobuf: a tag, the length, the text).
    right, wrong = (b"*" + bytes([len(each)]) + each.encode() for each in (address, old))
    value = quote(base64.b64encode(entry.replace(right, wrong)), safe="")
    steps = (f"createentry?{table}&key=old&value={value}", f"deleteentry?{table}&key={endpoint}")
    for step in steps:
        assert ask(cluster, "node1", step)["message"] == "OK"
        causes = next(filter(None, (cluster.run("doctor", "--only", "kernel").report["causes"] for _ in range(5))), [])
        assert {(cause["id"], cause["path"]["to"]) for cause in causes} == {("name-stale", "node1")}
        assert {cause["path"]["from"] for cause in causes} == {"node2", "node3"}
        assert all(f"web-node1 ({address}) to {old}" in cause["evidence"][0] for cause in causes)
    (cause, *_) = cluster.run("doctor", "--deep", "--only", "kernel").report["causes"]
    assert (cause["id"], "name-stale" in cause["consequences"]) == ("table-differs", True)
    assert ask(cluster, "node1", f"deleteentry?{table}&key=old")["message"] == "OK"
    cluster.sh("node1", "docker restart -t 0 web-node1 || docker start web-node1")
    assert cluster.run("doctor", "--deep", "--only", "kernel").report["causes"] == []


def test_names_that_containers_have_forgotten_follow_from_blocked_gossip(settled):
    """The engines' gossip tables show it, too: as they are, with a container that is missing, and then without gossip.

    A host without the program `bridge` is first: its forwarding entries are unknown, and not lost.
    """
    cluster = settled("swarm-28")
    containers(cluster)
    deep = ("doctor", "--deep", "--only", "kernel")
    bridge = cluster.sh("node3", "command -v bridge").strip()
    cluster.sh("node3", f"mv {bridge} /root/bridge")
    off = cluster.run(*deep)
    cluster.sh("node3", f"mv /root/bridge {bridge}")
    assert (off.code, off.report["causes"]) == (0, []), off.err
    assert off.outcome("observe", "node3")["state"] == "skipped"
    assert "bridge is missing (Debian package iproute2)" in off.outcome("observe", "node3")["reason"]
    assert "bridge is missing (Debian package iproute2)" in off.err
    read = [line for line in off.report["looked_at"] if "forwarding entries" in line]
    assert [line.startswith("kernels of node1, node2: ") for line in read] == [True]
    assert "network-diagnostic-port" in off.outcome("tables", "node3")["reason"]
    show_tables(cluster)
    well = cluster.run(*deep)
    assert (well.code, well.report["causes"]) == (0, []), well.err
    assert "gossip tables of node1, node2, node3: 3 containers on demo" in well.report["looked_at"]
    assert not {"tables", "observe"} & {outcome["step"] for outcome in well.report["outcomes"]}
    assert cluster.run("plan").code == 0  # the key of somebody else in daemon.json

    network = cluster.sh("node1", "docker network inspect -f '{{.Id}}' demo")
    endpoint = cluster.sh("node2", "docker inspect -f '{{.NetworkSettings.Networks.demo.EndpointID}}' web-node2")
    for table in ("endpoint_table", "overlay_peer_table"):
        assert ask(cluster, "node2", f"deleteentry?nid={network}&tname={table}&key={endpoint}&json")["message"] == "OK"
    (cause, *more) = cluster.run(*deep).report["causes"]
    assert (cause["id"], cause["hosts"], cause["network"], more) == ("table-differs", ["node2"], "demo", [])
    assert "no name for web-node2" in cause["evidence"][0]
    assert "docker restart web-node2" in cause["advice"][0]
    cluster.sh("node2", "docker restart -t 0 web-node2 || docker start web-node2")
    assert [cause["evidence"] for cause in cluster.run(*deep).report["causes"]] == []
    an_old_address_is_announced_too(cluster, network)

    cluster.lab.break_(FAULTS["gossip-blocked"], "node1", "")
    forgotten = "timeout 2 docker exec web-node2 ping -qc 1 web-node1 2>&1 | grep -q resolution"
    cluster.sh("node2", f"for n in $(seq 60); do {forgotten} && exit; sleep 1; done; exit 1", timeout=200)
    (cause, *more) = cluster.run("doctor", "--deep").report["causes"]
    cluster.lab.heal()
    assert (cause["id"], more) == ("gossip-blocked", [])
    assert {"names-unresolved", "table-differs"} <= set(cause["consequences"])


def test_an_engine_that_keeps_a_record_of_a_container_that_is_gone_starts_once_without_its_store(settled):
    """It keeps one since the store lost the container's endpoint, and then looks for its namespace at each start."""
    cluster = settled("consul")
    containers(cluster)
    for fault in ("endpoints-lost", "sandbox-lost"):
        time.sleep(6)  # `doctor` does not blame what a container lacks in its first seconds
        cluster.lab.break_(FAULTS[fault], "node1", "")
        found = cluster.run("doctor").report["causes"]
        assert [cause["hosts"] for cause in found if cause["id"] == FAULTS[fault].cause] == [["node1"]]
        paste(cluster, found)
    for _ in range(3):  # its engine's start may still restart the container
        (found,) = cluster.run("verify").report["causes"]
        assert (found["id"], found["hosts"]) == ("sandbox-lost", ["node1"])
        assert 'failed get network namespace ""' in found["evidence"][0]
    before = cluster.file("node1", "/etc/docker/daemon.json")
    paste(cluster, [found])
    assert cluster.file("node1", "/etc/docker/daemon.json") == before
    cluster.sh("node1", "for n in $(seq 20); do docker start web-node1 && exit; sleep 1; done; exit 1", timeout=120)
    assert cluster.run("verify").code == 0
    cluster.sh("node1", "systemctl reset-failed docker; systemctl restart docker", timeout=120)
    assert cluster.run("verify").code == 0, "the record is gone"


def examined(cluster: Cluster, pair: Pair) -> tuple[list[str], float]:
    """Make two faults, run `doctor`, and heal them. Returns what is wrong, and how long `doctor` took."""
    containers(cluster)
    for host in HOSTS:  # `doctor` does not blame what a container lacks in its first seconds
        began = f"date +%s -d \"$(docker inspect -f '{{{{.State.StartedAt}}}}' web-{host})\""
        cluster.sh(
            host, f"for n in $(seq 30); do [ $(date +%s) -le $(( $({began}) + 6 )) ] || exit 0; sleep 0.5; done; exit 1"
        )
    for made in pair:
        cluster.lab.break_(made.fault, made.host, made.to)
    run = cluster.run("doctor")
    healed(cluster)
    causes = run.report["causes"]
    wrong = [said for made in pair if (said := complaint(causes, made.fault, made.host, made.to))]
    return [f"{pair[0]} and {pair[1]}: {said}\n{run.err[-1000:]}" for said in wrong], run.report["seconds"]


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", ["consul", "swarm-28"])
def test_two_faults_at_once_are_both_named(settled, capsys, kind):
    """A third of the pairs, chosen by the seed, or all with PROVISIONER_ALL=1."""
    cluster, dice, wrong, store = settled(kind), random.Random(SEED), [], kind.partition("-")[0]
    pairs = drawn(store, dice)
    hiding = HIDING if store == "consul" else HIDING_IN_A_SWARM
    pairs += [placed(FAULTS[one], FAULTS[other], dice) for one, other in hiding]
    for pair in pairs if ALL else dice.sample(pairs, -(-len(pairs) // 3)):
        said, seconds = examined(cluster, pair)
        wrong += said
        with capsys.disabled():
            print(f"{pair[0]} and {pair[1]}: {seconds:.1f} s", *(f"wrong: {each.splitlines()[0]}" for each in said))
        if store == "swarm":
            back(cluster)
        settle(cluster, up=True)
    assert not wrong, f"seed {SEED}:\n" + "\n".join(wrong)
