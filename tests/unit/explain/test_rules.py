"""The chains of old and new engines: intact chains are not a cause, and every kind of loss is one."""

from __future__ import annotations

import pytest
from captured import with_file, with_http, with_unit
from scenes import facts, healthy, with_kernel

from provisioner.explain import problems

_MASKS = "-A POSTROUTING -s 172.18.0.0/16 ! -o docker_gwbridge -j MASQUERADE\n"
_NAT = f"*nat\n:PREROUTING ACCEPT\n:DOCKER -\n-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\n{_MASKS}"
_OLD = "-A FORWARD -j DOCKER-USER\n-A FORWARD -j DOCKER-ISOLATION-STAGE-1\n-A DOCKER-ISOLATION-STAGE-1 -j RETURN\n"
_NEW = "-A FORWARD -j DOCKER-USER\n-A FORWARD -j DOCKER-FORWARD\n-A DOCKER-FORWARD -j DOCKER-CT\n"
_CHAINS = "*filter\n:INPUT ACCEPT\n:FORWARD DROP\n:DOCKER -\n:DOCKER-USER -\n"
ENGINES = {
    "20.10": f"{_NAT}{_CHAINS}:DOCKER-ISOLATION-STAGE-1 -\n{_OLD}",
    "28": f"{_NAT}{_CHAINS}:DOCKER-FORWARD -\n:DOCKER-CT -\n{_NEW}",
}


def found(site, rules, **engine):
    seen = healthy(site)
    facts = with_http(seen.site.facts["node2"], "info", {**seen.site.facts["node2"].engine, **engine})
    seen = with_kernel(healthy(site, node2=facts), "node2", "iptables-nft-save", lambda _: rules)
    return [(each.id, each.evidence) for each in problems(seen)]


@pytest.mark.parametrize("rules", ENGINES.values(), ids=ENGINES)
def test_intact_chains_are_not_a_cause(site, rules):
    assert found(site, rules) == []


@pytest.mark.parametrize(
    ("age", "lost", "evidence"),
    [
        ("20.10", "-A FORWARD -j DOCKER-ISOLATION-STAGE-1\n", "FORWARD jumps"),
        ("28", "-A FORWARD -j DOCKER-FORWARD\n", "FORWARD jumps"),
        ("28", "-A DOCKER-FORWARD -j DOCKER-CT\n", "DOCKER-FORWARD is empty"),
        ("28", _MASKS, "no rule of nat replaces the source addresses of docker_gwbridge, but the engine runs"),
        ("28", "-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\n", "PREROUTING (nat)"),
    ],
)
def test_a_lost_jump_or_an_emptied_chain_is_found(site, age, lost, evidence):
    ((cause, shown),) = found(site, ENGINES[age].replace(lost, ""))
    assert cause == "firewall-reload"
    assert shown.startswith(evidence)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("-A POSTROUTING -o eth0 -j MASQUERADE", []),
        ("-A OURS -s 172.18.0.0/16 -o eth0 -j SNAT --to-source 192.168.56.12", []),
        ("-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE", ["firewall-reload"]),
        ("-A POSTROUTING -s 172.18.0.0/16 -j ACCEPT", ["firewall-reload"]),
    ],
)
def test_other_rules_may_replace_source_addresses(site, rule, expected):
    assert [cause for cause, _ in found(site, ENGINES["28"].replace(_MASKS, f"{rule}\n"))] == expected


@pytest.mark.parametrize(
    ("option", "value"), [("enable_ip_masquerade", "false"), ("gateway_mode_ipv4", "routed"), ("inhibit_ipv4", "true")]
)
def test_a_bridge_that_somebody_made_to_keep_addresses_needs_no_rule(site, option, value):
    node2 = facts("node2")
    option = {f"com.docker.network.bridge.{option}": value}
    theirs = [{**each, "Options": option} for each in node2.networks.values()]
    seen = healthy(site, node2=with_http(node2, "networks", theirs))
    assert not problems(with_kernel(seen, "node2", "iptables-nft-save", lambda _: ENGINES["28"].replace(_MASKS, "")))


def test_an_engine_on_nftables_needs_no_iptables_rules(site):
    others = "*filter\n:INPUT ACCEPT\n-A INPUT -s 192.0.2.1/32 -j DROP\n"
    assert [cause for cause, _ in found(site, others)] == ["firewall-reload"]
    assert found(site, others, FirewallBackend={"Driver": "nftables"}) == []


def test_an_engine_that_sets_no_rules_lacks_none(site):
    others = "*filter\n:INPUT ACCEPT\n-A INPUT -s 192.0.2.1/32 -j DROP\n"
    told = (
        with_file(facts("node2"), "/etc/docker/daemon.json", '{"iptables":\t false}'),
        with_unit(facts("node2"), "docker.service", ExecStart="/usr/sbin/dockerd --iptables=false"),
    )
    for node2 in told:
        seen = with_kernel(healthy(site, node2=node2), "node2", "iptables-nft-save", lambda _: others)
        assert not problems(seen)
