"""Entries for containers on other hosts, ports of an overlay's bridge, and what containers lost: what is wrong, and what looks alike."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from captured import with_http
from scenes import HOSTS, NETWORK, SPACE, healthy, kernel, running, with_containers, with_kernel

from provisioner import causes
from provisioner.explain import problems
from provisioner.observe.kernel import Kernel

BOX = {name: next(s for s in kernel(name).spaces.values() if not s.network and s.inner) for name in HOSTS}
GIVEN = {name: box.inner[0] for name, box in BOX.items()}  # host -> address, MAC address
WRONG = "02:de:ad:be:ef:03"
NOW, OLD, YOUNG = 1_795_973_993, 600, 2


def since(ages):
    return "\n".join([str(NOW), *(f"{NOW - age} /var/run/docker/netns/{name}" for name, age in ages.items()), ""])


def attached(seen, host, **more):
    """Let the engine of a host list its container."""
    address, mac = GIVEN[host]
    given = {"NetworkID": NETWORK, "IPAddress": address, "MacAddress": mac}
    return with_containers(seen, host, running(f"web-{host}", NetworkSettings={"Networks": {"demo": given}}, **more))


def cluster(site, scope="swarm", *, age=OLD, engine="active", listed=HOSTS):
    """Three hosts with one container each. age: of node1's container. engine: the state of node1's engine."""
    seen = healthy(site)
    for host in HOSTS:
        facts = seen.site.facts[host]
        networks = [{**each, "Scope": scope} if each["Name"] == "demo" else each for each in facts.networks.values()]
        seen = replace(seen, site=seen.site.known(host, with_http(facts, "networks", networks)))
        seen = attached(seen, host) if host in listed else seen
        ages = since({BOX[host].name: age if host == "node1" else OLD, SPACE: OLD})
        seen = with_kernel(seen, host, "since", lambda _, ages=ages: ages)
        seen = with_kernel(seen, host, "engine-state", lambda _, is_=engine if host == "node1" else "active": is_)
    return seen


def neighbour(seen, host, change):
    """Change the entry for node1's container in the neighbour table of the overlay on a host. change: gets and returns it, or None."""

    def changed(entries):
        return [new for each in entries for new in [change(each) if each["dst"] == GIVEN["node1"][0] else each] if new]

    return with_kernel(seen, host, f"space:{SPACE}:neighbours", changed)


def wrong(seen, **more):
    return neighbour(seen, "node2", lambda entry: {**entry, "lladdr": WRONG, **more})


def lost(seen):
    """Node2 has no entries at all for node1's container."""
    mac = GIVEN["node1"][1]
    seen = neighbour(seen, "node2", lambda _: None)
    keep = lambda entries: [each for each in entries if each["mac"] != mac or "dst" not in each]  # noqa: E731
    return with_kernel(seen, "node2", f"space:{SPACE}:forwarding", keep)


def named(seen):
    return [(each.id, each.variant, each.host, each.target, each.network) for each in problems(seen)]


@pytest.mark.parametrize("scope", ["swarm", "global"])
def test_a_wrong_mac_address_of_a_container_on_another_host(site, scope):
    (found,) = problems(wrong(cluster(site, scope)))
    address, mac = GIVEN["node1"]
    assert named(wrong(cluster(site, scope))) == [("fdb-stale", "mac", "node2", "node1", "demo")]
    assert f"web-node1 ({address}, {mac}) on node1 to the MAC address {WRONG}" in found.evidence
    neigh, fdb = causes.to_run(found)
    assert f"ip neigh replace {address} lladdr {mac} dev vxlan0 nud permanent" in neigh
    assert f"bridge fdb replace {mac} dev vxlan0 dst 192.168.56.11" in fdb


def test_entries_that_an_engine_of_a_swarm_lacks(site):
    (found,) = problems(lost(cluster(site)))
    assert named(lost(cluster(site))) == [("fdb-lost", "address", "node2", "node1", "demo")]
    assert "node2 has no MAC address for web-node1" in found.evidence
    assert len(causes.to_run(found)) == 2
    assert named(lost(cluster(site, "global"))) == [], "an engine with a store learns entries on demand"


@pytest.mark.parametrize(
    "change",
    [
        {"age": YOUNG},  # the other engines do not know it yet
        {"engine": "deactivating"},  # it has left the gossip, and its containers are about to end
        {"engine": "activating"},
        {"engine": ""},
        {
            "listed": ("node2", "node3")
        },  # a container of another network with the same subnet, or one that is gone by now
    ],
)
def test_entries_for_containers_that_come_or_go_do_not_count(site, change):
    assert named(lost(cluster(site, **change))) == []
    assert named(wrong(cluster(site, **change))) == []


def test_entries_that_expire_or_belong_to_the_bridge_do_not_count(site):
    assert named(wrong(cluster(site), state=["STALE"])) == []
    assert named(wrong(cluster(site), state=["FAILED"])) == [("fdb-lost", "address", "node2", "node1", "demo")]
    assert named(wrong(cluster(site, "global"), dev="br0")) == []


def test_a_host_whose_own_containers_are_young_may_lack_entries(site):
    seen = with_kernel(lost(cluster(site)), "node2", "since", lambda _: since({BOX["node2"].name: YOUNG}))
    assert named(seen) == []


def test_a_container_that_was_started_again_between_two_observations_does_not_count(site):
    seen = lost(cluster(site))
    old = BOX["node1"].name
    raw = {
        key.replace(old, "0123456789ab"): text.replace(old, "0123456789ab")
        for key, text in seen.observed.kernels["node1"].raw.items()
    }
    earlier = replace(seen.observed, kernels={**seen.observed.kernels, "node1": type(kernel("node1"))(raw)})
    assert named(replace(seen, earlier=seen.observed)) == named(seen)
    assert named(replace(seen, earlier=earlier)) == []


# -- ports of the bridge ---------------------------------------------------------------------------------------------------


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


# -- what was not read --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("section", [f"{SPACE}:neighbours", f"{SPACE}:forwarding", f"{BOX['node2'].name}:addresses"])
def test_what_was_not_read_is_not_lost(site, section):
    """Its engine lists each container, and in a swarm all others have entries for it."""
    seen = cluster(site)
    raw = {name: text for name, text in seen.observed.kernels["node2"].raw.items() if name != f"space:{section}"}
    kernels = {**seen.observed.kernels, "node2": Kernel(raw)}
    assert problems(replace(seen, observed=replace(seen.observed, kernels=kernels))) == []


# -- addresses and routes of containers -------------------------------------------------------------------------------------


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


@pytest.mark.parametrize(
    ("scope", "age", "found"), [("swarm", OLD, ["fdb-lost"]), ("swarm", YOUNG, []), ("global", OLD, [])]
)
def test_an_entry_that_the_kernel_learned_does_not_replace_the_engines(site, scope, age, found):
    def learned(entries):
        return [{**e, "state": ""} if e.get("dst") and e["mac"] == GIVEN["node1"][1] else e for e in entries]

    seen = with_kernel(cluster(site, scope, age=age), "node2", f"space:{SPACE}:forwarding", learned)
    assert [problem.id for problem in problems(seen)] == found
    assert all("expires" in problem.evidence for problem in problems(seen))


def test_a_container_with_one_more_address_is_named_by_that_of_its_engine(site):
    def more(links):
        return [
            {**link, "addr_info": [*link["addr_info"], {"family": "inet", "local": "10.99.0.1", "prefixlen": 24}]}
            if any(info.get("local") == GIVEN["node2"][0] for info in link["addr_info"])
            else link
            for link in links
        ]

    for seen, variant in ((cluster(site), ""), (cluster(site, listed=()), "unnamed")):
        changed = with_kernel(seen, "node2", f"space:{BOX['node2'].name}:addresses", more)
        (problem,) = [problem for problem in problems(changed) if problem.id == "gateway-given"]
        assert problem.variant == variant
        assert any("web-node2" in command for command in causes.to_run(problem)) == (not variant)
