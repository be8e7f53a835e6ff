"""Containers that have lost their network, and what looks alike."""

from __future__ import annotations

import pytest
from scenes import alone, healthy, running, with_containers

from provisioner.explain import problems

UNTOLD = {"NetworkSettings": None}


def test_a_container_that_lost_its_network_is_named_with_its_cure(site):
    (found,) = problems(with_containers(healthy(site), "node2", alone("web"), running("box"), alone("db")))
    assert (found.id, found.host) == ("network-detached", "node2")
    assert "web (created on demo), db (created on demo)" in found.evidence
    assert found.values["commands"] == "docker network connect demo web; docker network connect demo db"


def test_a_network_that_the_engine_does_not_list_is_one_of_the_cluster(site):
    """Workers of a swarm list a network only while they have containers on it."""
    (found,) = problems(with_containers(healthy(site), "node2", alone("web", "gone")))
    assert found.id == "network-detached"


@pytest.mark.parametrize(
    "container",
    [
        *(alone("web", mode) for mode in ("default", "bridge", "host", "none", "container:abc", "docker_gwbridge", "")),
        alone("web", State="exited"),
        alone("web", State="created"),
        alone("web", **UNTOLD),
        running("web", HostConfig={"NetworkMode": "demo"}),
    ],
)
def test_healthy_twins(site, container):
    assert not problems(with_containers(healthy(site), "node2", container))
