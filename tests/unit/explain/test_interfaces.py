"""Addresses and routes that containers lost: what is wrong, and what looks alike."""

from __future__ import annotations

import json

import pytest
from scenes import BOX, GIVEN, NETWORK, SPACE, attached, cluster, healthy, named, running, with_containers, with_kernel

from provisioner import causes
from provisioner.explain import problems


def inside(seen, *, addresses=None, **link):
    """Change the interface of node2's container."""
    address, mac = GIVEN["node2"]
    name = BOX["node2"].name

    def changed(found):
        keep = lambda info: info.get("local") != address  # noqa: E731
        return [
            {**each, "addr_info": [*filter(keep, each["addr_info"]), *(addresses or ())]}
            if each["ifname"] == "eth0"
            else each
            for each in found
        ]

    seen = with_kernel(seen, "node2", f"space:{name}:addresses", changed)
    links = lambda found: [{**each, **link} if each.get("address") == mac else each for each in found]  # noqa: E731
    return with_kernel(seen, "node2", f"space:{name}:links", links)


def test_a_container_that_lost_its_address(site):
    (found,) = problems(inside(attached(healthy(site), "node2")))
    address, _ = GIVEN["node2"]
    assert (found.id, found.variant, found.host, found.network) == ("address-lost", "", "node2", "demo")
    assert found.evidence == f"eth0 of web-node2 lacks the address {address} that the engine gave it"
    assert f"ip address add {address}/24 dev eth0" in causes.to_run(found)[0]
    other = [{"family": "inet", "local": "10.99.0.77", "prefixlen": 24}]
    (found,) = problems(inside(attached(healthy(site), "node2"), addresses=other))
    assert "has 10.99.0.77 instead of the address" in found.evidence


def routed(seen, *routes):
    return with_kernel(seen, "node2", f"space:{BOX['node2'].name}:routes", lambda _: json.dumps(list(routes)))


ON = {"dst": "10.99.0.0/24", "dev": "eth0", "scope": "link"}
OUT = {"dst": "default", "gateway": "172.18.0.1", "dev": "eth1"}


def test_a_container_that_lost_its_route(site):
    (found,) = problems(routed(attached(healthy(site), "node2"), OUT))
    assert (found.id, found.variant, found.host) == ("address-lost", "route", "node2")
    assert f"ip route add 10.99.0.0/24 dev eth0 src {GIVEN['node2'][0]}" in causes.to_run(found)[0]


def test_healthy_twins_of_containers(site):
    seen = attached(healthy(site), "node2")
    assert named(routed(seen, OUT, ON)) == []
    assert named(routed(seen, ON)) == [], "a container of an internal network has no default route"
    assert named(routed(seen, {**ON, "dst": "10.0.0.0/8"}, OUT)) == []
    assert named(with_kernel(seen, "node2", f"space:{BOX['node2'].name}:routes", lambda _: "")) == [], "not read"
    assert named(inside(healthy(site))) == [], "a container that the engine does not list"
    assert named(inside(attached(healthy(site), "node2", State="exited"))) == []
    assert named(inside(seen, flags=[])) == [], "it is being set up or taken away"
    macvlan = {"linkinfo": {"info_kind": "macvlan"}}
    assert named(inside(seen, **macvlan)) == []
    assert named(inside(seen, address="02:42:0a:63:00:99")) == [], "it was replaced after the engine was asked"
    shares = running("sidecar", HostConfig={"NetworkMode": "container:abc"}, NetworkSettings={"Networks": {}})
    assert named(with_containers(healthy(site), "node2", shares)) == []


@pytest.mark.parametrize("given", [{"IPAddress": "999.1.1.1"}, {"MacAddress": "x"}, {"IPAddress": None}, "odd", None])
def test_odd_lists_of_containers(site, given):
    entry = {"NetworkID": NETWORK, "IPAddress": "10.99.0.3", "MacAddress": GIVEN["node2"][1]}
    entry = entry | given if isinstance(given, dict) else given
    seen = with_containers(
        inside(healthy(site)), "node2", running("web", NetworkSettings={"Networks": {"demo": entry}})
    )
    assert named(seen) == []


def test_a_container_whose_process_has_ended_unnoticed(site):
    seen = cluster(site, "global")
    idle = with_kernel(seen, "node2", "idle", lambda _: f"{BOX['node2'].name}\n{SPACE}\nothers\n")
    (problem,) = problems(idle)
    assert (problem.id, problem.host, problem.where) == ("process-gone", "node2", "node2: web-node2")
    assert causes.shell_commands(problem) == ("docker restart web-node2",)
    ended = with_kernel(
        cluster(site, "global", listed=("node1", "node3")), "node2", "idle", lambda _: BOX["node2"].name
    )
    assert named(ended) == [], "the engine knows it"
