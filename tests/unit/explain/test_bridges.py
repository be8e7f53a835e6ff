"""docker_gwbridge: what is wrong, and what looks alike."""

from __future__ import annotations

import pytest
from captured import with_http
from scenes import healthy, running, with_containers, with_kernel, without_network

from provisioner import causes
from provisioner.explain import problems

DEFAULT = {"dst": "default", "gateway": "192.168.56.1", "dev": "eth0"}


def narrow(seen, mtu):
    """node2 has a default route through an interface with this MTU."""
    links = lambda found: [{**link, "mtu": mtu} if link["ifname"] == "eth0" else link for link in found]  # noqa: E731
    return with_kernel(with_kernel(seen, "node2", "links", links), "node2", "routes", lambda routes: [*routes, DEFAULT])


def test_a_bridge_that_is_wider_than_the_host_s_uplink_is_a_warning(site):
    seen = with_containers(narrow(healthy(site), 1450), "node2", running("web"))
    (found,) = problems(seen)
    assert (found.id, found.variant, causes.severity(found).value) == ("gwbridge", "mtu", "warning")
    assert "com.docker.network.driver.mtu=1450 docker_gwbridge" in causes.cure(found)


@pytest.mark.parametrize("used", [True, False])
def test_a_bridge_that_is_down_is_named_although_its_engine_does_not_answer_if_it_has_ports(site, used):
    def down(links):
        free = [each for each in links if each.get("master") != "docker_gwbridge"]
        found = [{**each, "flags": []} if each["ifname"] == "docker_gwbridge" else each for each in free]
        return found + [{"ifname": "veth9", "master": "docker_gwbridge", "flags": ["UP"]}] * used

    silent = with_http(healthy(site).site.facts["node2"], "networks", "000 timeout")
    seen = with_kernel(healthy(site, node2=silent), "node2", "links", down)
    assert ("gwbridge" in {each.id for each in problems(seen)}) == used


@pytest.mark.parametrize("mtu", [1500, 9000])
def test_a_bridge_that_is_not_wider_is_no_problem(site, mtu):
    assert not problems(with_containers(narrow(healthy(site), mtu), "node2", running("web")))


def test_a_bridge_that_no_container_uses_is_no_problem(site):
    assert not problems(narrow(healthy(site), 1450))
    assert not problems(without_network(healthy(site), "node2", "docker_gwbridge"))


def test_a_network_for_outbound_traffic_that_does_not_exist(site):
    seen = with_containers(without_network(healthy(site), "node2", "docker_gwbridge"), "node2", running("web"))
    assert [(each.id, each.host) for each in problems(seen)] == [("gwbridge", "node2")]
    facts = healthy(site).site.facts["node2"]
    internal = [
        {**each, "Internal": each["Name"] == "demo"}
        for each in facts.networks.values()
        if each["Name"] != "docker_gwbridge"
    ]
    seen = with_containers(healthy(site, node2=with_http(facts, "networks", internal)), "node2", running("web"))
    assert not problems(seen)


def test_a_bridge_without_its_address(site):
    gone = lambda routes: [route for route in routes if route.get("dst") != "172.18.0.1"]  # noqa: E731
    (found,) = problems(with_kernel(healthy(site), "node2", "routes", gone))
    assert (found.id, found.host, found.variant) == ("gwbridge", "node2", "address")
    assert causes.shell_commands(found) == ("ip address add 172.18.0.1/16 dev docker_gwbridge",)
    unread = lambda routes: [route for route in routes if route.get("type") != "local"]  # noqa: E731
    assert not problems(with_kernel(healthy(site), "node2", "routes", unread))
