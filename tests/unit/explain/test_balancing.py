"""Virtual addresses of services: which connections are opened, by the real program, and what their failures mean."""

from __future__ import annotations

import shlex
import socket
import subprocess
from dataclasses import replace

import pytest
from captured import with_http, with_raw
from swarms import FOUND
from test_explain_swarm import entry, listing, seen

from provisioner import causes, render
from provisioner.explain import explain, well
from provisioner.observe import Observed, calls
from provisioner.observe.kernel import Kernel, connections_of, script
from tests.ports import free_port

NETWORK = "n"
VIRTUAL = "10.99.0.4:80"


def task(address, service="id-web", network=NETWORK):
    labels = {"com.docker.swarm.service.id": service} if service else {}
    networks = {"demo": {"NetworkID": network, "IPAddress": address}}
    return {
        "Names": [f"/c-{address}"],
        "State": "running",
        "Labels": labels,
        "NetworkSettings": {"Networks": networks},
        "Id": address,
    }


def cluster(*services, **more):
    """A swarm with a network, on which a task of web runs on node1 and on node2, and another container on node3."""
    services = services or (entry("web", (8080, "ingress", "tcp"), addresses=("10.99.0.4/24",), running=2),)
    found = {
        "node1": (task("10.99.0.11"),),
        "node2": (task("10.99.0.12"),),
        "node3": (task("10.99.0.13", ""),),
    }
    facts = listing(*services, **more)
    for name, containers in found.items():
        known = {"Name": "demo", "Id": NETWORK, "Scope": "swarm", "Driver": "overlay"}
        facts[name] = with_http(with_http(facts[name], "containers", list(containers)), "networks", [known])
    return facts


def observed(facts, *, direct="open", **virtual):
    """Return what is seen if each container's connections get these answers. virtual: host -> what those to the address get."""
    of = seen(facts)
    kernels = {}
    for host, each in calls.of(of.site).items():
        raw = {}
        for call in each:
            said = virtual.get(host, ["open"])
            lines = [f"{call.virtual} {said[at % len(said)]}" for at in range(call.times)]
            lines += [f"{to} {direct}" for to in call.direct]
            raw[f"call:{call.own}"] = "\n".join([f"asked {len(lines)}", *lines, ""])
        kernels[host] = Kernel(raw)
    return replace(of, observed=Observed(kernels=kernels))


def test_one_container_of_each_host_calls_the_virtual_address_and_the_tasks():
    site = seen(cluster()).site
    direct = "10.99.0.11:80 10.99.0.12:80"
    assert connections_of(site) == {f"node{n}": [f"10.99.0.1{n} {' '.join([VIRTUAL] * 4)} {direct}"] for n in (1, 2, 3)}
    assert shlex.quote(connections_of(site)["node2"][0]) in script([], connections=connections_of(site)["node2"])


@pytest.mark.parametrize(
    "service",
    [
        entry("web", (8080, "ingress", "tcp"), addresses=("10.99.0.4/24",), running=0),
        entry("web", (8080, "ingress", "tcp"), running=2),
        entry("web", (8080, "ingress", "tcp"), addresses=("$(id)",), running=2),
        entry("other", addresses=("10.99.0.4/24",), running=2),
        {**entry("web", running=2), "Endpoint": {"VirtualIPs": [{"NetworkID": "../$(id)", "Addr": "10.99.0.4/24"}]}},
    ],
)
def test_services_without_tasks_or_address_are_not_called(service):
    assert connections_of(seen(cluster(service)).site) == {}


def test_hosts_that_can_not_balance_are_left_out():
    lacks = with_raw(FOUND["node2"], system=f"{FOUND['node2'].raw['system']}lacks=ip_vs\n")
    assert set(connections_of(seen(cluster(node2=lacks)).site)) == {"node1", "node3"}


def test_a_virtual_address_that_answers_all_is_well():
    whole = observed(cluster())
    assert explain(whole) == ()
    assert "virtual address of web" in well(whole, frozenset())


@pytest.mark.parametrize(
    ("said", "variant", "evidence"),
    [
        (
            ["silent"],
            "",
            "4 of 4 connections from a container to 10.99.0.4, port 80, the virtual address of web, got no answer",
        ),
        (
            ["refused"],
            "",
            "4 of 4 connections from a container to 10.99.0.4, port 80, the virtual address of web, were refused",
        ),
        (
            ["silent", "open"],
            "some",
            "2 of 4 connections from a container to 10.99.0.4, port 80, the virtual address of web, got no",
        ),
    ],
)
def test_an_address_that_fails_while_the_tasks_answer_is_named(said, variant, evidence):
    whole = observed(cluster(), node3=said)
    (found,) = explain(whole)
    assert (found.id, found.hosts, found.problems[0].variant) == ("vip-unanswered", ("node3",), variant)
    assert found.problems[0].evidence.startswith(evidence)
    assert "on node3: nsenter --net=/var/run/docker/netns/lb_n ipvsadm -Ln" in causes.cure(found.problems[0])
    assert not [line for line in well(whole, frozenset({"vip-unanswered"})) if "virtual" in line]


@pytest.mark.parametrize(
    ("direct", "said"), [("silent", ["silent"]), ("refused", ["refused"]), ("refused", ["silent"])]
)
def test_tasks_that_do_not_answer_or_listen_say_nothing_of_the_address(direct, said):
    whole = observed(cluster(), direct=direct, node3=said)
    assert explain(whole) == ()
    assert not [line for line in well(whole, frozenset()) if "virtual" in line]


def test_single_failures_show_nothing_if_not_all_tasks_were_asked():
    more = entry("web", (8080, "ingress", "tcp"), addresses=("10.99.0.4/24",), running=3)
    assert explain(observed(cluster(more), node3=["silent", "open"])) == ()
    assert [each.id for each in explain(observed(cluster(more), node3=["silent"]))] == ["vip-unanswered"]


def test_what_the_program_does_not_say_is_no_finding():
    whole = observed(cluster(), node3=["silent"])
    cut = whole.observed.kernels["node3"].raw["call:10.99.0.13"].rpartition("10.99.0.12")[0]
    odd = f"{cut}10.99.0.12:80 perhaps\n"
    for text in (cut, odd, "", "perl: not found"):
        kernels = {**whole.observed.kernels, "node3": Kernel({"call:10.99.0.13": text})}
        assert explain(replace(whole, observed=Observed(kernels=kernels))) == ()


def test_the_program_tells_accepted_refused_and_lost_connections_apart():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        accepted, lost = (f"127.0.0.1:{each.getsockname()[1]}" for each in (server, full))
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:  # Linux drops what comes in for a full queue
            filler.settimeout(0)
            filler.connect_ex(full.getsockname())
        refused = f"127.0.0.1:{free_port()}"
        argv = ["perl", "-e", render.text("call.pl"), accepted, accepted, refused, lost]
        said = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=30)
        for filler in fillers:
            filler.close()
    assert said.stdout == f"asked 4\n{accepted} open\n{accepted} open\n{refused} refused\n{lost} silent\n"
    assert said.stderr == ""


# -- connections that a load balancer has forgotten -----------------------------------------------------------------------

IPVS = """Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData
TCP 0A63000B 9C40 0A630004 1F90 0A63000C 1F90 ESTABLISHED     897
UDP 0A63000B 9C41 0A630004 1F90 0A63000C 1F90 UDP             297
"""


def missing(*connections, table=IPVS):
    argv = ["perl", "-e", render.text("forgotten.pl"), *(end for each in connections for end in each)]
    return subprocess.run(argv, input=table, capture_output=True, text=True, check=True).stdout.split("\n")[:-1]


def test_connections_that_the_load_balancers_lack_are_listed():
    known, other = ("10.99.0.11:40000", "10.99.0.4:8080"), ("10.99.0.11:40001", "10.99.0.4:8080")
    mapped = ("[::ffff:10.99.0.11]:40000", "[::ffff:10.99.0.4]:8080")
    assert missing(known, mapped, other) == [" ".join(other)]
    assert missing(known, table="") == [" ".join(known)]
    assert missing() == []


LINKS = '[{"ifname": "eth0", "address": "02:42:0a:63:00:05"}]'
BALANCER = '[{"ifname": "eth0", "addr_info": [{"family": "inet", "local": "10.99.0.4", "prefixlen": 32}]}]'


def forgetful(lines, *, addresses=BALANCER):
    raw = {"forgotten": lines, "space:lb_n:links": LINKS, "space:lb_n:addresses": addresses}
    facts = cluster()
    containers = list(facts["node2"].http("containers").body)
    containers[0]["NetworkSettings"]["Networks"]["demo"] |= {"MacAddress": "02:42:0a:63:00:0c", "EndpointID": "e"}
    facts["node2"] = with_http(facts["node2"], "containers", containers)
    return replace(seen(facts), observed=Observed(kernels={"node2": Kernel(raw)}))


def test_a_connection_that_a_load_balancer_has_forgotten_is_a_warning():
    (cause,) = explain(forgetful("10.99.0.12:40000 10.99.0.4:8080\n10.99.0.12:40001 10.99.0.4:8080\n"))
    assert (cause.id, cause.hosts, causes.warns(cause)) == ("ipvs-idle", ("node2",), True)
    assert "\n".join(cause.evidence) == (
        "2 connections to 10.99.0.4:8080, the virtual address of web, are open in containers and unknown to the load balancer:"
        " c-10.99.0.12 from port 40000, c-10.99.0.12 from port 40001"
    )


@pytest.mark.parametrize(
    ("lines", "addresses"),
    [
        ("", BALANCER),
        ("10.99.0.12:40000 10.99.0.9:8080\n", BALANCER),  # no service has this address
        ("10.99.0.99:40000 10.99.0.4:8080\n", BALANCER),  # the container has gone
        ("10.99.0.12:40000 10.99.0.4:8080\n", "[]"),  # this host has no load balancer for it
    ],
)
def test_other_connections_are_not_forgotten(lines, addresses):
    assert explain(forgetful(lines, addresses=addresses)) == ()
