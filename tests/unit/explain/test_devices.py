"""Ports of an overlay's bridge: what is wrong, and what looks alike."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from captured import with_http
from scenes import HOSTS, SPACE, healthy, named, with_kernel, without

from provisioner import causes
from provisioner.explain import problems


def port(seen, device, *, state="", gone=(), **more):
    """Change a port of the overlay's bridge on node2. gone: its keys that are missing."""

    def changed(links):
        found = json.loads(json.dumps(links))
        (link,) = (each for each in found if each["ifname"] == device)
        link |= more
        if state:
            link["linkinfo"]["info_slave_data"]["state"] = state
        for key in gone:
            del link[key]
        return found

    return with_kernel(seen, "node2", f"space:{SPACE}:links", changed)


@pytest.mark.parametrize("device", ["veth0", "vxlan0"])
def test_an_interface_that_is_no_port_of_the_bridge(site, device):
    seen = port(healthy(site), device, gone=["master"])
    assert named(seen) == [("link-down", "apart", "node2", "", "demo")]
    (command,) = causes.to_run(problems(seen)[0])
    assert f"netns/{SPACE} ip link set {device} master br0" in command


@pytest.mark.parametrize("state", ["disabled", "blocking"])
def test_a_port_to_which_the_bridge_does_not_forward(site, state):
    seen = port(healthy(site), "vxlan0", state=state)
    assert named(seen) == [("link-down", "port", "node2", "", "demo")]
    assert f"is {state}" in problems(seen)[0].evidence


def test_ports_that_look_alike(site):
    no_carrier = ["BROADCAST", "UP"]  # the other end is being moved
    assert named(port(healthy(site), "veth0", state="disabled", flags=no_carrier)) == []
    assert named(port(healthy(site), "veth0", state="learning")) == []
    assert named(port(healthy(site), "veth0", gone=["master"], ifname="tap-debug")) == []
    second = [{"ifname": "br1", "flags": ["UP"], "linkinfo": {"info_kind": "bridge"}}]
    seen = port(healthy(site), "veth0", gone=["master"])
    assert named(with_kernel(seen, "node2", f"space:{SPACE}:links", lambda links: [*links, *second])) == []
    (down,) = named(port(healthy(site), "veth0", gone=["master"], flags=[]))  # as while it is set up: one problem only
    assert down[:2] == ("link-down", "")


def numbered(seen, **numbers):
    """Set the VNI of the network on these hosts."""
    for host, number in numbers.items():
        change = lambda links, number=number: json.loads(json.dumps(links).replace('"id": 256', f'"id": {number}'))  # noqa: E731
        seen = with_kernel(seen, host, f"space:{SPACE}:links", change)
    return seen


def told(seen, number):
    """Let the engines say which VNI the network has, as those of a swarm's managers do."""
    for host in HOSTS:
        facts = seen.site.facts[host]
        options = {"com.docker.network.driver.overlay.vxlanid_list": str(number)}
        listed = [{**each, "Options": options} if each["Name"] == "demo" else each for each in facts.networks.values()]
        seen = replace(seen, site=seen.site.known(host, with_http(facts, "networks", listed)))
    return seen


def test_two_hosts_of_which_one_has_a_wrong_number(site):
    (found,) = problems(without(numbered(healthy(site), node2=999), "space:", host="node3"))
    assert (found.id, found.variant, found.host, found.target) == ("vni-mismatch", "apart", "node1", "node2")
    assert found.evidence == "the network demo has VNI 256 on node1 and 999 on node2"
    assert not causes.to_run(found)
    assert not problems(without(healthy(site), "space:", host="node3"))


@pytest.mark.parametrize(("number", "wrong"), [(256, {"node1", "node2"}), (999, {"node3"}), (5, {"node3"})])
def test_a_manager_knows_the_right_number(site, number, wrong):
    seen = told(numbered(healthy(site), node1=999, node2=999), number)
    assert {(each.id, each.host, each.variant) for each in problems(seen)} == {
        ("vni-mismatch", host, "") for host in wrong
    }


def test_hosts_may_have_the_devices_of_different_subnets(site):
    seen = without(numbered(healthy(site), node2=257), "space:", host="node3")
    for host in HOSTS:
        facts = seen.site.facts[host]
        pools = {"Config": [{"Subnet": "10.99.0.0/25"}, {"Subnet": "10.99.0.128/25"}]}
        listed = [{**each, "IPAM": pools} if each["Name"] == "demo" else each for each in facts.networks.values()]
        seen = replace(seen, site=seen.site.known(host, with_http(facts, "networks", listed)))
    assert "vni-mismatch" not in {each.id for each in problems(seen)}
