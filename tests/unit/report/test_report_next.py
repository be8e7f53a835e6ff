"""Each command ends with the next step, as a command that can be typed. What is done needs none."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from report_samples import daemon, names, plan, settled, shown, status, up

from provisioner import report as reports
from provisioner.model import (
    Action,
    Call,
    Check,
    Diagnosis,
    Drift,
    Failure,
    Fix,
    Kind,
    NetworkSummary,
    Outcome,
    Problem,
    ProofResult,
    State,
)
from provisioner.report.next_steps import next_steps

CALL = Call("cluster.yml")
PLAN = Call("cluster.yml", makes="up")
CREATED = tuple(
    Outcome(host, "networks", State.CONVERGED, (Drift(Kind.NETWORK, "demo", action=Action.CREATE),))
    for host in names(3)
)
OURS = Outcome("node1", "store", State.DRIFTED, (Drift(Kind.FILE, "/etc/consul.json", "a\n", "b\n", is_file=True),))
GONE = {"node3": Failure("node3: no answer", "host-unreachable")}
DEMO = (NetworkSummary("demo", "overlay", "global", wanted=True), NetworkSummary("bridge", "bridge", "local"))
REFUSED = {"node3": Failure("node3: the login is refused", "login-refused")}
BLOCKED = Diagnosis((Problem("overlay-blocked", "node2", "no answer", {"port": 4789}),), pairs=4)


def first(**fields):
    """A first `up`, which created and proved a network."""
    overlay = replace(up().proofs[0], proof="overlay")
    return up(**{"outcomes": CREATED, "proofs": (overlay,), "call": CALL, **fields})


def failed(**fields):
    """A `verify` in which node2 reached nobody."""
    report = up(fails=lambda s, t: "address" if "node2" in (s, t) else "", command="verify")
    return replace(report, **{"call": CALL, "causes": (BLOCKED,), **fields})


MANAGER = Call(manager="root@node1 --key id", options=("--ask-password",))
BEHIND = Problem("mtu", "node1", "x", {"needed": 1500, "size": 1400, "network": "demo"}, target="node2")
NEXT = {
    "a plan with changes": (
        plan(daemon("node1", "10.0.0.1"), exit_code=2, call=PLAN),
        ["provisioner up cluster.yml"],
    ),
    "a plan that does not show everything": (
        plan(OURS, exit_code=2, call=PLAN),
        ["provisioner up cluster.yml", "provisioner plan --diff cluster.yml"],
    ),
    "a plan that does": (plan(OURS, exit_code=2, call=replace(PLAN, diff=True)), ["provisioner up cluster.yml"]),
    "a plan without changes": (plan(*settled(names(3)), call=PLAN), ["provisioner verify cluster.yml"]),
    "a plan that a finding stops": (
        plan(daemon("node1", "x"), exit_code=1, findings=(Problem("subnet-overlap", "", "x"),), call=PLAN),
        [],
    ),
    "a plan of remove": (
        plan(OURS, exit_code=2, call=Call("my cluster.yml", ("--ask-password",), makes="remove gamma --drain")),
        [
            "provisioner remove gamma --drain --ask-password 'my cluster.yml'",
            "provisioner remove gamma --drain --plan --diff --ask-password 'my cluster.yml'",
        ],
    ),
    "a plan of which a question follows": (plan(OURS, exit_code=2, call=CALL), []),
    "a plan with a dead host": (
        plan(daemon("node1", "x"), exit_code=1, lost=GONE, call=PLAN),
        ["provisioner up cluster.yml", "provisioner remove node3 cluster.yml"],
    ),
    "the first up": (
        first(),
        [
            "docker run -d --name web --network demo nginx",
            "docker run --rm --network demo alpine ping -c 3 web",
        ],
    ),
    "the first up of a single host": (
        first(
            hosts=("node1",),
            outcomes=CREATED[:1],
            proofs=(ProofResult("overlay", "demo", State.SETTLED, checks=(Check("node1", "it joins", 0.1),)),),
        ),
        ["docker run -d --name web --network demo nginx"],
    ),
    "the first up in the lab, which has no registry": (first(call=replace(CALL, lab=True)), []),
    "a plan in a lab, whose hosts are reachable only from there": (
        plan(daemon("node1", "10.0.0.1"), exit_code=2, call=replace(PLAN, lab=True, lab_name="demo")),
        ["provisioner lab run --name demo -- provisioner up cluster.yml"],
    ),
    "the second up": (first(outcomes=tuple(settled(names(3)))), []),
    "an up that lost a dead host": (
        first(lost=GONE, exit_code=1),
        ["provisioner remove node3 cluster.yml", "provisioner up cluster.yml"],
    ),
    "an up with a refused login": (first(lost=REFUSED, exit_code=1), ["provisioner up cluster.yml"]),
    "an up without a majority": (
        first(lost=GONE, exit_code=1, errors=(Failure("x", "quorum-lost"),)),
        ["provisioner up cluster.yml"],
    ),
    "verify without a majority": (
        failed(outcomes=(daemon("node1", "x"),), errors=(Failure("x", "quorum-lost"),), lost=GONE),
        [],
    ),
    "verify that proved everything": (up(command="verify", call=CALL), []),
    "verify with drift": (
        failed(outcomes=(daemon("node2", "x"),)),
        ["provisioner up cluster.yml", "provisioner doctor cluster.yml"],
    ),
    "doctor with drift that only waits for the engine": (
        failed(
            command="doctor",
            outcomes=(Outcome("node2", "daemon", State.DRIFTED, (Drift(Kind.ENGINE, action=Action.WAIT),)),),
        ),
        [],
    ),
    "verify with drift for a person": (
        failed(
            outcomes=(
                Outcome(
                    "node1",
                    "networks",
                    State.DRIFTED,
                    (Drift(Kind.NETWORK_OPTION, "mtu", "1450", "9000", Action.RECREATE, "demo", held=True),),
                ),
            ),
            proofs=(),
            causes=(),
        ),
        ["provisioner up --recreate demo cluster.yml"],
    ),
    "verify that failed for no known reason": (failed(), ["provisioner doctor cluster.yml"]),
    "verify that knows the cure": (
        failed(causes=(Diagnosis((Problem("ip-forward", "node2", "it is 0", {"host": "node2"}),), pairs=4),)),
        ["provisioner doctor --fix cluster.yml"],
    ),
    "doctor that failed for no known reason": (failed(command="doctor"), []),
    "doctor that ran the cures": (
        failed(
            command="doctor",
            causes=(Diagnosis((Problem("ip-forward", "node2", "it is 0", {"host": "node2"}),)),),
            fixes=(Fix("ip-forward", "node2"),),
        ),
        [],
    ),
    "doctor without an inventory": (failed(command="doctor", call=Call()), []),
    "a good status": (
        replace(status(), call=CALL, summaries=tuple(replace(s, all_networks=DEMO) for s in status().summaries[:2])),
        ["provisioner verify cluster.yml"],
    ),
    "a status of hosts of which one has no engine": (
        replace(
            status(),
            call=CALL,
            summaries=(
                replace(status().summaries[0], all_networks=DEMO),
                replace(status().summaries[1], engine_state="absent"),
            ),
        ),
        ["provisioner plan cluster.yml"],
    ),
    "a status of fresh hosts": (
        replace(status(), call=CALL, summaries=status().summaries[:2]),
        ["provisioner plan cluster.yml"],
    ),
    "a status with a dead host": (
        replace(status(), call=CALL, exit_code=1, lost=GONE),
        ["provisioner remove node3 cluster.yml"],
    ),
    "a status without any host": (
        replace(status(), call=CALL, exit_code=1, lost=dict.fromkeys(status().hosts, GONE["node3"])),
        [],
    ),
    "the plan of a removal with another dead host": (
        plan(exit_code=1, call=replace(PLAN, makes="remove node2"), lost=GONE, removed="node2"),
        [],
    ),
    "a status with a stopped engine": (
        replace(
            status(),
            call=CALL,
            summaries=tuple(replace(each, engine_state="stopped") for each in status().summaries[:2]),
        ),
        ["provisioner doctor cluster.yml"],
    ),
    "a swarm that somebody else built, and a cure that needs an inventory": (
        failed(call=MANAGER, causes=(Diagnosis((BEHIND,)),)),
        ["provisioner inventory import swarm root@node1 --key id --ask-password >cluster.yml"],
    ),
    "a swarm that somebody else built": (
        failed(call=MANAGER, causes=(Diagnosis((Problem("ip-forward", "a", "x"),)),)),
        [],
    ),
    "an interrupted run": (first(exit_code=130), []),
}


@pytest.mark.parametrize("name", NEXT)
def test_the_next_step(name):
    report, commands = NEXT[name]
    assert [step.run for step in next_steps(report)] == commands
    lines = shown(report).partition("\nnext\n")[2].splitlines()
    assert [line.partition("#")[0].strip() for line in lines] == commands
    assert [step["run"] for step in json.loads(reports.to_json(report))["next"]] == commands


def test_drift_says_what_it_explains():
    problem = Problem("drift", "node2", "node2: daemon", {"kind": "engine-uses", "target": "store"})
    report = failed(outcomes=(daemon("node2", "x"),), causes=(Diagnosis((problem,), pairs=4),))
    assert next_steps(report)[0].why == "repairs what differs, which explains 4 failed pairs and checks"


def test_a_command_is_never_broken(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    path = f"{'long/' * 20}cluster.yml"
    assert f"  provisioner up {path}  #" in shown(plan(daemon("a", "x"), exit_code=2, call=Call(path, makes="up")))
