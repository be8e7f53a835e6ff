"""Causes that only a swarm has."""

from __future__ import annotations

from pathlib import Path

import pytest
from captured import HOSTS
from swarms import FOUND, IDS, fresh, out

from provisioner import causes
from provisioner.controlplane import resolve
from provisioner.errors import Malformed
from provisioner.explain import Seen, explain, well
from provisioner.inventory import of_values
from provisioner.inventory.importers.swarm import understood
from provisioner.model import Problem, ProofResult, Severity, State
from provisioner.observe import Observed
from provisioner.observe.kernel import Kernel
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
    (found,) = explain(seen(FOUND | {"node2": out("node2")}, proofs=(proof,)))
    assert (found.id, found.hosts, [each.id for each in found.explained]) == ("node-left", ("node2",), ["probe-failed"])
    assert f"docker node rm --force {IDS['node2']}" in causes.cure(found.problems[0])


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
