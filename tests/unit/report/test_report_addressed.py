"""Cures name the inventory of the run, so their commands can be copied."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from provisioner.model import Call, Diagnosis, Failure, Outcome, Problem, ProofResult, Report, State
from provisioner.report.addressed import addressed
from provisioner.report.document import to_json

DOWN = Problem("store-down", "node1", "Consul does not run")
COMMAND = "provisioner up INVENTORY"
REPORT = Report(
    command="verify",
    cluster="demo",
    hosts=("node1",),
    exit_code=1,
    seconds=1.0,
    findings=(DOWN,),
    outcomes=(Outcome("node1", "store", State.FAILED, error=f"broken\n  next:  {COMMAND}", check="not-converged"),),
    proofs=(ProofResult("overlay", "demo", State.FAILED, error=f"no\n  next:  {COMMAND}", problems=(DOWN,)),),
    errors=(Failure(f"stopped\n  next:  run `{COMMAND}` first", "rotation-unready"),),
    lost={"node2": Failure(f"gone\n  next:  {COMMAND}", "host-unreachable")},
    causes=(Diagnosis((DOWN,), (DOWN,)),),
)


@pytest.mark.parametrize(("path", "named"), [("my cluster.yml", "provisioner up 'my cluster.yml'"), ("", COMMAND)])
def test_the_inventory_is_named_wherever_a_cure_is(path, named):
    found = json.loads(to_json(addressed(replace(REPORT, call=Call(path)))))
    cures = [
        found["findings"][0]["cure"],
        found["outcomes"][0]["error"],
        found["proofs"][0]["error"],
        found["proofs"][0]["problems"][0]["cure"],
        found["errors"][0],
        found["lost"]["node2"],
        found["causes"][0]["cure"][0],
        found["failures"][0]["what"],
        next(each["cure"] for each in found["failures"] if each["check"] == "rotation-unready"),
    ]
    assert [text for text in cures if named not in text] == []


def test_what_hosts_answer_stays():
    seen = replace(DOWN, evidence=f"the motd says {COMMAND}")
    found = addressed(replace(REPORT, findings=(seen,), call=Call("a.yml")))
    assert found.findings[0].evidence == seen.evidence
