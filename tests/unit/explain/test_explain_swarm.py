"""Causes that only a swarm has."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from pathlib import Path

import pytest
from captured import HOSTS, with_http, with_raw
from scenes import ways
from swarms import FOUND, IDS, fresh, out, put

from provisioner import causes
from provisioner.controlplane import resolve
from provisioner.errors import Malformed
from provisioner.explain import Seen, explain, well
from provisioner.inventory import of_values
from provisioner.inventory.importers.swarm import understood
from provisioner.model import Drift, Kind, Outcome, Problem, ProofResult, Severity, State
from provisioner.observe import Observed, underlay
from provisioner.observe.kernel import Kernel
from provisioner.observe.underlay import Attempt, Underlay
from provisioner.runner import survey


def seen(found, **more):
    swarm = understood(survey.answers(FOUND["node1"]))
    inventory = of_values(swarm.document({}, "192.168.56.11", HOSTS), Path("swarm"))
    site, findings = resolve(inventory, found)
    return Seen(site, findings=tuple(findings), **more)


def test_a_healthy_swarm_has_none():
    assert explain(seen(FOUND)) == ()


def test_a_node_that_left_explains_that_no_container_starts_there():
    probe = Problem("probe-failed", "node2", "network demo not found", network="demo")
    proof = ProofResult("overlay", "demo", State.FAILED, problems=(probe,))
    drift = Outcome("node2", "swarm", State.DRIFTED, (Drift(Kind.SWARM, "the swarm"),))
    former = Outcome("node1", "swarm", State.DRIFTED, (Drift(Kind.STALE_NODE, "node2"),))
    (found,) = explain(seen(FOUND | {"node2": out("node2")}, proofs=(proof,), outcomes=(drift, former)))
    assert (found.id, found.hosts) == ("node-left", ("node2",))
    assert [each.id for each in found.explained] == ["drift", "drift", "probe-failed"]
    assert f"docker node rm --force {IDS['node2']}" in causes.cure(found.problems[0])


def test_an_engine_that_has_not_noticed_its_swarm():
    # Seen in the lab, on an engine 28.5.2 whose node was unlocked: it listened on 2377/tcp only, until it was restarted.
    only = "\n".join(line for line in FOUND["node2"].raw["ports"].split("\n") if " 7946 " not in line)
    probe = Problem("probe-failed", "node2", "attaching to network failed", network="demo")
    proof = ProofResult("overlay", "demo", State.FAILED, problems=(probe,))
    (found,) = explain(seen(FOUND | {"node2": with_raw(FOUND["node2"], ports=only)}, proofs=(proof,)))
    assert (found.id, found.hosts, [each.id for each in found.explained]) == (
        "networking-off",
        ("node2",),
        ["probe-failed"],
    )
    assert [command.split("  #")[0] for command in causes.to_run(found.problems[0])] == ["systemctl restart docker"]
    assert explain(seen(FOUND | {"node2": with_raw(out("node2"), ports=only)})) == explain(
        seen(FOUND | {"node2": out("node2")})
    )


def test_a_node_that_has_not_finished_to_leave_is_not_without_a_leader():
    half = put("node2", NodeID="", LocalNodeState="active", ControlAvailable=False, RemoteManagers=None)
    (found,) = explain(seen(FOUND | {"node2": half}))
    assert (found.id, found.hosts) == ("node-left", ("node2",))
    assert "began to leave its swarm and has not finished" in found.problems[0].evidence
    assert causes.cure(found.problems[0]).startswith("finish it: docker swarm leave --force, on this host")


def test_a_swarm_without_a_leader_is_one_cause_on_all_hosts():
    leaderless = Problem("swarm-leaderless", "node1", "its swarm has no leader", {"anew": "docker swarm init"})
    closed = Problem("swarm-leaderless", "node2", "no container joins", network="demo", variant="start")
    probe = Problem("probe-failed", "node3", "network demo not found", network="demo")
    proof = ProofResult("overlay", "demo", State.FAILED, problems=(closed, probe))
    whole = seen(FOUND, proofs=(proof,))
    (found,) = explain(replace(whole, findings=(leaderless,)))
    assert (found.id, found.hosts, [each.id for each in found.explained]) == (
        "swarm-leaderless",
        ("node1",),
        ["probe-failed"],
    )


def test_hosts_that_never_joined_have_not_left():
    assert "node-left" not in {found.id for found in explain(seen(fresh()))}


# -- services: what `docker service ls` and `docker service ps` of engine 26.1.5 said in the lab -----------------------------------

REJECTED = 'task|web.1|node2|Rejected 3 seconds ago|"No such image: nothing.test/web:1"'
BROKEN = f"short|web|0|1\ntask|web.1|node1|Preparing 2 seconds ago|\n{REJECTED}\nshort|new|1|2\ntask|new.1|node3|Running 1 second ago|\nall|4\n"


def serving(text):
    kernels = {"node1": Kernel({"services": text}), "node2": Kernel({})}
    return seen(FOUND, observed=Observed(kernels=kernels))


def test_a_service_of_which_a_task_does_not_run_is_named_with_its_error():
    (found,) = explain(serving(BROKEN))
    assert (found.id, found.hosts) == ("service-tasks-missing", ())
    said = 'web: 0 of 1 tasks run; web.1 on node2: Rejected 3 seconds ago: "No such image: nothing.test/web:1"'
    assert found.problems[0].evidence == said
    assert "docker service ps --no-trunc web" in causes.cure(found.problems[0])
    assert causes.severity(found.problems[0]) is Severity.WARNING


@pytest.mark.parametrize("age", ["20 seconds", "about a minute", "3 hours"])
def test_a_task_that_waits_for_its_allocation_is_named(age):
    (found,) = explain(serving(f"short|web|0|1\ntask|web.1||New {age} ago|\nall|1\n"))
    assert found.id == "service-tasks-missing"
    assert f"web: 0 of 1 tasks run; web.1: New {age} ago: it waits for addresses" in found.problems[0].evidence


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("all|2\n", ["services of the swarm: 2 of 2 run all their tasks"]),
        (
            "short|new|1|2\ntask|new.1|node3|Running 1 second ago|\nall|2\n",
            ["services of the swarm: 1 of 2 run all their tasks"],
        ),
        ("all|0\n", []),
        ("short|new|0|2\nall|1\n", []),
        ("short|new|0|2\ntask|new.1||New less than a second ago|\ntask|new.2||New 19 seconds ago|\nall|1\n", []),
        ("", []),  # the swarm has no leader
        (BROKEN.partition("all")[0], []),  # the answer is incomplete
    ],
)
def test_services_of_which_all_tasks_run_or_still_start_are_no_cause(text, line):
    found = serving(text)
    assert explain(found) == ()
    assert [each for each in well(found, frozenset()) if "services" in each] == line


@pytest.mark.parametrize(
    "text",
    [
        "short|we b|0|1\n",
        "short|web|x|1\n",
        "short|web|0|-1\n",
        "short|web|0\n",
        "task|web.1|node1|Running|\nelse\n",
        "all|many\n",
        "all\n",
    ],
)
def test_a_malformed_list_of_services_is_refused(text):
    with pytest.raises(Malformed, match="services"):
        _ = Kernel({"services": text}).services


# -- published ports and virtual addresses: entries of `GET /services?status=true`, shortened ---------------------------------------


def entry(name, *ports, running=1, addresses=()):
    """A service with these ports (port, mode, protocol) and virtual addresses."""
    published = [
        {"PublishedPort": p, "TargetPort": 80, "PublishMode": mode, "Protocol": kind} for p, mode, kind in ports
    ]
    status = {"RunningTasks": running, "DesiredTasks": 1}
    endpoint = {"Spec": {}, "Ports": published, "VirtualIPs": [{"NetworkID": "n", "Addr": a} for a in addresses]}
    return {"ID": f"id-{name}", "Spec": {"Name": name}, "Endpoint": endpoint, "ServiceStatus": status}


WEB = entry(
    "web", (8080, "ingress", "tcp"), (8081, "host", "tcp"), (8082, "ingress", "udp"), addresses=("10.0.0.4/24",)
)


def listing(*services, **hosts):
    """The swarm with these services. hosts: facts that replace those of single hosts."""
    return FOUND | {"node1": with_http(FOUND["node1"], "services", list(services))} | hosts


def paths(found, port, **bad):
    """The swarm with tried paths. bad: "node1_node2" -> the attempt on this path."""
    of = seen(found)
    attempts = {way: bad.get("_".join(way), Attempt("open", 0.001, "", 1, 1, 0, 1, 1)) for way in ways(of.site)}
    changed = {way: replace(path, tcp={port: attempts[way]}) for way, path in ways(of.site).items()}
    return replace(of, observed=Observed(Underlay(changed)))


def test_ports_that_every_node_publishes_are_tested():
    idle = entry("idle", (8083, "ingress", "tcp"), running=0)
    site = seen(listing(WEB, idle, "odd", {"Spec": None, "Endpoint": {"Ports": [7, {"PublishedPort": "x"}]}})).site
    assert underlay.published(site) == {8080: "web"}
    assert all(8080 in underlay.tried(site, name) for name in HOSTS)
    assert underlay.published(seen(FOUND).site) == {}


DROPPED = Attempt("silent", 0.0, "", 1, 1, 0, 0, 0)


def test_a_host_that_does_not_answer_a_published_port_is_named():
    found = paths(listing(WEB), 8080, node1_node2=DROPPED, node3_node2=replace(DROPPED, state="refused", answered=1))
    problem = explain(found)[0].problems[0]
    assert (problem.id, problem.host, problem.target, problem.variant) == ("published-unanswered", "node2", "", "")
    assert "8080/tcp packets lost" in problem.evidence
    assert problem.evidence.endswith("the service web publishes this port")
    assert causes.severity(problem) is Severity.WARNING
    (cause,) = explain(paths(listing(WEB), 8080, node1_node2=replace(DROPPED, arrived=0)))
    assert (cause.problems[0].variant, cause.hosts) == ("between", ("node1", "node2"))


def test_a_port_that_every_host_or_none_answers_is_no_cause():
    assert explain(paths(listing(WEB), 8080)) == ()
    every = {f"{a}_{b}": DROPPED for a, b in permutations(HOSTS, 2)}
    assert explain(paths(listing(WEB), 8080, **every)) == ()


def test_a_kernel_without_ipvs_serves_no_virtual_address():
    lacks = with_raw(FOUND["node2"], system=f"{FOUND['node2'].raw['system']}lacks=ip_vs\n")
    (found,) = explain(seen(listing(WEB, node2=lacks)))
    assert (found.id, found.hosts) == ("ipvs-missing", ("node2",))
    assert found.problems[0].evidence == "the kernel has no module ip_vs, and the service web has published ports"
    assert explain(seen(listing(entry("none"), node2=lacks))) == ()
    hidden = paths(listing(WEB, node2=lacks), 8080, node1_node2=DROPPED)
    assert [(each.id, [other.id for other in each.explained]) for each in explain(hidden)] == [
        ("ipvs-missing", ["published-unanswered"])
    ]
