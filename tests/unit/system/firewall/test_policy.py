"""The interfaces on which the peers' packets arrive."""

from ipaddress import IPv4Address, IPv4Interface

import pytest

from provisioner.system.firewall.policy import underlay

PEERS = (IPv4Address("192.168.56.12"), IPv4Address("10.8.0.2"))
OWN = IPv4Address("10.8.0.1")


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [
        ([("eth0", "192.168.56.11/24"), ("eth1", "192.168.57.11/24")], ("eth0",)),
        ([("eth0", "203.0.113.1/24"), ("wg0", "10.8.0.1/32")], ("wg0",)),  # a VPN's hub, known by its own address only
        ([("eth0:1", "192.168.56.11/24"), ("eth0", "192.168.56.10/24"), ("wg0", "10.8.0.1/24")], ("eth0", "wg0")),
        ([("br-lan", "192.168.56.11/24")], ("br-lan",)),
        # Interfaces that engines create are excluded, whatever their subnet, and so are names that can't be in a rule.
        ([("docker0", "192.168.56.1/24"), ("br-0123456789ab", "10.8.0.9/24"), ("lo", "10.8.0.1/8")], ()),
        ([("eth0+", "192.168.56.11/24"), ('e"0', "192.168.56.11/24"), ("much-too-long-name", "192.168.56.11/24")], ()),
    ],
)
def test_underlay(addresses, expected):
    assert underlay([(name, IPv4Interface(address)) for name, address in addresses], PEERS, OWN) == expected
