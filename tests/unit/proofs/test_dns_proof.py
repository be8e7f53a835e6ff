"""The DNS proof: from the probes' evidence to a result with causes. With real resolvers: tests/e2e/test_dns.py."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest

from provisioner.inventory import Dns
from provisioner.model import State
from provisioner.proofs import dns
from provisioner.proofs.evidence import Evidence

ONE, TWO = "192.0.2.53", "192.0.2.54"
ASKED = Dns.model_construct(
    servers=(IPv4Address(ONE), IPv6Address("2001:db8::53"), IPv4Address(TWO)), search=(), options=(), check=None
)


@pytest.fixture
def demo(inventory):
    return inventory().networks["demo"]


def seen(*, outside: str = "", silent: str = "", **more: object) -> Evidence:
    """Return the evidence of a probe. outside, silent: "SERVER=ANSWER ..."."""
    said, lacks = ([word.partition("=")[::2] for word in text.split()] for text in (outside, silent))
    return Evidence(
        address=IPv4Address("10.99.0.254"),
        seconds=0.3,
        outside={server: (0.01, answer) for server, answer in said},
        silent=dict(lacks),
        **more,
    )


GOOD = seen(outside=f"127.0.0.11=NXDOMAIN {ONE}=NXDOMAIN {TWO}=NXDOMAIN")


def result(demo, *evidence: Evidence, asked: Dns = ASKED):
    question = dns.outside(asked, demo, "abcdef")
    return dns.result(asked, "demo", question, {f"node{n}": each for n, each in enumerate(evidence, start=1)})


def test_what_is_asked(demo):
    asked = dns.outside(ASKED, demo, "abcdef")
    assert (asked.name, asked.kind, asked.resolvers) == ("provisioner-abcdef.invalid", "answer", (ONE, TWO))
    named = ASKED.model_copy(update={"check": "www.example.net"})
    asked = dns.outside(named, demo, "abcdef")
    assert (asked.name, asked.kind) == ("www.example.net", "address")


def test_nothing_is_asked_where_nothing_is_forwarded(demo):
    assert dns.outside(Dns(), demo, "abcdef") is None
    assert dns.outside(ASKED, demo.model_copy(update={"internal": True}), "abcdef") is None


def test_all_is_proven(demo):
    found = result(demo, GOOD, GOOD)
    assert (found.state, found.error, found.seconds) == (State.SETTLED, "", 0.01)
    assert found.reason == f"external names are forwarded to {ONE}, {TWO}"
    assert [(check.host, check.what, check.proven) for check in found.checks] == [
        ("node1", "external names", True), ("node2", "external names", True),
    ]  # fmt: skip


def test_one_of_two_resolvers_does_not_answer(demo):
    found = result(demo, GOOD, seen(outside=f"127.0.0.11=NXDOMAIN {TWO}=NXDOMAIN", silent=f"{ONE}=timeout"))
    assert found.state is State.SETTLED
    assert f"{ONE} does not answer containers of node2 (timeout)" in found.reason


@pytest.mark.parametrize(
    ("silent", "outside", "check", "told"),
    [
        (
            f"127.0.0.11=silence {ONE}=silence {TWO}=silence",
            "",
            None,
            ("check that 53/udp passes from node2", "resolver-silent"),
        ),
        (
            f"127.0.0.11=REFUSED {ONE}=REFUSED {TWO}=SERVFAIL",
            "",
            None,
            (f"configure {ONE}, {TWO} to answer queries of the hosts", "resolver-refuses"),
        ),
        (
            f"127.0.0.11=silence {ONE}=silence",
            f"{TWO}=NXDOMAIN",
            None,
            ("run `provisioner up INVENTORY`", "resolvers-outdated"),
        ),
        (
            f"127.0.0.11=NXDOMAIN {ONE}=NXDOMAIN {TWO}=NXDOMAIN",
            "",
            "www.example.net",
            ("they know no address of www.example.net", "name-unknown"),
        ),
        (
            f"127.0.0.11=SERVFAIL {ONE}=SERVFAIL {TWO}=SERVFAIL",
            "",
            "www.example.net",
            ("knows about www.example.net", "resolver-refuses"),
        ),
    ],
)
def test_causes_and_cures(demo, silent, outside, check, told):
    cure, cause = told
    asked = ASKED.model_copy(update={"check": check})
    found = result(demo, GOOD, seen(outside=outside, silent=silent), asked=asked)
    assert found.state is State.FAILED
    assert "it fails on 1 of 2 hosts" in found.error
    assert "node2: external names: " in found.error
    assert f"{ONE} itself: " in found.error
    assert cure in found.error
    assert [(problem.id, problem.host, problem.network) for problem in found.problems] == [(cause, "node2", "demo")]
    assert found.problems[0].evidence in found.error
    assert [check.proven for check in found.checks] == [True, False]


def test_one_cure_for_all_hosts_of_one_cause(demo):
    silent = seen(silent=f"127.0.0.11=silence {ONE}=silence {TWO}=silence")
    assert result(demo, silent, silent).error.count("53/udp") == 1
    assert "from node1, node2 to" in result(demo, silent, silent).error


def test_a_probe_that_is_not_there(demo):
    found = result(demo, GOOD, Evidence(error="no engine"))
    assert "node2: external names: provisioner-abcdef.invalid: no probe: no engine" in found.error
    assert "fix the probe of node2 first" in found.error


def test_domains_and_options_in_the_containers(demo):
    asked = ASKED.model_copy(update={"search": ("example.net",), "options": ("timeout:2",)})
    right = {"search": ("example.net",), "options": ("timeout:2", "ndots:0")}
    good, bad = (seen(outside="127.0.0.11=NXDOMAIN", conf=conf) for conf in (right, {"options": ("ndots:0",)}))
    assert result(demo, good, asked=asked).state is State.SETTLED
    found = result(demo, good, bad, asked=asked)
    assert "node2: search: resolv.conf has none, options: resolv.conf has ndots:0" in found.error
    assert "run `provisioner up INVENTORY`" in found.error
