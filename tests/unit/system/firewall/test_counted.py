"""A rule that dropped packets is deleted by exactly the words with which it was set, whatever its comment contains."""

from __future__ import annotations

import shlex

import pytest

from provisioner import causes
from provisioner.model import Problem
from provisioner.system.firewall import Rule, words


@pytest.mark.parametrize(
    ("printed", "comment"),
    [
        (r"plain", "plain"),
        (r'"two words"', "two words"),
        (r'"it\'s"', "it's"),
        (r'"say \"no\""', 'say "no"'),
        (r'"a \\ b"', "a \\ b"),
        (r'"$(touch /tmp/x)"', "$(touch /tmp/x)"),
        (r'"`id`; rm -rf /"', "`id`; rm -rf /"),
        ('"two\nlines # not a comment"', "two\nlines # not a comment"),
        (r'""', ""),
    ],
)
def test_a_rule_is_deleted_with_the_words_with_which_it_was_set(printed, comment):
    rule = Rule("iptables-nft-save", "filter", 1, f"-A INPUT -m comment --comment {printed} -j DROP")
    wanted = ["-A", "INPUT", "-m", "comment", "--comment", comment, "-j", "DROP"]
    assert list(words(rule.text)) == wanted
    problem = Problem("vxlan-blocked", "node2", "lost", {**rule.values, "host": "node2"}, rule.variant)
    (command,) = causes.shell_commands(problem)
    assert shlex.split(command) == ["iptables-nft", "-t", "filter", "-D", *wanted[1:]]


@pytest.mark.parametrize("text", ['-A INPUT --comment "open', '-A INPUT a"b"', '-A INPUT "a"b', '-A "', ""])
def test_a_malformed_rule_has_no_words_and_can_not_be_deleted(text):
    assert words(text) == ()
    assert Rule("iptables-nft-save", "filter", 1, text).variant == ""


@pytest.mark.parametrize(
    ("tool", "table", "text", "whole", "variant"),
    [
        ("iptables-legacy-save", "filter", "-A INPUT -j DROP", True, "rule"),
        ("iptables-legacy-save", "filter", "-A INPUT -j DROP", False, ""),
        ("/tmp/x", "filter", "-A INPUT -j DROP", True, ""),
        ("iptables-nft-save", "filter", ":INPUT DROP", True, "policy"),
        ("nft", "inet,fault,c", "udp dport 4789 counter drop # handle 7", True, "nft-rule"),
        ("nft", "inet,fault,c", "udp dport 4789 counter drop # handle 7", False, ""),
        ("nft", "inet,fault", "udp dport 4789 counter drop # handle 7", True, ""),
        ("nft", "inet,fault,c", "udp dport 4789 counter drop", True, ""),
    ],
)
def test_only_a_rule_that_is_fully_known_can_be_deleted(tool, table, text, whole, variant):
    assert Rule(tool, table, 1, text, whole).variant == variant


IPTABLES, NFT = ("iptables-nft-save", "filter"), ("nft", "inet,fault,c")


@pytest.mark.parametrize(
    ("place", "text", "only"),
    [
        (IPTABLES, "-A INPUT -p udp -m udp --dport 4789 -j DROP", True),
        (IPTABLES, "-A INPUT -s 192.0.2.1/32 -p udp -m multiport --dports 4789,7946 -j DROP", True),
        (IPTABLES, "-A INPUT -p udp -m multiport --dports 4789,53 -j DROP", False),
        (IPTABLES, "-A INPUT -p udp -m udp --dport 4000:5000 -j DROP", False),
        (IPTABLES, "-A INPUT -p udp -m udp ! --dport 4789 -j DROP", False),
        (IPTABLES, "-A INPUT -p udp -m udp --sport 4789 -j DROP", False),
        (IPTABLES, "-A INPUT -j REJECT --reject-with icmp-host-prohibited", False),
        (IPTABLES, '-A INPUT -m comment --comment "--dport 4789" -j DROP', False),
        (IPTABLES, '-A INPUT -m comment --comment "x --dport 4789 y" -j DROP', False),
        (NFT, "udp dport 4789 counter drop # handle 7", True),
        (NFT, "udp dport { 4789, 7946 } counter drop # handle 7", True),
        (NFT, "udp dport { 4789, 53 } counter drop # handle 7", False),
        (NFT, "udp dport 4000-5000 counter drop # handle 7", False),
        (NFT, "udp dport != 4789 counter drop # handle 7", False),
        (NFT, 'counter drop comment "dport 4789" # handle 7', False),
        (NFT, "ip saddr 10.47.89.0/24 counter drop # handle 7", False),
    ],
)
def test_whether_a_rule_matches_the_clusters_ports_alone(place, text, only):
    assert Rule(*place, 1, text).is_only_for({4789, 7946}) == only


@pytest.mark.parametrize(
    ("place", "text", "protocol", "hook"),
    [
        (IPTABLES, "-A INPUT -p udp -m udp --dport 4789 -j DROP", "udp", "input"),
        (IPTABLES, "-A OUTPUT ! -p tcp -j DROP", "", "output"),
        (IPTABLES, '-A THEIRS -m comment --comment "-p tcp" -j DROP', "", ""),
        (IPTABLES, '-A INPUT -m comment --comment "-p" -j DROP', "", "input"),
        (IPTABLES, ":INPUT DROP", "", "input"),
        (IPTABLES, "-A PREROUTING -p", "", "input"),
        (NFT, "udp dport 4789 counter drop # handle 7", "udp", ""),
        (NFT, 'counter drop comment "udp dport 4789" # handle 7', "", ""),
        (NFT, "type filter hook input priority filter; policy drop;", "", ""),
    ],
)
def test_which_packets_a_rule_is_for(place, text, protocol, hook):
    rule = Rule(*place, 1, text)
    assert (rule.protocol, rule.hook) == (protocol, hook)


def test_which_rules_are_ours():
    assert Rule("iptables-nft-save", "filter", 1, "-A PROVISIONER -p udp -m udp --dport 4789 -j DROP").is_ours
    assert Rule("nft", "inet,provisioner,input", 1, "udp dport 4789 counter drop # handle 7").is_ours
    assert Rule("nft", "ip,filter,PROVISIONER", 1, "udp dport 4789 counter drop # handle 7").is_ours
    assert not Rule("iptables-nft-save", "filter", 1, "-A INPUT -p udp -m udp --dport 4789 -j DROP").is_ours
