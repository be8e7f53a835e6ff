"""Each rule that drops packets, and each route with a wrong source, gets its own command: one report names everything to be cured."""

from __future__ import annotations

import json
from dataclasses import replace
from types import MappingProxyType

import pytest
from scenes import DATA, DROPPED, GOSSIP, SILENT, healthy, into, with_ways

from provisioner.explain import explain, problems
from provisioner.observe.kernel import Kernel
from provisioner.report import document
from provisioner.system.firewall import Rule

UDP = "INPUT -p udp -m udp --dport 7946 -j DROP"
TCP = "INPUT -p tcp -m tcp --dport 7946 -j DROP"
BOTH = "INPUT -m comment --comment 7946 -j DROP"
IN, OUT = "INPUT -p udp -m udp --dport 4789 -j DROP", "OUTPUT -p udp -m udp --dport 4789 -j DROP"
ONE, OTHER = (f"INPUT -s 192.168.56.{n}/32 -p udp -m udp --dport 4789 -j DROP" for n in (11, 13))
FOREIGN = "INPUT -s 192.0.2.0/24 -p udp -m udp --dport 4789 -j DROP"
NAMED = "INPUT -p tcp -m tcp --dport 4789 -j DROP"


def with_rules(seen, *changes, rules):
    counted = [Rule("iptables-nft-save", "filter", 40 + n, f"-A {text}") for n, text in enumerate(rules)]
    policy = Rule("iptables-nft-save", "filter", 900, ":INPUT ACCEPT")
    return with_ways(seen, *changes, rules=MappingProxyType({"node2": (policy, *counted)}))


def out_of(host):
    """Return a change of the paths from a host: its datagrams to the data port do not leave."""

    def change(way):
        lost = {DATA: replace(way.udp[DATA], left=0, arrived=0, passed=0)}
        return replace(way, udp={**way.udp, **lost}) if way.source == host else way

    return change


@pytest.mark.parametrize(
    ("changes", "rules", "deleted"),
    [
        ([into("node2", udp={GOSSIP: DROPPED}, tcp={GOSSIP: SILENT})], [UDP, TCP], [UDP, TCP]),
        ([into("node2", udp={GOSSIP: DROPPED}, tcp={GOSSIP: SILENT})], [BOTH], []),
        ([into("node2", udp={GOSSIP: DROPPED}, tcp={GOSSIP: SILENT})], [UDP], [UDP]),
        ([into("node2", udp={GOSSIP: DROPPED})], [UDP, TCP], [UDP]),
        ([into("node2", udp={DATA: DROPPED}), out_of("node2")], [OUT, IN], [IN, OUT]),
        ([into("node2", udp={DATA: DROPPED})], [IN, OUT, NAMED], [IN]),
        ([into("node2", udp={DATA: DROPPED})], [ONE, OTHER], [ONE, OTHER]),
        ([into("node2", udp={DATA: DROPPED})], [IN, FOREIGN], [IN]),
        ([into("node2", udp={DATA: DROPPED})], [FOREIGN], [FOREIGN]),  # NAT
    ],
)
def test_each_rule_that_dropped_packets_is_deleted(site, changes, rules, deleted):
    (cause,) = explain(with_rules(healthy(site), *changes, rules=rules))
    commands = document.of_diagnosis(cause)["commands"]
    assert sorted(commands) == sorted(f"iptables-nft -t filter -D {rule}  # on node2" for rule in deleted)
    assert len(cause.evidence) == max(1, len(deleted))


def via(seen, *, gateway, table=""):
    """Return a cluster in which node2 sends from 192.168.56.212; to node3 by a gateway or a route of a table, if they are given."""
    paths = {
        way: replace(
            path,
            udp={
                port: replace(each, sources=frozenset({"192.168.56.212"}), sent_from=frozenset({"192.168.56.212"}))
                for port, each in path.udp.items()
            },
        )
        if way[0] == "node2"
        else path
        for way, path in seen.observed.underlay.paths.items()
    }
    raw = seen.observed.kernels["node2"].raw
    gets = [{"dst": f"192.168.56.{n}", "dev": "eth0", "prefsrc": "192.168.56.212"} for n in (11, 13)]
    routes = raw["routes"].replace('"prefsrc":"192.168.56.12"', '"prefsrc":"192.168.56.212"')
    if gateway:
        gets[1]["gateway"] = gateway
        routes = json.dumps([{"dst": "default", "gateway": gateway, "dev": "eth0", "prefsrc": "192.168.56.212"}])
    if table:
        gets[1]["table"] = table
        of_table = {"dst": "192.168.56.0/28", "dev": "eth0", "prefsrc": "192.168.56.212", "table": table}
        routes = json.dumps([*json.loads(routes), of_table])
    kernel = Kernel({**raw, "gets": "\n".join(json.dumps([get]) for get in gets), "routes": routes})
    observed = replace(seen.observed, kernels={**seen.observed.kernels, "node2": kernel})
    return replace(seen, observed=replace(observed, underlay=replace(observed.underlay, paths=paths)))


def test_a_route_with_another_source_address_is_replaced_once(site):
    (cause,) = explain(via(healthy(site), gateway=""))
    assert cause.id == "source-mismatch"
    assert "arrive at node1, node3 with the source address 192.168.56.212" in cause.evidence[0]
    route = "ip route replace 192.168.56.0/24 dev eth0 table main src 192.168.56.12  # on node2"
    assert [each for each in document.commands(cause) if "ip route replace" in each] == [route]


def test_a_route_of_another_table_is_replaced_there(site):
    """The rules of the host choose this table for node3. The route of table main has the same source, and stays as it is."""
    seen = via(healthy(site), gateway="", table="100")
    found = [each for each in problems(seen) if each.id == "source-mismatch"]
    assert [(each.values["to"], each.values["table"]) for each in found] == [
        ("192.168.56.0/24", "main"),
        ("192.168.56.0/28", "100"),
    ]


def test_a_route_for_one_host_leads_to_its_gateway(site):
    """The default route is left as it is: it is for more than the cluster."""
    found = [each for each in problems(via(healthy(site), gateway="192.168.56.254")) if each.id == "source-mismatch"]
    assert [(each.variant, each.values["to"], each.values["gateway"]) for each in found] == [
        ("route", "192.168.56.11/32", ""),
        ("via", "192.168.56.13/32", "192.168.56.254"),
    ]
