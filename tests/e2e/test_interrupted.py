"""The controller is killed at each write in turn; run again, it ends settled and proven, and every engine can start."""

from __future__ import annotations

import json

import pytest

from tests.e2e.cluster import Cluster

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1500)]

NODES = ("node1", "node2", "node3")


def engines_can_start(cluster: Cluster) -> None:
    """Each engine is restarted with what is on its disk, after what the killed run had begun there has ended."""
    for host in NODES:
        text = cluster.sh(host, "mkdir -p /run/provisioner; flock -w 60 /run/provisioner/write.lock cat /etc/docker/daemon.json 2>/dev/null", check=False)
        json.loads(text or "{}")
    for host in NODES:
        cluster.sh(host, "systemctl reset-failed docker; systemctl restart docker && docker version >/dev/null", timeout=150)


@pytest.mark.parametrize("when", ["answered", "sent"])
def test_killed_at_every_write(make_lab, tmp_path, when):
    number = 0
    while True:
        number += 1
        cluster = Cluster(make_lab(hosts=3), tmp_path)
        run = cluster.killed(number, when)
        if run.code == 0:
            break  # it never came to so many writes
        assert run.code == -9, run.err
        engines_can_start(cluster)
        cluster.up()
        assert cluster.run("plan").code == 0
    assert number > 9  # a firewall, Consul and daemon.json on three hosts
