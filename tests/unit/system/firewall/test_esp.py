"""IP protocol 50, which carries a swarm's encrypted networks, is accepted from the peers, and is not closed to others."""

from __future__ import annotations

from ipaddress import IPv4Address

from provisioner.system.firewall import Policy, iptables, nftables, of_swarm

PEERS = (IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2"))
PLAIN, SAFE = (of_swarm(managers=2377, data=4789, esp=esp) for esp in (False, True))
ON_PLAIN, ON_SAFE = (Policy(ports, PEERS, ("eth0",)) for ports in (PLAIN, SAFE))
OTHERS = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p esp -j DROP\nCOMMIT\n"


def test_the_ports_of_a_swarm():
    assert (PLAIN.tcp, PLAIN.udp, PLAIN.local) == ((2377, 7946), (4789, 7946), (2377, 7946))
    assert of_swarm(managers=2377, data=9999, esp=False).udp == (7946, 9999)


def test_iptables():
    safe, plain = (set(iptables.wanted(policy, iptables.parts(policy)).splitlines()) for policy in (ON_SAFE, ON_PLAIN))
    extra = safe - plain
    assert extra == {"-A PROVISIONER -p esp -j PROVISIONER-PEERS"}


def test_a_rule_that_drops_esp_matters_only_where_esp_is_needed():
    assert not iptables.parse(OTHERS, PLAIN).in_use
    assert iptables.parse(OTHERS, SAFE).in_use


def test_nftables_accepts_esp_from_peers_and_drops_it_from_nobody():
    assert nftables.own(ON_SAFE) == nftables.own(ON_PLAIN)
    extra = set(nftables.gate(ON_SAFE).splitlines()) - set(nftables.gate(ON_PLAIN).splitlines())
    assert extra == {"\t\tmeta l4proto esp jump provisioner-peers"}
