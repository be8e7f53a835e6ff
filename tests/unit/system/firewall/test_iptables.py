from ipaddress import IPv4Address

import pytest

from provisioner.stores.consul import Consul
from provisioner.system.firewall import Policy, iptables, of_swarm, with_store

PORTS = Consul.ports

PEERS = [IPv4Address("192.168.56.12"), IPv4Address("192.168.56.13")]


def parse(saved):
    return iptables.parse(saved, PORTS)


def policy(*peers, underlay=("eth0",), ports=PORTS, uids=(("consul", 108),)):
    return Policy(ports, tuple(map(IPv4Address, peers)), underlay, dict(uids))


def wanted(of, *, six=False):
    return iptables.wanted(of, (iptables.parts6 if six else iptables.parts)(of))


def content(parts):
    """Return the parts as input of iptables-restore, which is also the output of iptables-save."""
    return "".join(f"*{part.table}\n{part.chains}" + "\n".join(part.jumps) + "\n" for part in parts)


def table(*rules: str, policy: str = "ACCEPT", chains: str = "") -> iptables.Table:
    return parse("\n".join(["*filter", f":INPUT {policy} [0:0]", chains, *rules, "COMMIT"]))


@pytest.mark.parametrize(
    ("name", "others"),
    [
        ("iptables-1.8.7-ours.txt", ["192.168.56.12", "192.168.56.13", "192.168.56.14"]),
        ("iptables-1.8.7-legacy-ours.txt", ["192.168.56.12", "192.168.56.13", "192.168.56.14"]),
        ("iptables-1.8.11-ours.txt", ["192.168.56.11", "192.168.56.12"]),
    ],
)
def test_rules_are_written_in_the_words_in_which_they_are_listed(capture, name, others):
    found = parse(capture(name))
    assert found.ours
    assert found.found() == wanted(policy(*others))


def test_ip6tables_lists_them_in_the_same_words(capture):
    assert parse(capture("ip6tables-1.8.7-ours.txt")).found() == wanted(policy("192.168.56.12"), six=True)


def test_a_host_with_an_engine_and_no_rules_of_its_own_is_not_in_use(probed):
    found = parse(probed("probe-engine.txt").raw["iptables"])
    assert "DOCKER-USER" in found.rules
    assert not found.in_use
    assert not found.ours
    assert found.found() == ""


def test_policy_drop_is_in_use(capture):
    found = parse(capture("iptables-1.8.7-drop.txt"))
    assert found.policy == "DROP"
    assert found.in_use
    assert not found.ours


def test_ufw_is_seen(capture):
    found = parse(capture("iptables-ufw.txt"))
    assert found.uses("ufw-")
    assert not found.uses("INPUT_direct")
    assert found.in_use


def test_a_filter_table_that_iptables_cannot_read_is_native(capture):
    found = parse(capture("iptables-1.8.7-native.txt"))
    assert found.native
    assert not found.in_use


def test_nothing_printed_is_nothing_found():
    found = parse("")
    assert (found.found(), found.in_use, found.ours, found.native) == ("", False, False, False)


def test_rules_of_other_tables_are_not_ours():
    found = parse("*nat\n:INPUT ACCEPT [0:0]\n-A INPUT -j PROVISIONER\nCOMMIT\n*filter\n:INPUT ACCEPT [0:0]\n")
    assert found.rules["INPUT"] == ()


HARMLESS = [
    "-A INPUT -p tcp -m multiport --dports 22 -j f2b-sshd",
    "-A INPUT -p tcp -m tcp --dport 8000:8299 -j DROP",
    "-A INPUT -p udp -m udp --dport 8300 -j DROP",  # 8300 is ours in tcp only
    "-A INPUT -p icmp -j DROP",
    "-A INPUT -i lo -j ACCEPT",
    '-A INPUT -j LOG --log-prefix "in -j DROP "',
    "-A INPUT -p tcp",
    "-A INPUT -j EMPTY",
    "-A INPUT -j WATCH",
]
JUDGING = [
    "-A INPUT -s 10.0.0.0/8 -j ACCEPT",
    "-A INPUT -j DROP",
    "-A INPUT -i lo -j DROP",
    "-A INPUT ! -i lo -j ACCEPT",
    "-A INPUT -p tcp -m tcp ! --dport 22 -j DROP",
    "-A INPUT -p tcp -m multiport --dports 22,8300 -j DROP",
    "-A INPUT -p udp -m udp --dport 4000:5000 -j REJECT --reject-with icmp-port-unreachable",
    "-A INPUT ! -p icmp -j DROP",
    "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    "-A INPUT -g STRICT",
    "-A INPUT -j STRICT",
    "-A INPUT -j LOOP",
]
CHAINS = (
    ":EMPTY - [0:0]\n:WATCH - [0:0]\n:STRICT - [0:0]\n:LOOP - [0:0]\n"
    "-A WATCH -m limit --limit 1/sec -j LOG\n-A STRICT -s 10.0.0.1/32 -j DROP\n-A LOOP -j LOOP"
)


@pytest.mark.parametrize("rule", HARMLESS)
def test_rules_that_can_not_affect_our_ports_may_precede_our_jump(rule):
    found = table(rule, iptables.JUMP, chains=CHAINS + "\n:PROVISIONER - [0:0]")
    assert found.found() == f"{iptables.JUMP}\n"
    assert not found.in_use


@pytest.mark.parametrize("rule", JUDGING)
def test_rules_that_may_affect_our_ports_may_not_precede_our_jump(rule):
    found = table(rule, iptables.JUMP, chains=CHAINS)
    assert found.found() == f"{rule}\n{iptables.JUMP}\n"
    assert found.in_use
    below = table(iptables.JUMP, rule, chains=CHAINS)
    assert below.found() == f"{iptables.JUMP}\n"


def test_a_new_peer_only_adds_rules():
    before, after = (wanted(policy(*peers)).splitlines() for peers in (PEERS[:1], PEERS))
    assert [line for line in after if line not in before] == [
        "-A PROVISIONER-PEERS -s 192.168.56.13/32 -j ACCEPT",
        "-A PROVISIONER-OWNER -d 192.168.56.13/32 -j PROVISIONER-REFUSED",
        "-A PROVISIONER-AWAY -d 192.168.56.13/32 -j DROP",
        "-A PROVISIONER-PEERS -s 192.168.56.13/32 -j ACCEPT",
    ]
    assert set(before) < set(after)


def test_a_host_alone_closes_its_ports():
    rules = wanted(policy())
    assert "-s " not in rules
    assert "-d " not in rules
    assert "--dports 4789,7946,8301 -j DROP" in rules


def test_what_is_wanted_is_found_once_it_is_in_force():
    parts = iptables.parts(policy(*PEERS, ports=of_swarm(managers=2377, data=4789, esp=False)))
    assert parse(content(parts)).found() == iptables.wanted(policy(), parts)
    assert parse(content(parts[1:])).ours  # also a part of our rules is ours to remove
    assert not parse("*mangle\n:FORWARD ACCEPT [0:0]\n-A FORWARD -j TCPMSS --clamp-mss-to-pmtu\n").ours


@pytest.mark.parametrize(
    ("rule", "matters"),
    [
        ("-A FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu", False),
        ("-A FORWARD -p tcp -m tcp --dport 443 -j ACCEPT", False),
        ("-A FORWARD -i docker0 -j ACCEPT", True),
        ("-A FORWARD -p udp -m udp --dport 4789 -j ACCEPT", True),
    ],
)
def test_rules_for_forwarded_packets_before_our_jump(rule, matters):
    saved = content(iptables.parts(policy(*PEERS))).replace("-A FORWARD", f"{rule}\n-A FORWARD")
    assert (f"{rule}\n-A FORWARD -j PROVISIONER-FORWARD" in parse(saved).found()) is matters


def test_interfaces_without_peers():
    """A bridge of the underlay may have a name like Docker's bridges."""
    assert [r for r in wanted(policy(underlay=("br-lan",))).splitlines() if " -i " in r and "lo" not in r.split()] == [
        "-A PROVISIONER-PEERS -i docker+ -j RETURN",
        "-A PROVISIONER-AWAY -i br-lan -j PROVISIONER-PEERS",
        "-A PROVISIONER-PEERS -i docker+ -j RETURN",
    ]


def owners(of):
    return [line.split(" ", 2)[2] for line in wanted(of).splitlines() if line.startswith("-A PROVISIONER-STORE")]


def test_who_may_open_the_stores_ports():
    """The wanted rules name users; a host's rules have its own numbers, and omit users that it does not have."""
    ports = with_store(tcp=(2181,), users=("zookeeper", "61184-65519", "prometheus", "1001"))
    of = policy(ports=ports, uids=(("zookeeper", 107), ("other", 5)))
    assert owners(of) == [
        "-m owner --uid-owner 107 -j RETURN",
        "-m owner --uid-owner 61184-65519 -j RETURN",
        "-m owner --uid-owner 1001 -j RETURN",
        "-j PROVISIONER-OWNER",
    ]
    assert "--uid-owner @prometheus " in iptables.parts(of)[0].chains


def test_a_store_of_others_is_open_to_all_processes():
    rules = wanted(policy(ports=with_store(local=(8500,)))).splitlines()
    assert [rule for rule in rules if rule.startswith("-A PROVISIONER-OUTPUT")] == [
        "-A PROVISIONER-OUTPUT -p tcp -m multiport --dports 7946 -j PROVISIONER-OWNER",
        "-A PROVISIONER-OUTPUT -p udp -m multiport --dports 4789,7946 -j PROVISIONER-OWNER",
    ]


@pytest.mark.parametrize(
    ("rule", "matters"),
    [
        ("-A OUTPUT -o lo -j ACCEPT", True),
        ("-A OUTPUT -p tcp -m tcp --dport 8500 -j ACCEPT", True),
        ("-A OUTPUT -p tcp -m tcp --dport 443 -j ACCEPT", False),
    ],
)
def test_rules_for_sent_packets_before_our_jump(rule, matters):
    saved = content(iptables.parts(policy(*PEERS))).replace("-A OUTPUT", f"{rule}\n-A OUTPUT")
    assert (f"{rule}\n-A OUTPUT -j PROVISIONER-OUTPUT" in parse(saved).found()) is matters
