"""Networks that the store lost, and stores in containers: what looks alike and is no problem."""

from __future__ import annotations

from dataclasses import replace

import pytest
from captured import with_http, with_unit
from scenes import (
    GIVEN,
    HOSTS,
    NETWORK,
    SPACE,
    STORE_PORT,
    cluster,
    healthy,
    running,
    with_containers,
    with_kernel,
    without_network,
)

from provisioner import causes
from provisioner.explain import Seen, explain, problems
from provisioner.model import Drift, Kind, Outcome, State


def wiped(site):
    """The store was wiped: no engine lists the network that containers use."""
    seen = healthy(site)
    for name in HOSTS:
        seen = with_containers(without_network(seen, name, "demo"), name, running(f"web-{name}"))
    return seen


def test_a_wiped_store_is_one_cause_for_the_whole_cluster(site):
    drifts = tuple(Outcome(name, "networks", State.DRIFTED, (Drift(Kind.NETWORK, "demo"),)) for name in HOSTS)
    found = explain(replace(wiped(site), outcomes=drifts))
    assert [each.id for each in found] == ["store-wiped"]
    assert {each.id for each in found[0].explained} == {"drift"}
    assert "web-node1 on node1, web-node2 on node2, web-node3 on node3" in found[0].problems[0].evidence
    assert "web-node3 on node3" in causes.cure(found[0].problems[0])


def test_a_network_that_the_store_lost_hides_no_wrong_entry_for_its_containers(site):
    address, mac = GIVEN["node1"]

    def wrong(entries):
        return [{**each, "lladdr": "02:de:ad:be:ef:03"} if each["dst"] == address else each for each in entries]

    seen = with_kernel(cluster(site, "global"), "node2", f"space:{SPACE}:neighbours", wrong)
    for name in HOSTS:
        seen = without_network(seen, name, "demo")
    drifts = tuple(Outcome(name, "networks", State.DRIFTED, (Drift(Kind.NETWORK, "demo"),)) for name in HOSTS)
    found = {each.id: each.problems[0] for each in explain(replace(seen, outcomes=drifts))}
    assert found.keys() == {"store-wiped", "fdb-stale"}
    assert mac in found["fdb-stale"].evidence


def test_a_network_that_was_created_again_does_not_help_containers_on_the_old_one(site):
    seen = with_containers(healthy(site), "node2", running("new"), running("old", "774f09dcd8"))
    (found,) = problems(seen)
    assert found.id == "store-wiped"
    assert found.evidence.startswith("old on node2 is on a network demo")


@pytest.mark.parametrize(
    ("kind", "state", "port"),
    [
        ("etcd", "etcd", 2379),
        ("etcd", "etcd-secured", "/run/provisioner-etcd/localhost:2379"),
        ("zookeeper", "zookeeper", 2181),
    ],
)
def test_one_server_that_is_stopped_or_hangs(site, inventory, kind, state, port):
    """The other servers still answer all engines, so no container fails."""
    whole = Seen(site(state, inventory(kind=kind)))
    assert [each.id for each in explain(whole)] == []
    unit, facts = f"{kind}.service", whole.site.facts["node2"]
    down = Seen(site(state, inventory(kind=kind), node2=with_unit(facts, unit, ActiveState="inactive")))
    (found,) = explain(down)
    assert (found.id, found.hosts, found.problems[0].evidence) == ("store-down", ("node2",), f"{unit} is inactive")
    for request in whole.site.backend.sought.requests:
        facts = with_http(facts, request.name, "000 timeout") if request.where == str(port) else facts
    (found,) = explain(Seen(site(state, inventory(kind=kind), node2=facts)))
    assert (found.id, found.hosts) == ("store-hangs", ("node2",))
    assert str(port) in found.problems[0].evidence


def test_a_server_that_ends_again_and_again_is_shown_with_what_its_log_says(site):
    """systemd shows it as starting. Its unit must be one of the store's, and the host one of its hosts."""
    said = "==> failed to parse /etc/consul.d/zz.json: invalid character 'b'"
    lines = f"consul.service auto-restart {said}\netcd.service failed x\n"
    (found,) = explain(with_kernel(healthy(site), "node2", "ended", lambda _: lines))
    (problem,) = found.problems
    assert (found.id, found.hosts) == ("store-down", ("node2",))
    assert problem.evidence == f"consul.service ends again and again; its log: {said}"
    assert "journalctl -u consul.service" in causes.cure(problem)


def test_a_secret_that_the_log_of_a_server_quotes_is_not_shown(site):
    lines = 'consul.service failed invalid setting encrypt: "pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s="\n'
    (found,) = explain(with_kernel(healthy(site), "node2", "ended", lambda _: lines))
    assert found.problems[0].evidence == "consul.service failed; its log: invalid setting encrypt: (removed)"


def test_healthy_twins_of_a_wiped_store(site):
    seen = healthy(site)
    local = running("local", "b1", "bridge")
    created = running("created", "c1", "just-created")  # between the two requests
    removed = {**running("removed", "gone"), "State": "exited"}
    unknown = {**running("unknown"), "NetworkSettings": {"Networks": {"demo": None, "other": {"NetworkID": ""}}}}
    assert not problems(with_containers(seen, "node2", running("web"), local, created, removed, unknown))


def test_a_store_that_does_not_answer_is_not_taken_for_a_wiped_one(site):
    seen = wiped(site)
    for name in HOSTS:
        seen = replace(
            seen, site=seen.site.known(name, with_http(seen.site.facts[name], "leader", "500 No cluster leader"))
        )
    assert "store-wiped" not in {problem.id for problem in problems(seen)}


def test_stores_elsewhere_are_no_problem(site):
    """A container with this port on a host of another address, or on a cluster whose store is not there."""
    seen = healthy(site)
    assert not problems(with_containers(seen, "node2", running("store", NETWORK, **STORE_PORT)))
    odd = running("odd", Ports=[None, {"Type": "udp", "PublicPort": 8500}, {"PublicPort": None}])
    assert not problems(with_containers(seen, "node2", odd))


def test_a_network_that_another_engine_lists_is_in_the_store(site):
    """The engine of node2 does not reach its store, and lists only its own networks."""
    seen = with_containers(without_network(healthy(site), "node2", "demo"), "node2", running("web"))
    assert "store-wiped" not in {each.id for each in problems(seen)}
