from ipaddress import IPv4Address

import pytest

from provisioner.stores.consul import Consul
from provisioner.system.firewall import Policy, nftables, of_swarm, with_store

PORTS = Consul.ports


def policy(*peers, underlay=("eth0",)):
    return Policy(PORTS, tuple(map(IPv4Address, peers)), underlay, {"consul": 108})


def parse(listed, *managed):
    return nftables.parse(listed, PORTS, *managed)


def ruleset(*rules: str, policy: str = "accept", extra: str = "") -> nftables.Ruleset:
    body = "".join(f"\t\t{rule}\n" for rule in rules)
    return parse(
        f"table inet filter {{\n\tchain input {{\n\t\ttype filter hook input priority filter; policy {policy};\n"
        f"{body}\t}}\n{extra}}}\n"
    )


def labels(found: nftables.Ruleset) -> list[str]:
    return [gate.label for gate in found.gates]


@pytest.mark.parametrize(
    ("name", "others"),
    [
        ("nft-0.9.8-ours.txt", ["192.168.56.11", "192.168.56.13", "192.168.56.14"]),
        ("nft-1.1.3-ours.txt", ["192.168.56.11", "192.168.56.12"]),
    ],
)
def test_what_is_listed_is_what_was_wanted(capture, name, others):
    found = parse(capture(name))
    assert found.ours
    assert labels(found) == ["inet filter input"]
    assert found.found() == nftables.wanted(policy(*others), found.gates)


def test_a_chain_that_drops_is_a_gate(capture):
    found = parse(capture("nft-0.9.8-drop.txt"))
    assert labels(found) == ["inet filter input"]
    assert not found.ours
    assert found.found() == "chain inet filter input\n"


def test_firewalld_is_a_gate_like_any_other(capture):
    found = parse(capture("nft-0.9.8-firewalld.txt"))
    assert found.uses("firewalld")
    assert labels(found) == ["inet firewalld filter_INPUT"]


def test_chains_of_iptables_and_of_fail2ban_are_no_gates(capture):
    assert labels(parse(capture("nft-0.9.8-native-input.txt"))) == []


def test_a_chain_named_as_those_of_iptables_but_made_by_nft_is_a_gate(capture):
    found = parse(capture("nft-0.9.8-native-input.txt"), nftables.IPTABLES - {"filter"})
    assert labels(found) == ["ip filter INPUT"]


def test_nothing_listed_is_nothing_found():
    assert parse("") == nftables.Ruleset((), PORTS)
    assert parse("").found() == ""


CALM = "\tchain calm {\n\t\tcounter packets 0 bytes 0\n\t}\n"
STRICT = "\tchain strict {\n\t\tip saddr 10.0.0.1 drop\n\t}\n"
LOOP = "\tchain loop {\n\t\tjump loop\n\t}\n"


@pytest.mark.parametrize(
    "rule",
    [
        "ct state established,related accept",
        "tcp dport 22 ip saddr @banned reject with icmp type port-unreachable",
        "tcp dport { 22, 80-90 } drop",
        "udp dport 8300 drop",
        'log prefix "drop reject " accept',
        'ip saddr 10.0.0.1 accept comment "no drop"',
        "jump calm",
        "tcp dport 22 jump strict",
        'jump provisioner comment "provisioner"',
    ],
)
def test_rules_that_cannot_drop_packets_to_our_ports(rule):
    found = ruleset(rule, extra=CALM + STRICT)
    assert not any(found._may_drop(rule, gate) for gate in found.chains)


@pytest.mark.parametrize(
    "rule",
    [
        "drop",
        "ct state invalid drop",
        "tcp dport != 22 drop",
        "tcp dport { 22, 8000-9000 } drop",
        "tcp dport @closed drop",
        "th dport 4789 reject",
        "tcp dport vmap { 22 : accept, 7946 : drop }",
        "iifname vmap @zones",
        "ct state vmap { invalid : drop, established : accept }",
        "queue to 1",
        "jump strict",
        "goto strict",
        "jump unknown",
        "jump loop",
        "iifname vmap { lo : accept, eth0 : jump strict }",
    ],
)
def test_rules_that_may_drop_our_packets_make_a_gate_and_may_not_precede_our_jump(rule):
    found = ruleset(rule, extra=STRICT + LOOP)
    assert labels(found) == ["inet filter input"]
    after = ruleset(rule, nftables.JUMP, extra=STRICT + LOOP)
    assert after.found() == f"chain inet filter input\n    {rule}\n    {nftables.JUMP}\n"


@pytest.mark.parametrize(
    "listed",
    [
        "table ip6 filter {\n\tchain input {\n\t\ttype filter hook input priority 0; policy drop;\n\t}\n}\n",
        "table inet filter {\n\tchain forward {\n\t\ttype filter hook forward priority 0; policy drop;\n\t}\n}\n",
        "table ip filter {\n\tchain INPUT {\n\t\ttype filter hook input priority 0; policy drop;\n\t}\n}\n",
    ],
)
def test_a_chain_that_the_peers_do_not_traverse_is_no_gate(listed):
    assert labels(parse(listed)) == []


def test_a_gate_that_has_our_jump_stays_one():
    assert labels(ruleset(nftables.JUMP)) == ["inet filter input"]


def test_one_peer_and_none():
    assert "ip saddr { 10.0.0.1 } accept" in nftables.own(policy("10.0.0.1"))
    assert "addr" not in nftables.own(policy())
    assert "addr" not in nftables.gate(policy())


def test_a_host_whose_interfaces_are_not_known():
    assert "iifname {" not in nftables.own(policy("10.0.0.1", underlay=()))


@pytest.mark.parametrize(
    "printed", ['iifname { "eth0", "wg0" } jump provisioner-peers', 'iifname "eth0" jump provisioner-peers']
)
def test_interfaces_are_compared_one_by_one(printed):
    names = ("eth0", "wg0") if "wg0" in printed else ("eth0",)
    found = parse(f"table inet provisioner {{\n\tchain provisioner-away {{\n\t\t{printed}\n\t}}\n}}\n").found()
    wanted = nftables.wanted(policy(underlay=names), ())
    assert set(found.splitlines()) < set(wanted.splitlines())
    assert len(found.splitlines()) == 1 + len(names)


@pytest.mark.parametrize("printed", ["50", "esp"])
def test_a_protocol_is_printed_as_a_number_where_the_host_has_no_list_of_names(printed):
    swarm = Policy(of_swarm(managers=2377, data=4789, esp=True), (), ("eth0",))
    listed = nftables.gate(swarm).replace("l4proto esp", f"l4proto {printed}")
    found = nftables.parse(
        f"table inet filter {{\n\tchain input {{\n\t\ttype filter hook input priority 0; policy drop;\n\t\t{nftables.JUMP}\n\t}}\n{listed}}}\n",
        swarm.ports,
    )
    assert found.found() in nftables.wanted(swarm, found.gates)


@pytest.mark.parametrize("printed", ["ip saddr { 10.0.0.1 } accept", "ip saddr 10.0.0.1 accept"])
def test_a_set_of_one_is_printed_differently_by_versions_of_nft(printed):
    found = parse(f"table inet provisioner {{\n\tchain provisioner-peers {{\n\t\t{printed}\n\t}}\n}}\n")
    assert found.found() == "chain inet provisioner provisioner-peers\n    ip saddr 10.0.0.1 accept\n"


def test_who_may_open_the_stores_ports():
    ports = with_store(tcp=(2181,), users=("zookeeper", "61184-65519", "prometheus"))
    of = Policy(ports, (), (), {"zookeeper": 107})
    assert "meta skuid @prometheus accept" in nftables.own(of)
    store = nftables.wanted(of, ()).partition("chain inet provisioner provisioner-store\n")[2].splitlines()[:3]
    assert [line.strip() for line in store] == [
        "meta skuid 107 accept",
        "meta skuid 61184-65519 accept",
        "jump provisioner-owner",
    ]
