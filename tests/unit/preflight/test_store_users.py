"""Programs that use the store on their host, and that the firewall would reject. See also tests/e2e/test_firewall_on_hosts.py."""

from __future__ import annotations

import pytest
from captured import HOSTS, capture, with_raw

from provisioner import causes, preflight
from provisioner.model import Severity
from provisioner.system import firewall

SETTLED = {name: capture(f"settled-{name}") for name in HOSTS}
PASSWD = "root:0\nconsul:104\nprometheus:998\n"


def found(site, clients, passwd=PASSWD, users=()):
    whole = site("settled")
    store = whole.inventory.the_store.model_copy(update={"local_users": users})
    whole = type(whole)(**{**vars(whole), "inventory": whole.inventory.model_copy(update={"store": store})})
    whole = whole.known("node2", with_raw(whole.facts["node2"], clients=clients, passwd=passwd))
    return [finding for finding in preflight.run(whole) if finding.id == "store-users"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "998 0100007F 8500 consul_exporter",
            "consul_exporter of the user prometheus uses the store at 127.0.0.1:8500",
        ),
        (
            "998 0C38A8C0 8301 curl",
            "curl of the user prometheus uses the store at 192.168.56.12:8301",
        ),  # its own address
        ("998 0B38A8C0 8300 curl", "curl of the user prometheus uses the store at 192.168.56.11:8300"),  # a peer's
        ("1007 0100007F 8500 ", "a program of the user 1007 uses the store at 127.0.0.1:8500"),
    ],
)
def test_programs_that_would_be_rejected_are_named(site, line, words):
    (finding,) = found(site, f"{line}\n")
    assert (finding.host, causes.severity(finding)) == ("node2", Severity.STOP)
    assert finding.evidence.startswith(words)
    user = "1007" if "1007" in line else "prometheus"
    assert f"local_users: [{user}]" in causes.cure(finding)


@pytest.mark.parametrize(
    ("line", "users"),
    [
        ("998 0100007F 8500 consul_exporter", ("prometheus",)),
        ("998 0100007F 8500 consul_exporter", ("998",)),
        ("104 0B38A8C0 8300 consul", ()),
        ("998 0900A8C0 8500 curl", ()),  # somebody else's Consul: 192.168.0.9
        ("998 0100007F 7946 odd", ()),  # only engines use this port
        ("998 0100007F 8500", ()),  # malformed
        ("x; reboot", ()),
    ],
)
def test_programs_that_are_not_rejected(site, line, users):
    assert found(site, f"{line}\n", users=users) == []


def test_names_of_programs_are_what_the_host_lets_through():
    facts = with_raw(
        SETTLED["node1"], clients="998 0100007F 8500 \x1b[31mred\n998 0100007F 8500 a b\n998 0100007F 8500 ok\n"
    )
    assert [client.program for client in firewall.clients(facts)] == ["ok"]
