"""A packet over loopback through the chains of others: ufw, firewalld, our own, and rules written by hand."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from provisioner.system.firewall.walk import End, Filter, Packet, loopback, parse
from provisioner.system.firewall.walk import end as end_of

UFW = """*filter
:INPUT DROP [0:0]
:ufw-before-input - [0:0]
:ufw-user-input - [0:0]
-A INPUT -j ufw-before-logging-input
-A INPUT -j ufw-before-input
-A ufw-before-input -i lo -j ACCEPT
-A ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
"""


def end(*rules: str, port: int = 8500) -> End:
    return end_of(parse(["*filter", *rules]), loopback(port), "INPUT")[0]


def at_last(found: Filter) -> tuple[End, str]:
    return end_of(found, loopback(), "INPUT")


def test_chains_that_accept_loopback_are_followed():
    assert at_last(parse(UFW.splitlines())) == (End.ACCEPTED, "-A ufw-before-input -i lo -j ACCEPT")
    without = UFW.replace("-A ufw-before-input -i lo -j ACCEPT\n", "")
    assert at_last(parse(without.splitlines())) == (End.RETURNED, "")
    assert parse(UFW.splitlines()).policy == "DROP"


@pytest.mark.parametrize(
    "rule",
    [
        "-A INPUT -i lo -j ACCEPT",
        '-A INPUT -i lo -m comment --comment "all on loopback" -j ACCEPT',
        "-A INPUT -s 127.0.0.0/8 -d 127.0.0.0/8 -j ACCEPT",
        "-A INPUT ! -i eth0 -j ACCEPT",
        "-A INPUT -i l+ -j ACCEPT",
        "-A INPUT -i lo -p tcp -m multiport --ports 7946,8500 -j ACCEPT",
        "-A INPUT -p tcp -m tcp --dport 8000:9000 -m conntrack --ctstate NEW,ESTABLISHED -j ACCEPT",
    ],
)
def test_rules_that_accept_it(rule):
    assert end(rule) is End.ACCEPTED


@pytest.mark.parametrize(
    "rule",
    [
        "-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT",
        "-A INPUT -p udp -j ACCEPT",
        "-A INPUT ! -i lo -j DROP",
        "-A INPUT -i eth0 -j DROP",
        "-A INPUT -s 192.0.2.1/32 -j DROP",
        "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        "-A INPUT -m limit --limit 5/min -j DROP",  # not understood, and so not blamed
        "-A INPUT -j LOG",
    ],
)
def test_rules_that_decide_nothing(rule):
    assert end(rule) is End.RETURNED


@pytest.mark.parametrize("rule", ["-A INPUT -i lo -j DROP", "-A INPUT -j REJECT --reject-with icmp-port-unreachable"])
def test_rules_that_drop_it(rule):
    assert end(rule) is End.DROPPED
    assert end("-A INPUT -i lo -j ACCEPT", rule) is End.ACCEPTED


def test_a_rule_that_may_accept_it_is_not_known():
    assert end("-A INPUT -m set --match-set friends src -j ACCEPT", "-A INPUT -j DROP") is End.UNKNOWN
    assert end("-A INPUT -m mark --mark 0x1 -j mine", "-A mine -j ACCEPT", "-A INPUT -j DROP") is End.UNKNOWN


def test_a_chain_may_return_early_and_other_tables_do_not_count():
    rules = ("-A INPUT -j mine", "-A mine -i lo -j RETURN", "-A mine -j DROP")
    assert end(*rules) is End.RETURNED
    assert end(*rules[:1], *rules[2:]) is End.DROPPED
    assert at_last(parse(["*mangle", "-A INPUT -j DROP"]))[0] is End.RETURNED


def test_chains_that_jump_to_each_other_end():
    assert end("-A INPUT -j a", "-A a -j b", "-A b -j a") is End.RETURNED


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("-A mine -j DROP", End.DROPPED),
        ("-A mine -i br0 ! -o br0 -j DROP", End.DROPPED),
        ("-A mine -s 172.18.0.0/16 -o eth+ -p tcp -j REJECT", End.DROPPED),
        ("-A mine -o br0 -j DROP", End.RETURNED),
        ("-A mine -i eth0 ! -s 10.0.0.0/8 -j DROP", End.RETURNED),
        ("-A mine -d 10.0.0.0/8 -j DROP", End.RETURNED),
        ("-A mine -p udp -j DROP", End.RETURNED),
        ("-A mine -m physdev --physdev-is-bridged -j DROP", End.RETURNED),
    ],
)
def test_a_forwarded_packet_has_two_interfaces(rule, expected):
    packet = Packet("br0", "eth0", IPv4Address("172.18.0.2"), IPv4Address("192.0.2.1"))
    found = end_of(parse(["*filter", "-A FORWARD -j mine", rule]), packet, "FORWARD")
    assert found == (expected, rule if expected is End.DROPPED else "")
