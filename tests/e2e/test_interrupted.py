"""Kills the controller at its writes. The next run must end settled and proven, and every engine must be able to start."""

from __future__ import annotations

import itertools
import json
import os
import random
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from provisioner.lab import image
from provisioner.stores.consul_program import UPLOADED
from provisioner.system.reading import DAEMON_JSON
from tests.e2e.cluster import Cluster
from tests.e2e.file_events import REPLACED, file_events

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1500)]

DIED = "/run/died"  # created when the script of a write is killed on the host


def engines_can_start(cluster: Cluster) -> None:
    """Restart each engine with the files on its disk, once the script that the killed run started there has ended.

    An engine without our files is skipped, because nothing has changed since the host booted.
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


def only_replaced(cluster: Cluster) -> dict[str, set[str]]:
    """The expected events of daemon.json: once it exists, it is complete at every moment."""
    return {host: {REPLACED} for host in cluster.lab.hosts}


def test_killed_at_every_write(make_lab, tmp_path):
    """Each round starts with new hosts and kills the run at a write: at half of them by chance, or at each with PROVISIONER_ALL=1.

    The engines restart before `up` runs again.
    """
    cluster = Cluster(make_lab(hosts=2), tmp_path)
    share = 1.0 if os.environ.get("PROVISIONER_ALL") == "1" else 0.5
    for number in (n for n in itertools.count(1) if random.random() < share):
        with file_events(cluster.lab, DAEMON_JSON) as events:
            run = cluster.killed(number)
            if run.code != 0:
                assert run.code == -9, run.err
                # Nothing needs to run on a host at that moment: a change can be a request to the store.
                assert re.search(r"Z command  node[12]  begins  .+\n", run.log), "the log has everything until then"
                assert (run.log[-1], "provisioner ends" in run.log) == ("\n", False)
                engines_can_start(cluster)
                assert cluster.up().report["findings"] == [], "a repaired problem is not reported"
                assert cluster.run("plan").code == 0
        assert events == only_replaced(cluster)
        if run.code == 0:
            break  # the run has fewer writes than `number`
        cluster.lab.reset()
    assert number > 3 * 2  # a firewall, Consul and daemon.json on each host


def test_killed_again_and_again(make_lab, tmp_path):
    """Each run continues from the state that the killed run before it has left."""
    cluster = Cluster(make_lab(hosts=3), tmp_path)
    with file_events(cluster.lab, DAEMON_JSON) as events:
        assert killed_repeatedly(cluster) >= 4  # firewall, Consul, daemon.json, network
    assert events == only_replaced(cluster)
    restarts(cluster)


def restarts(cluster: Cluster) -> None:
    """Kill runs that must restart Consul and the engine of each host, one host at a time."""
    for host in cluster.lab.hosts:
        other = (
            'sed -i \'0,/{/s//{"log_level": "WARN",/\' /etc/consul.d/provisioner.json; sed -i s/:2376/:2399/ '
            + DAEMON_JSON
        )
        cluster.sh(host, f"{other}; systemctl restart consul docker", timeout=150)
    dies_once(cluster, "node2", "reset-failed docker.service")
    with file_events(cluster.lab, DAEMON_JSON) as events:
        assert killed_repeatedly(cluster) >= 2 * len(cluster.lab.hosts)
    assert events == only_replaced(cluster)
    assert cluster.file("node2", DIED)


def test_a_bare_host_killed_at_every_write(make_lab, tmp_path):
    """On a bare host the run also installs packages and uploads Consul."""
    consul = image.ensure("engine-20.10", print) / "root/usr/bin/consul"
    store = f"{{kind: consul, binary: {consul}}}"
    cluster = Cluster(make_lab(hosts=1, image="bare"), tmp_path, store=store, extra="control_plane: kv\n")
    dies_once(cluster, "node1", "reload docker.service")
    with file_events(cluster.lab, DAEMON_JSON) as events:
        run = cluster.killed(1, "sent")
        assert (run.code, "consul (uploaded)" in run.err) == (-9, True), run.err
        assert cluster.sh("node1", f"ls {UPLOADED}", check=False) == "", "the upload was finished before the kill"
        assert killed_repeatedly(cluster) >= 5  # the upload again, packages, a firewall, Consul and daemon.json
        assert cluster.file("node1", DIED)
    assert events == only_replaced(cluster)
    assert cluster.sh("node1", "ls -A /usr/local/bin") == "consul"


def test_killed_at_requests_to_the_store(make_lab, tmp_path):
    """`up` continues where it was killed. `rotate` starts over at each run, and `up` completes an interrupted one."""
    cluster = Cluster(make_lab(hosts=2), tmp_path)
    assert killed_repeatedly(cluster, ("requested",)) == 4, "two policies and two tokens"
    # A new gossip key is installed, then used, then the old one is removed. New tokens of three kinds are created before the
    # old ones are deleted.
    for command, requests in {"rotate gossip-key": (1, 2, 3), "rotate tokens": (1, 3, 5)}.items():
        for number in requests:
            assert cluster.killed(number, "requested", command=command).code == -9
            cluster.up()
        run = cluster.run(command)
        assert (run.code, run.proven) == (0, True), run.err
        assert cluster.run("plan").code == 0
    # The only request is the one that makes the host's own agent leave.
    cluster.hosts = ("node1",)
    assert cluster.killed(1, "requested", command="remove 192.168.56.12").code == -9
    removed = cluster.run("remove 192.168.56.12")
    assert removed.code == 0, removed.err
    assert cluster.run("plan").code == 0


def killed_repeatedly(cluster: Cluster, moments: tuple[str, ...] = ("answered", "sent")) -> int:
    """Kill `up` at its first write and run it again until it has nothing left to write. Returns the number of kills."""
    kills, when = 0, itertools.cycle(moments)
    while (run := cluster.killed(1, next(when))).code == -9:
        kills += 1
    assert run.code == 0, run.err
    assert run.proven or len(cluster.lab.hosts) == 1, run.err
    engines_can_start(cluster)
    return kills


def dies_once(cluster: Cluster, host: str, call: str) -> None:
    """Make systemctl kill, once, the script that calls it with these arguments. The script's later commands are not run."""
    program = f'case "$*" in "{call}") [ -e {DIED} ] || {{ echo once >{DIED}; kill -9 $PPID; exit; }} ;; esac\nexec /bin/systemctl "$@"'
    place = "/usr/local/sbin/systemctl"
    cluster.sh(host, f"cat >{place} <<'X'\n#!/bin/sh\n{program}\nX\nchmod 755 {place}")
