"""The contract of the packet filters, in network namespaces of real hosts. Each test starts without rules.

A new filter in `FILTERS` needs an entry in `OTHERS`, and must pass the same tests.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

import pytest

from provisioner import render
from provisioner.steps.firewall import _files
from provisioner.stores.consul import Consul
from provisioner.system import firewall
from provisioner.system.facts import Facts
from provisioner.system.firewall import Plan, Policy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from provisioner.lab import Lab
    from provisioner.system.firewall.base import Filter, Found, Part

pytestmark = pytest.mark.lab

PORTS = Consul.ports
POLICY = Policy(PORTS, (IPv4Address("192.0.2.2"), IPv4Address("192.0.2.3")), ("eth0",))


@dataclass(frozen=True)
class Others:
    """Commands: `drop` adds rules of others that allow only SSH, `first` adds one before ours, `listing` prints all rules."""

    drop: str
    first: str
    listing: str


OTHERS: Mapping[str, Others] = {
    "iptables": Others(
        "iptables -P INPUT DROP; iptables -A INPUT -p tcp --dport 22 -j ACCEPT; iptables -t mangle -A FORWARD -p tcp --dport 1 -j DROP",
        "iptables -I INPUT -s 192.0.2.2 -j DROP",
        r"for p in iptables ip6tables; do for t in filter mangle; do $p-save -t $t | sed 's/\[.*\]//; /^#/d'; done; done",
    ),
    "nft": Others(
        "nft 'add table inet theirs; add chain inet theirs first { type filter hook input priority 5; policy drop; }; add rule inet theirs first tcp dport 22 accept'",
        "nft insert rule inet theirs first ip saddr 192.0.2.2 drop",
        "nft -s list ruleset",
    ),
}


@dataclass(frozen=True)
class Host:
    """A network namespace of a host, and one filter in it."""

    sh: Callable[[str], str]
    filter: Filter

    @property
    def others(self) -> Others:
        return OTHERS[self.filter.programs[0]]

    def raw(self) -> dict[str, str]:
        sections = {"firewall", "passwd", *self.filter.reads}
        return {name: self.sh(f"{code}\n:") for name, code in firewall.PROBE.items() if name in sections}

    def found(self) -> Found:
        raw = self.raw()
        self.filter.understood(raw)
        return self.filter.found(raw, PORTS)

    def part(self, policy: Policy = POLICY) -> Part:
        """What the policy needs from this filter. User IDs are the host's."""
        raw = self.raw()
        return self.filter.found(raw, PORTS).part(replace(policy, uids=firewall.uids(Facts(raw))))

    def apply(self, policy: Policy = POLICY) -> None:
        """Run the script that the firewall step would install on the host."""
        users = tuple(user[1:] for user in policy.owners if user.startswith("@"))
        script = _files(Plan((self.part(policy),), users=users))[firewall.SCRIPT]
        self.sh(f"( {script.removeprefix('#!/bin/sh')}\n) || exit 1")

    def settled(self, policy: Policy = POLICY) -> bool:
        return all(rules.found == rules.wanted for rules in self.part(policy).rules)

    def remove(self) -> None:
        self.sh(f"{render.library()}\n{render.script(self.filter.removal)}\ntrue")

    def listing(self) -> str:
        return self.sh(self.others.listing)


@pytest.fixture(scope="module")
def lab(make_lab_for_all) -> Lab:
    return make_lab_for_all(2, images={"node1": "engine-20.10", "node2": "engine-26"})


@pytest.fixture(params=["node1", "node2"], ids=["Debian 11", "Debian 13"])
def namespace(lab, request) -> Iterator[Callable[[str], str]]:
    name = f"t{uuid.uuid4().hex[:8]}"
    lab.exec(request.param, ["ip", "netns", "add", name])
    yield (
        lambda script: (
            lab.exec(request.param, ["ip", "netns", "exec", name, "sh", "-s"], stdin=script, timeout=60).stdout
        )
    )
    lab.exec(request.param, ["ip", "netns", "delete", name])


@pytest.fixture(params=firewall.FILTERS, ids=lambda each: each.programs[0])
def host(namespace, request) -> Host:
    return Host(namespace, request.param)


def test_without_rules_it_is_installed_but_not_used(host):
    found = host.found()
    assert found.installed
    assert not found.used
    assert found.ours == ()
    assert not host.settled()


def test_it_finds_the_rules_that_it_sets(host):
    host.apply()
    assert host.settled()
    found = host.found()
    assert found.used
    assert found.ours == tuple(rules.name for rules in host.part().rules)
    before = host.listing()
    host.apply()
    assert host.listing() == before


def test_changed_peers_are_drift_and_are_applied(host):
    host.apply()
    fewer = replace(POLICY, peers=POLICY.peers[:1])
    assert not host.settled(fewer)
    host.apply(fewer)
    assert host.settled(fewer)
    assert str(POLICY.peers[1]) not in host.listing()
    alone = replace(POLICY, peers=())
    host.apply(alone)
    assert host.settled(alone)


def test_rules_of_others_stay_and_ours_come_before_them(host):
    host.sh(host.others.drop)
    assert host.found().used
    before = host.listing()
    host.apply()
    assert host.settled()
    host.sh(host.others.first)
    assert not host.settled()
    host.apply()
    assert host.settled()
    host.remove()
    assert host.found().ours == ()
    assert set(before.splitlines()) <= set(host.listing().splitlines())


def test_removal_leaves_nothing_of_ours(host):
    host.sh(host.others.drop)
    before = host.listing()
    host.apply()
    host.remove()
    assert host.listing() == before
    host.remove()  # nothing is left to remove
    assert host.listing() == before


def test_a_flush_by_others_is_seen(host):
    host.apply()
    host.remove()
    assert not host.settled()
    assert host.found().ours == ()
