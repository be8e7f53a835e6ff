"""`up` on real hosts: to a proven network from bare or used hosts, a second time, with more hosts, and after a power cut."""

from __future__ import annotations

import json
import signal
import time
from itertools import pairwise, permutations
from typing import TYPE_CHECKING

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.typed import QUESTION, asked
from tests.e2e.watch import watching

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.lab

NODES = ("node1", "node2", "node3")


@pytest.fixture
def cluster(make_lab, tmp_path: Path) -> Cluster:
    return Cluster(make_lab(hosts=3), tmp_path)


# A path that silently drops larger packets. TCP is not affected, so that ssh works.
NARROW = """for what in "icmp" "udp --dport 4789"; do
    iptables -t mangle -A PREROUTING -p $what -m length --length 1401:65535 -j DROP
done"""


def everywhere(cluster: Cluster, script: str, hosts=NODES) -> dict[str, str]:
    return {host: cluster.sh(host, script) for host in hosts}


PROBES = """docker ps -a --filter name=provisioner-probe; docker image ls -q provisioner/probe
docker network inspect demo -f '{{range .Containers}}{{.Name}} {{end}}'
ps -eo args | grep -E '^(timeout .*)?docker (run|rm|import)'
find /run /tmp /var/lib -xdev -path /var/lib/docker -prune -o -path '*provisioner*' -print | sort"""
RUNNING = "systemctl show -p MainPID,ActiveEnterTimestampMonotonic docker consul"


def test_bare_hosts_become_a_proven_network(make_lab, tmp_path):
    cluster = Cluster(make_lab(hosts=3, images={"node1": "bare", "node2": "bare"}), tmp_path)
    for host in NODES[:2]:
        assert cluster.sh(host, "command -v dockerd consul iptables", check=False) == ""
    cluster.sh("node1", "mv /usr/bin/perl /usr/bin/perl.away")
    refused = cluster.run("plan").report
    assert [(found["check"], found["host"]) for found in refused["findings"]] == [("no-perl", "node1")]
    assert "apt-get install --reinstall perl-base" in refused["findings"][0]["cure"]
    cluster.sh("node1", "mv /usr/bin/perl.away /usr/bin/perl")
    run = cluster.up()
    assert [run.state("packages", host) for host in NODES] == ["converged", "converged", "settled"]
    assert len(run.report["proofs"][0]["pairs"]) == 6
    assert cluster.up().report["writes"] == 0


# What another program changes while a person is asked.
OPENS = """mkdir -p /etc/docker; echo '{"log-level": "warn"}' >/etc/docker/daemon.json"""


def test_installed_hosts_become_a_proven_network_and_the_second_time_nothing_is_written(cluster):
    """Earlier containers keep running without a restart, and other keys of daemon.json stay. A proof that is interrupted with
    Ctrl-C leaves nothing behind.
    """
    other = {
        "log-level": "warn",
        "labels": ["rack=é1"],
        "default-ulimits": {"nofile": {"Name": "nofile", "Soft": 1024, "Hard": 2048}},
    }
    cluster.sh(
        "node2",
        f"mkdir -p /etc/docker; cat >/etc/docker/daemon.json <<'X'\n{json.dumps(other)}\nX\nsystemctl restart docker",
    )
    for host in NODES:
        cluster.box(host, "before")
    before = {host: cluster.started(host, "before") for host in NODES}
    engines = everywhere(cluster, "systemctl show -p MainPID docker")

    planned = cluster.run("plan")
    assert len(planned.err.partition("\nversion\n")[2].splitlines()) < 2 * 45, planned.err
    assert [step["run"] for step in planned.report["next"]] == [
        f"provisioner up {cluster.inventory}",
        f"provisioner plan --diff {cluster.inventory}",
    ]
    refused, shown = asked(cluster, "up", ("n", lambda: None))
    assert (refused.code, shown.count(QUESTION)) == (1, 1)
    assert "/etc/docker/daemon.json" in shown
    assert [failure["check"] for failure in refused.report["failures"]] == ["not-confirmed"]
    assert cluster.sh("node1", "ls -d /etc/provisioner /run/provisioner* 2>/dev/null", check=False) == ""
    first, shown = asked(cluster, "up", ("y", lambda: cluster.sh("node3", OPENS)), ("yes", lambda: None))
    assert (first.code, shown.count(QUESTION)) == (0, 2), shown
    assert "The hosts have changed meanwhile." in shown
    assert first.proven
    assert first.report["writes"] > 0
    containers_start_as_shown(cluster, [step["run"] for step in first.report["next"]])
    assert {host: cluster.started(host, "before") for host in NODES} == before
    assert all(state.startswith("true") for state in before.values())
    assert everywhere(cluster, "systemctl show -p MainPID docker") == engines
    written = json.loads(cluster.file("node2", "/etc/docker/daemon.json"))
    assert written == {**other, "cluster-store": "consul://127.0.0.1:8500", "cluster-advertise": "192.168.56.12:2376"}
    assert json.loads(cluster.sh("node2", "cat /etc/docker/daemon.json.*.bak")) == other

    marks = everywhere(cluster, "find /etc /var/lib/consul/node-id -newermt '-1 day' -type f -printf '%p %T@\n' | sort")
    second, shown = asked(cluster, "up")
    assert (second.code, second.report["writes"], QUESTION in shown) == (0, 0, False)
    assert {o["state"] for o in second.report["outcomes"]} == {"settled"}
    assert (
        everywhere(cluster, "find /etc /var/lib/consul/node-id -newermt '-1 day' -type f -printf '%p %T@\n' | sort")
        == marks
    )
    assert cluster.run("plan").code == 0
    assert cluster.run("verify").code == 0
    containers_get_past_the_rules(cluster)
    stopped_in_its_proof(cluster)


# An image with one program, its libraries and what the C library loads to resolve names. Arguments: image, program.
IMAGE = """tar -chP $(ldd /bin/$2 | grep -o '/[^ ]*') /lib/x86_64-linux-gnu/libnss_dns.so.2 /lib/x86_64-linux-gnu/libnss_files.so.2 /bin/$2 |
docker import -c 'CMD ["/bin/sleep", "600"]' - $1 >/dev/null"""


def containers_start_as_shown(cluster: Cluster, commands: list[str]) -> None:
    """The lab has no registry, so its hosts get images with the names that the commands use."""
    images = (("node1", "nginx", "sleep"), ("node2", "alpine", "ping"))
    said = ""
    for (host, image, program), command in zip(images, commands, strict=True):
        cluster.sh(host, f"set -- {image} {program}; {IMAGE}")
        said = cluster.sh(host, command)
    assert "3 received, 0% packet loss" in said, said
    cluster.sh("node1", "docker rm -f web; docker image rm nginx")
    cluster.sh("node2", "docker image rm alpine")


def containers_get_past_the_rules(cluster: Cluster) -> None:
    """A rule of somebody else lets packets of containers pass to one peer. (test_firewall_on_hosts.py has wrong rules of ours.)"""
    cluster.sh("node2", f"iptables -t mangle -I FORWARD -d {cluster.lab.address('node3')} -j ACCEPT")
    run = cluster.run("verify", "--only", "isolation")
    apart, left_out = run.report["proofs"]
    assert (run.code, apart["name"], left_out["name"]) == (1, "isolation/demo", "overlay/demo")
    assert (left_out["chosen"], left_out["state"], left_out["pairs"]) == (False, "skipped", [])
    assert [check["host"] for check in apart["checks"] if not check["proven"]] == ["node2"]
    leaks = "192.168.56.13 7946/tcp, 8300/tcp, 8301/tcp, 4789/udp, 7946/udp, 8301/udp"
    assert (
        f"node2: no packet leaves for the cluster's ports of other hosts: packets of its containers leave the host, with its address, for {leaks}"
        in apart["error"]
    )
    assert [(p["check"], p["host"]) for p in apart["problems"]] == [("cluster-ports-open", "node2")]
    assert cluster.up().state("firewall", "node2") == "converged"
    cluster.sh("node2", "iptables -t mangle -D FORWARD -d 192.168.56.13 -j ACCEPT")
    run = cluster.run("verify", "--skip", "iso*")
    assert (run.code, run.report["proven"]) == (0, False), run.err
    assert run.report["verdict"].startswith("passed: 1 of 2 proofs, as chosen, on 3 hosts: 6 of 6 pairs on demo ")
    assert run.report["verdict"].endswith("; not run: isolation/demo")


# Prints a probe container's options, its effective capabilities, and the result of root's write to each of its mounts.
CONFINED = """id=$(docker ps -q --filter name=provisioner-probe | head -n 1)
docker inspect -f '{{.HostConfig.CapDrop}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.SecurityOpt}} {{range .Mounts}}{{.RW}} {{end}}' $id
grep CapEff /proc/$(docker inspect -f '{{.State.Pid}}' $id)/status
for to in / $(docker inspect -f '{{range .Mounts}}{{.Destination}} {{end}}' $id); do
    docker exec -u 0 $id perl -e 'print open(my $new, ">", "$ARGV[0]/x") ? "written\n" : "$!\n"' $to
done"""


def probes_may_nothing(cluster: Cluster) -> None:
    inspected, rights, *writes = cluster.sh("node1", CONFINED).splitlines()
    drops, read_only, options, *mounts = inspected.split()
    assert (drops, read_only, options) == ("[ALL]", "true", "[no-new-privileges]")
    assert rights.split() == ["CapEff:", "0" * 16]
    assert mounts
    assert set(mounts) == {"false"}
    assert set(writes) == {"Read-only file system"}


def stopped_in_its_proof(cluster: Cluster) -> None:
    # The earlier proof may still be releasing its endpoints in the background.
    while "provisioner-probe" in str(before := everywhere(cluster, PROBES)):
        time.sleep(0.3)
    cluster.sh("node2", "iptables -t mangle -I PREROUTING -p udp --dport 4789 -j DROP")  # so that the proof takes long
    process = cluster.begin("up")
    everywhere(
        cluster,
        "for n in $(seq 300); do docker ps --filter name=provisioner-probe -q | grep -q . && exit; sleep 0.1; done; exit 1",
    )
    assert (
        not everywhere(cluster, PROBES).items() & before.items()
    )  # without probes, the checks below would prove nothing
    probes_may_nothing(cluster)
    process.send_signal(signal.SIGINT)
    run = cluster.ended(process, 20)
    assert (run.code, run.report["exit_code"]) == (130, 130)
    assert run.log.endswith("Z provisioner ends with exit code 130\n")
    assert "stopped; scripts that already run on hosts will finish. Run the command again to continue.\n" in run.err
    until = time.monotonic() + 20
    while (left := everywhere(cluster, PROBES)) != before and time.monotonic() < until:
        time.sleep(0.3)
    assert left == before


def test_plan_shows_the_real_files_and_changes_nothing(cluster):
    cluster.sh("node1", "mkdir -p /etc/docker; echo '{\"debug\": true}' >/etc/docker/daemon.json")
    before = everywhere(
        cluster,
        "find /etc /var/lib /run -xdev -type f 2>/dev/null | sort | xargs sha256sum 2>/dev/null | grep -v journal",
    )
    run = cluster.run("plan")
    assert run.code == 2
    assert run.report["writes"] == 0
    drift = next(d for d in run.outcome("daemon", "node1")["drifts"] if d["what"] == "/etc/docker/daemon.json")
    assert drift["found"] == '{"debug": true}\n'
    assert json.loads(drift["wanted"]) == {
        "debug": True,
        "cluster-store": "consul://127.0.0.1:8500",
        "cluster-advertise": "192.168.56.11:2376",
    }
    assert '+    "cluster-store": "consul://127.0.0.1:8500"' in run.err
    after = everywhere(
        cluster,
        "find /etc /var/lib /run -xdev -type f 2>/dev/null | sort | xargs sha256sum 2>/dev/null | grep -v journal",
    )
    changed = {h: set(after[h].splitlines()) ^ set(before[h].splitlines()) for h in NODES}
    ours = [
        line
        for lines in changed.values()
        for line in lines
        if "docker" in line or "consul" in line or "provisioner" in line
    ]
    assert ours == []

    run = cluster.run("verify")
    assert run.code == 1
    assert run.report["writes"] == 0


def test_verify_and_status_report_the_state_and_change_nothing(settled):
    cluster = settled("consul")
    cluster.sh("node3", "systemctl stop docker docker.socket")
    run = cluster.run("verify")
    assert run.code == 1
    assert run.state("daemon", "node3") == "drifted"
    assert cluster.sh("node3", "systemctl is-active docker", check=False) == "inactive"
    missing = {(p["source"], p["target"]) for p in run.report["proofs"][0]["pairs"] if not p["proven"]}
    assert missing == {(a, b) for a in NODES for b in NODES if a != b and "node3" in (a, b)}
    status = cluster.run("status")
    assert (status.code, status.report["verdict"]) == (0, "3 hosts: all reached; engine stopped on node3")
    by_host = {s["host"]: s for s in status.report["summaries"]}
    assert by_host["node1"]["networks"] == ["demo"]
    assert by_host["node1"]["store_role"] == "server"
    assert by_host["node3"]["engine"].endswith("(stopped)")
    assert "everywhere" not in status.err or "networks demo" not in status.err.partition("everywhere")[2]

    # A frozen engine lives and does not answer. A host that is cut off is not reached at all.
    cluster.sh("node3", "systemctl start docker; kill -STOP $(systemctl show -p MainPID --value docker)")
    status = cluster.run("status")
    assert (status.code, status.report["verdict"]) == (1, "3 hosts: all reached; no answer from the engine on node3"), (
        status.err
    )
    assert "20.10.5 (no answer)" in status.err
    cluster.sh("node3", "kill -CONT $(systemctl show -p MainPID --value docker)")
    cluster.lab.cut("node2")
    cluster.ssh = ", connect_timeout: 3"
    for _ in range(5):  # if node2 led the store, the engines answer only after a new leader is elected
        status = cluster.run("status")
        if "no answer" not in status.report["verdict"]:
            break
    assert (status.code, status.report["verdict"]) == (1, "3 hosts: 2 reached, not reached: node2")
    assert "everywhere" not in status.err
    cluster.lab.uncut("node2")

    cluster.sh("node3", "systemctl stop consul")
    run = cluster.run("verify")
    assert (run.code, run.report["writes"]) == (1, 0)
    assert (
        "no probe on node3: its engine can't use the store: Consul does not run on this host"
        in run.report["proofs"][0]["error"]
    )
    cluster.sh("node2", "systemctl stop consul")
    run = cluster.run("verify")
    assert run.report["seconds"] < 60, "the proofs do not wait for networks that no engine can find"
    error = run.report["proofs"][0]["error"]
    assert "no probe on node1: Consul has no leader, so engines can't use it; it does not run on node2, node3" in error
    assert f"on node1, node2, node3: bring the store back first: provisioner up {cluster.inventory}" in error
    cluster.up()


def test_from_two_hosts_to_three_and_four_without_disturbing_the_present_ones(make_lab, tmp_path, record_property):
    """With the third host the store grows from one server to three."""
    cluster = Cluster(make_lab(hosts=4), tmp_path, hosts=NODES[:2])
    cluster.sh("node2", NARROW)
    assert cluster.up().report["proofs"][0]["mtu"] == 1350  # bytes; measured, although every interface has 1500
    assert len(json.loads(cluster.sh("node1", "curl -s 127.0.0.1:8500/v1/status/peers"))) == 1
    assert cluster.sh("node1", "curl -s -X PUT -d kept 127.0.0.1:8500/v1/kv/docker/mine") == "true"
    cluster.hosts = NODES
    cluster.up()
    assert len(json.loads(cluster.sh("node1", "curl -s 127.0.0.1:8500/v1/status/peers"))) == 3
    assert cluster.sh("node3", "curl -s 127.0.0.1:8500/v1/kv/docker/mine?raw") == "kept"
    assert cluster.run("plan").code == 0

    for host in NODES:
        cluster.box(host, f"app-{host}", network="demo")
    running = everywhere(cluster, RUNNING)
    started = {host: cluster.started(host, f"app-{host}") for host in NODES}
    cluster.hosts = ("node4", *NODES)  # first in the file, but it must not replace a present server
    with watching(cluster, NODES, record_property, "a host joins a cluster on Consul"):
        run = cluster.up()
    assert len(run.report["proofs"][0]["pairs"]) == 12
    assert everywhere(cluster, RUNNING) == running
    assert {host: cluster.started(host, f"app-{host}") for host in NODES} == started
    cluster.box("node4", "app-node4", network="demo")
    assert "1 received" in cluster.sh("node4", "docker exec app-node4 ping -c 1 -W 5 app-node1")
    assert cluster.run("plan").code == 0


REACHED = "for n in $(seq 90); do docker exec app-{0} ping -c 1 -W 1 app-{1} 2>/dev/null && break; sleep 1; done"
AGAIN = "for n in $(seq 300); do [ -e /run/provisioner-engine-again ] && systemctl is-active docker && exit; sleep 0.1; done; exit 1"


def test_after_a_power_cut_of_all_hosts_everything_recovers_by_itself(settled):
    cluster = settled("consul")
    for host in NODES:
        cluster.box(host, f"app-{host}", network="demo", options="--restart always")
    assert "1 received" in cluster.sh("node1", "docker exec app-node1 ping -c 1 -W 5 app-node3")
    cluster.lab.stop(*NODES)
    cluster.lab.start(*NODES)
    for one, other in permutations(NODES, 2):
        assert "1 received" in cluster.sh(one, REACHED.format(one, other), timeout=200), (one, other)
    for host in NODES:
        cluster.sh(host, AGAIN)
    assert cluster.up().report["writes"] == 0

    # The engine's second start after a power cut does not count: the operator keeps the three starts a minute of Debian's unit.
    cluster.lab.stop("node1")
    cluster.lab.start("node1")
    cluster.sh("node1", AGAIN)
    cluster.sh("node1", "systemctl restart docker && systemctl restart docker")
    assert "1 received" in cluster.sh("node1", REACHED.format("node1", "node2"), timeout=200)


def test_engines_are_restarted_one_host_at_a_time(settled):
    """The engines advertise a different port than `up` wants, and they read a changed port only at their start."""
    cluster = settled("consul")
    everywhere(cluster, "sed -i s/:2376/:2399/ /etc/docker/daemon.json && systemctl restart docker")
    run = cluster.run("plan")
    assert run.code == 2
    assert any(d["note"] == "restart" for d in run.outcome("daemon", "node1")["drifts"])
    stops_at_an_engine_that_does_not_come_back(cluster)
    run = cluster.run("up")
    assert {run.state("daemon", host) for host in NODES} == {"converged"}, run.err
    keys = "InactiveExitTimestampMonotonic,ActiveEnterTimestampMonotonic"
    times = everywhere(cluster, f"systemctl show -p {keys} --value docker")
    spans = sorted(tuple(sorted(map(int, text.split()))) for text in times.values())
    assert all(earlier[1] <= later[0] for earlier, later in pairwise(spans)), spans
    assert cluster.run("plan").code == 0


def stops_at_an_engine_that_does_not_come_back(cluster: Cluster) -> None:
    """The first engine fails to restart. Its old file is restored, and the other engines are not restarted."""
    old = {host: cluster.file(host, "/etc/docker/daemon.json") for host in NODES}
    refuse, place = (
        '[Service]\\nExecStartPre=/bin/sh -c "! grep 2376 /etc/docker/daemon.json"\\n',
        "/etc/systemd/system/docker.service.d/refuse.conf",
    )
    cluster.sh("node1", f"printf '{refuse}' >{place}; systemctl daemon-reload")
    before = {host: cluster.sh(host, "systemctl show -p MainPID docker") for host in NODES[1:]}
    run = cluster.run("up")
    assert run.code == 1
    assert "the old file is restored and the engine runs with it" in run.err
    assert "192.168.56.11:2376" in run.err  # the last lines of its log
    assert cluster.file("node1", "/etc/docker/daemon.json") == old["node1"]
    assert cluster.sh("node1", "systemctl is-active docker") == "active"
    assert {host: cluster.sh(host, "systemctl show -p MainPID docker") for host in NODES[1:]} == before
    assert {host: cluster.file(host, "/etc/docker/daemon.json") for host in NODES} == old
    cluster.sh("node1", f"rm {place}; systemctl daemon-reload; systemctl reset-failed docker")
