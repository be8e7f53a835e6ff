"""Addresses and routes of the hosts of a lab, and faults between them."""

from __future__ import annotations

import pytest

from provisioner.lab import FAULTS, Topology


def test_a_flat_lab_has_one_segment_without_a_router():
    assert [Topology.FLAT.address(number) for number in (1, 2, 200)] == [
        "192.168.56.11",
        "192.168.56.12",
        "192.168.56.210",
    ]
    assert Topology.FLAT.routes(2) == []


@pytest.mark.parametrize("topology", [Topology.ROUTED, Topology.NAT])
def test_two_segments_share_the_hosts_and_have_routes_to_each_other(topology):
    assert [topology.address(number) for number in (1, 2, 3)] == ["192.168.56.11", "192.168.57.12", "192.168.56.13"]
    assert topology.routes(1) == topology.routes(3) == [("192.168.57.0/24", "192.168.56.254")]
    assert topology.routes(2) == [("192.168.56.0/24", "192.168.57.254")]


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_faults_use_the_data_port_of_the_cluster(fault):
    """A swarm can have another one than 4789."""
    assert "4789" not in fault.make + fault.heal
