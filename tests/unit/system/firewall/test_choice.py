"""Which filters a host uses, and which other programs manage its rules."""

from ipaddress import IPv4Address

import pytest

from provisioner.stores.consul import Consul
from provisioner.system import firewall
from provisioner.system.facts import Facts

PORTS = Consul.ports
PEERS = (IPv4Address("192.168.56.12"),)
BOTH = "program=iptables\nprogram=ip6tables\nprogram=nft\nipv6=yes\n"
GATE = "table inet filter {\n\tchain input {\n\t\ttype filter hook input priority filter; policy drop;\n\t}\n}\n"
DROP = "*filter\n:INPUT DROP [0:0]\nCOMMIT\n"
OURS = "*filter\n:INPUT ACCEPT [0:0]\n:PROVISIONER - [0:0]\nCOMMIT\n"


def filters(**raw: str) -> list[str]:
    return [rules.name for rules in firewall.plan(Facts(raw), PEERS, PORTS).rules]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({}, ["iptables"]),
        ({"firewall": "ipv6=yes\n"}, ["iptables", "ip6tables"]),  # bare: both come with Docker
        ({"firewall": BOTH}, ["iptables", "ip6tables"]),
        ({"firewall": "program=iptables\nipv6=yes\n"}, ["iptables"]),
        ({"firewall": "program=iptables\nprogram=ip6tables\n"}, ["iptables"]),  # a kernel without IPv6
        ({"firewall": "program=nft\n"}, ["nftables"]),
        ({"firewall": BOTH, "nftables": GATE}, ["nftables"]),
        ({"firewall": BOTH + "enabled=nftables.service\n"}, ["nftables"]),
        ({"firewall": BOTH, "nftables": GATE, "iptables": DROP}, ["iptables", "ip6tables", "nftables"]),
        # A filter with our rules keeps getting updates: outdated rules would shut out hosts that are added later.
        ({"firewall": BOTH, "nftables": GATE, "iptables": OURS}, ["iptables", "ip6tables", "nftables"]),
    ],
)
def test_the_filter_is_what_the_host_uses(raw, expected):
    assert filters(**raw) == expected


def test_nft_stays_the_filter_where_it_was_chosen(capture):
    assert filters(firewall=BOTH, nftables=capture("nft-0.9.8-ours.txt")) == ["nftables"]
    own = firewall.plan(Facts({"firewall": "program=nft\n"}), PEERS, PORTS).parts[0].words["own"].split("\n", 2)[2]
    assert filters(firewall=BOTH, nftables=own) == ["nftables"]


def test_a_filter_table_that_only_nft_can_read_is_a_gate(capture):
    raw = {"iptables": capture("iptables-1.8.7-native.txt"), "nftables": capture("nft-0.9.8-native-input.txt")}
    plan = firewall.plan(Facts({"firewall": BOTH, **raw}), PEERS, PORTS)
    assert [rules.name for rules in plan.rules] == ["nftables"]
    assert plan.parts[0].words["gates"] == ("ip filter INPUT",)


def test_the_probe_of_a_real_host_is_understood(probed):
    plan = firewall.plan(probed("probe-nft.txt"), PEERS, PORTS)
    assert plan.parts[0].words["gates"] == ("inet filter input",)
    assert plan.loaders == ("nftables.service",)
    assert [rules.found for rules in plan.rules] == ["chain inet filter input\n"]
    bare = firewall.plan(probed("probe-engine.txt"), PEERS, PORTS)
    assert [rules.found for rules in bare.rules] == ["", ""]
    assert bare.loaders == ()


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        ("", ()),
        ("enabled=nftables.service\n", ("nftables.service",)),
        ("active=ufw.service\nenabled=netfilter-persistent.service\n", ("netfilter-persistent.service", "ufw.service")),
        ("active=firewalld.service\nenabled=nftables.service\n", ("firewalld.service",)),
        ("active=nftables.service\nenabled=firewalld.service\n", ("nftables.service",)),
    ],
)
def test_units_that_exclude_each_other_are_never_both_followed(says, expected):
    assert firewall.plan(Facts({"firewall": says}), PEERS, PORTS).loaders == expected


def test_a_manager_that_accepts_our_ports_itself_is_no_danger(capture):
    """Its reloads may drop our rules, and the ports stay open."""
    ufw, firewalld = capture("iptables-ufw.txt"), capture("nft-0.9.8-firewalld.txt")

    def managers(more: str, **ports: str) -> list[tuple[str, ...]]:
        rules = [
            f"-A ufw-user-input {more}-p {kind} -m multiport --dports {of} -j ACCEPT" for kind, of in ports.items()
        ]
        lines = [f"\t\t{kind} dport {{ {of} }} ct state {{ new, untracked }} accept\n" for kind, of in ports.items()]
        chain = "\tchain filter_IN_public_allow {\n"
        nft = firewalld.replace(chain, chain + "".join(lines))
        return [
            firewall.other_managers(
                Facts({"iptables": "\n".join([*ufw.rstrip().splitlines()[:-1], *rules, "COMMIT"])}), PORTS
            ),
            firewall.other_managers(Facts({"nftables": nft, "firewall": "active=firewalld.service"}), PORTS),
        ]

    tcp, udp = (",".join(map(str, ports)) for ports in (PORTS.tcp, PORTS.udp))
    assert managers("", tcp=tcp, udp=udp) == [(), ()]
    assert managers("", tcp=tcp, udp="7946") == managers("", udp=udp) == [("ufw",), ("firewalld",)]
    assert managers("-i eth9 ", tcp=tcp, udp=udp) == [("ufw",), ()]
    whole = ufw.replace("-A ufw-user-input", "-A ufw-user-input -s 192.168.56.0/24 -j ACCEPT\n-A ufw-user-input", 1)
    assert firewall.other_managers(Facts({"iptables": whole}), PORTS) == ()


def test_other_managers(capture):
    assert firewall.other_managers(Facts({}), PORTS) == ()
    assert firewall.other_managers(Facts({"iptables": capture("iptables-1.8.7-ours.txt")}), PORTS) == ()
    assert firewall.other_managers(Facts({"iptables": capture("iptables-ufw.txt")}), PORTS) == ("ufw",)
    assert firewall.other_managers(Facts({"nftables": capture("nft-0.9.8-firewalld.txt")}), PORTS) == ("firewalld",)
    assert firewall.other_managers(Facts({"firewall": "active=firewalld.service"}), PORTS) == ("firewalld",)
