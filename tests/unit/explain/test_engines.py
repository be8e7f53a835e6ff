"""Causes on engines: the address that an engine advertises, its containerd, and ports at which it is open to all."""

from __future__ import annotations

from dataclasses import replace

import pytest
from captured import with_http, with_info, with_unit
from scenes import healthy, with_kernel

from provisioner import causes
from provisioner.explain import explain, problems
from provisioner.explain.fixes import left_to_up, plan
from provisioner.model import Drift, Kind, Outcome, State


def advertising(site, address, **facts):
    """node2 runs with another address than the inventory gives it."""
    seen = healthy(site)
    found = with_info(seen.site.facts["node2"], ClusterAdvertise=address)
    return replace(seen, site=seen.site.known("node2", replace(found, **facts)))


@pytest.mark.parametrize(
    ("address", "cause", "evidence"),
    [
        ("127.0.0.1:2376", "loopback-advertise", "127.0.0.1, a loopback address"),
        ("172.18.0.1:2376", "wrong-interface", "172.18.0.1, the address of docker_gwbridge"),
        ("203.0.113.9:2376", "wrong-interface", "203.0.113.9, which this host does not have"),
        ("a$(id):2376", "wrong-interface", "a$(id)"),
        ("", "advertise", "no address"),
    ],
)
def test_an_engine_that_advertises_another_address_than_the_inventory_gives_it(site, address, cause, evidence):
    seen = advertising(site, address)
    wanted = seen.site.advertise["node2"]
    drift = Drift(Kind.ENGINE_USES, "advertised address", address, f"{wanted}:2376")
    found = explain(replace(seen, outcomes=(Outcome("node2", "daemon", State.DRIFTED, (drift,)),)))
    assert [(each.id, each.hosts) for each in found] == [(cause, ("node2",))]
    (problem,) = found[0].problems
    assert problem.evidence == f"its engine advertises {evidence}; the inventory gives this host {wanted}"
    assert causes.cure(problem) == f"provisioner up INVENTORY sets it to {wanted}, and restarts the engine"
    assert {each.id for each in found[0].explained} == {"drift"}
    assert [each.cause for each in left_to_up(found)] == [cause]


def test_an_engine_that_advertises_a_secondary_address(site):
    seen = advertising(site, "192.168.56.99:2376")
    facts = seen.site.facts["node2"]
    own = next(line for line in facts.raw["addresses"].split("\n") if str(seen.site.advertise["node2"]) in line)
    device, _, mask = own.split()
    raw = {**facts.raw, "addresses": facts.raw["addresses"].replace(own, f"{own}\n{device} 192.168.56.99 {mask}")}
    seen = replace(seen, site=seen.site.known("node2", replace(facts, raw=raw)))
    assert [each.id for each in problems(seen)] == ["secondary-advertise"]


def test_an_engine_without_a_store_is_left_to_the_plan(site):
    seen = healthy(site)
    found = with_info(seen.site.facts["node2"], ClusterStore="", ClusterAdvertise="")
    assert problems(replace(seen, site=seen.site.known("node2", found))) == []


def test_an_engine_that_answers_all_is_reported_with_its_port(site):
    seen = with_kernel(healthy(site), "node2", "exposed", lambda _: "0.0.0.0:2375\n$(id)\n")
    (found,) = explain(seen)
    assert (found.id, found.hosts) == ("engine-open", ("node2",))
    assert [problem.where for problem in found.problems] == ["node2: port 2375"]
    assert "no longer listen on port 2375" in causes.cure(found.problems[0])


@pytest.mark.parametrize(
    ("state", "expected"), [("failed", True), ("inactive", True), ("active", False), ("", False), ("$(id)", False)]
)
def test_an_engine_without_its_containerd(site, state, expected):
    found = explain(with_kernel(healthy(site), "node2", "containerd", lambda _: f"{state}\n"))
    assert [(each.id, each.hosts) for each in found] == ([("engine-down", ("node2",))] if expected else [])
    if expected:
        assert causes.shell_commands(found[0].problems[0]) == ("systemctl start containerd",)
        assert [each.commands for each in plan(found)] == [("systemctl start containerd",)]


SAID = "failed to start daemon: Unable to get the TempDir under /var/lib/docker: permission denied"


@pytest.mark.parametrize(
    ("state", "what", "start"), [("failed", "failed", True), ("auto-restart", "ends again and again", False)]
)
def test_an_engine_that_fails_is_shown_with_what_its_log_says(site, state, what, start):
    seen = healthy(site)
    facts = with_http(seen.site.facts["node2"], "info", "000 no answer")
    seen = replace(seen, site=seen.site.known("node2", with_unit(facts, "docker.service", ActiveState="activating")))
    (found,) = explain(
        with_kernel(seen, "node2", "ended", lambda _: f"docker.service {state} {SAID}\nsshd.service failed x\n")
    )
    (problem,) = found.problems
    assert (found.id, found.hosts, problem.evidence) == (
        "engine-down",
        ("node2",),
        f"docker.service {what}; its log: {SAID}",
    )
    assert bool(causes.shell_commands(problem)) is start


def test_an_engine_whose_socket_is_gone(site):
    seen = healthy(site)
    facts = with_http(seen.site.facts["node2"], "info", "000 No such file or directory")
    (found,) = explain(replace(seen, site=seen.site.known("node2", facts)))
    assert (found.id, found.hosts) == ("engine-down", ("node2",))
    assert found.problems[0].evidence.endswith("accepts no connection: No such file or directory")
    assert [each.commands for each in plan((found,))] == [("systemctl restart docker.socket docker",)]
    cut_off = with_http(facts, "info", "000 no answer")
    assert not problems(replace(seen, site=seen.site.known("node2", cut_off)))
    starting = with_unit(facts, "docker.service", ActiveState="activating")
    assert not problems(replace(seen, site=seen.site.known("node2", starting)))
