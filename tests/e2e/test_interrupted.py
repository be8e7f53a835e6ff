"""The controller is killed at each write in turn; run again, it ends settled and proven, and every engine can start."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.cluster import Cluster

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1500)]

def engines_can_start(cluster: Cluster) -> None:
    """Each engine is restarted with what is on its disk, after what the killed run had begun there has ended.

    One that has nothing of ours yet is as it was when the host booted.
    """

    def restart(host: str) -> None:
        wait = "mkdir -p /run/provisioner; flock -w 60 /run/provisioner/write.lock true"
        ours = "ls /etc/docker/daemon.json /etc/systemd/system/docker.service.d 2>/dev/null"
        if not cluster.sh(host, f"{wait}; {ours}", check=False):
            return
        json.loads(cluster.sh(host, "cat /etc/docker/daemon.json 2>/dev/null", check=False) or "{}")
        cluster.sh(host, "systemctl reset-failed docker; systemctl restart docker && docker version >/dev/null", timeout=150)

    with ThreadPoolExecutor() as pool:
        list(pool.map(restart, cluster.lab.hosts))


@pytest.mark.parametrize(("when", "hosts"), [("answered", 3), ("sent", 2)])
def test_killed_at_every_write(make_lab, tmp_path, when, hosts):
    number, lab = 0, make_lab(hosts=hosts)
    while True:
        number += 1
        lab.reset()
        cluster = Cluster(lab, tmp_path)
        run = cluster.killed(number, when)
        if run.code == 0:
            break  # it never came to so many writes
        assert run.code == -9, run.err
        engines_can_start(cluster)
        cluster.up()
        assert cluster.run("plan").code == 0
    assert number > 3 * hosts  # a firewall, Consul and daemon.json on each
