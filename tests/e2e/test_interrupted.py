"""The controller is killed at each write in turn; run again, it ends settled and proven, and every engine can start."""

from __future__ import annotations

import itertools
import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from provisioner.lab import image
from provisioner.stores.consul_program import UPLOADED
from provisioner.system.reading import DAEMON_JSON
from tests.e2e.befalling import befalling
from tests.e2e.cluster import Cluster

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1500)]

DIED = "/run/died"  # there since a script of a write was killed on the host


def engines_can_start(cluster: Cluster) -> None:
    """Each engine is restarted with what is on its disk, after what the killed run had begun there has ended.

    One that has nothing of ours yet is as it was when the host booted.
    """

    def restart(host: str) -> None:
        wait = "mkdir -p /run/provisioner; flock -w 60 /run/provisioner/write.lock true"
        ours = f"ls {DAEMON_JSON} /etc/systemd/system/docker.service.d 2>/dev/null"
        if not cluster.sh(host, f"{wait}; {ours}", check=False):
            return
        json.loads(cluster.sh(host, f"cat {DAEMON_JSON} 2>/dev/null", check=False) or "{}")
        cluster.sh(
            host, "systemctl reset-failed docker; systemctl restart docker && docker version >/dev/null", timeout=150
        )

    with ThreadPoolExecutor() as pool:
        list(pool.map(restart, cluster.lab.hosts))


def put_whole(cluster: Cluster) -> dict[str, set[str]]:
    """What is to befall daemon.json: where it once is, it is whole at every moment."""
    return {host: {"put whole"} for host in cluster.lab.hosts}


def test_killed_at_every_write(make_lab, tmp_path):
    """From hosts as new to each write in turn; engines are started with what the killed run has left, before `up` goes on."""
    cluster = Cluster(make_lab(hosts=2), tmp_path)
    for number in itertools.count(1):
        with befalling(cluster.lab, DAEMON_JSON) as befell:
            run = cluster.killed(number)
            if run.code != 0:
                assert run.code == -9, run.err
                engines_can_start(cluster)
                assert cluster.up().report["findings"] == [], "what it has repaired is nothing to advise"
                assert cluster.run("plan").code == 0
        assert befell == put_whole(cluster)
        if run.code == 0:
            break  # it never came to so many writes
        cluster.lab.reset()
    assert number > 3 * 2  # a firewall, Consul and daemon.json on each


def test_killed_again_and_again(make_lab, tmp_path):
    """Each run goes some way further than the one before, with what that has left."""
    cluster = Cluster(make_lab(hosts=3), tmp_path)
    with befalling(cluster.lab, DAEMON_JSON) as befell:
        assert killed_on_its_way(cluster) >= 4  # firewall, Consul, daemon.json, network
    assert befell == put_whole(cluster)
    restarts(cluster)


def restarts(cluster: Cluster) -> None:
    """Consul and the engine of each host are to be restarted, one host at a time."""
    for host in cluster.lab.hosts:
        other = (
            'sed -i \'0,/{/s//{"log_level": "WARN",/\' /etc/consul.d/provisioner.json; sed -i s/:2376/:2399/ '
            + DAEMON_JSON
        )
        cluster.sh(host, f"{other}; systemctl restart consul docker", timeout=150)
    dies_once(cluster, "node2", "reset-failed docker.service")
    with befalling(cluster.lab, DAEMON_JSON) as befell:
        assert killed_on_its_way(cluster) >= 2 * len(cluster.lab.hosts)
    assert befell == put_whole(cluster)
    assert cluster.file("node2", DIED)


def test_a_bare_host_killed_at_every_write(make_lab, tmp_path):
    """Here packages are installed, and Consul is uploaded."""
    consul = image.ensure("engine-20.10", print) / "root/usr/bin/consul"
    store = f"{{kind: consul, binary: {consul}}}"
    cluster = Cluster(make_lab(hosts=1, image="bare"), tmp_path, store=store, extra="control_plane: kv\n")
    dies_once(cluster, "node1", "reload docker.service")
    with befalling(cluster.lab, DAEMON_JSON) as befell:
        run = cluster.killed(1, "sent")
        assert (run.code, "consul (uploaded)" in run.err) == (-9, True), run.err
        assert cluster.sh("node1", f"ls {UPLOADED}", check=False) == "", "the upload was to be killed in its middle"
        assert killed_on_its_way(cluster) >= 5  # the upload again, packages, a firewall, Consul and daemon.json
        assert cluster.file("node1", DIED)
    assert befell == put_whole(cluster)
    assert cluster.sh("node1", "ls -A /usr/local/bin") == "consul"


def test_killed_at_requests_to_the_store(make_lab, tmp_path):
    """The first `up` goes on where it was killed; what is made anew is begun anew by each run, and `up` ends what it left."""
    cluster = Cluster(make_lab(hosts=2), tmp_path)
    assert killed_on_its_way(cluster, ("requested",)) == 4, "two policies and two tokens"
    # A key is installed, used, and the old one removed; new tokens of three kinds are made before the old ones are deleted.
    for command, requests in {"rotate gossip-key": (1, 2, 3), "rotate tokens": (1, 3, 5)}.items():
        for number in requests:
            assert cluster.killed(number, "requested", command=command).code == -9
            cluster.up()
        run = cluster.run(command)
        assert (run.code, run.proven) == (0, True), run.err
        assert cluster.run("plan").code == 0
    # It asks its own agent to leave, and that is all.
    cluster.hosts = ("node1",)
    assert cluster.killed(1, "requested", command="remove 192.168.56.12").code == -9
    removed = cluster.run("remove 192.168.56.12")
    assert removed.code == 0, removed.err
    assert cluster.run("plan").code == 0


def killed_on_its_way(cluster: Cluster, moments: tuple[str, ...] = ("answered", "sent")) -> int:
    """Killed and run again, each time some way further, until nothing is left to write; how often that was."""
    kills, when = 0, itertools.cycle(moments)
    while (run := cluster.killed(1, next(when))).code == -9:
        kills += 1
    assert run.code == 0, run.err
    assert run.proven or len(cluster.lab.hosts) == 1, run.err
    engines_can_start(cluster)
    return kills


def dies_once(cluster: Cluster, host: str, call: str) -> None:
    """The script that calls systemctl so is killed itself: what was written before is there, what follows is not done."""
    program = f'case "$*" in "{call}") [ -e {DIED} ] || {{ echo once >{DIED}; kill -9 $PPID; exit; }} ;; esac\nexec /bin/systemctl "$@"'
    place = "/usr/local/sbin/systemctl"
    cluster.sh(host, f"cat >{place} <<'X'\n#!/bin/sh\n{program}\nX\nchmod 755 {place}")
