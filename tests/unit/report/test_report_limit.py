"""Reports of commands with `--limit`: they count and show only what concerns the named hosts."""

from __future__ import annotations

from dataclasses import replace

from report_samples import names, pairs, shown, up

from provisioner.model import Call, Drift, Failure, Kind, Outcome, ProofResult, State
from provisioner.report.document import document
from provisioner.report.grids import grids
from provisioner.report.next_steps import next_steps
from provisioner.report.verdict import tally, verdict


def report(**more):
    hosts = names(3)
    seen = tuple(pair for pair in pairs(hosts) if "node1" in (pair.source, pair.target))
    proof = ProofResult("overlay", "demo", State.SETTLED, seen, mtu=1450, seconds=1.2)
    return up(proofs=(proof,), limit=("node1",), **more)


def test_pairs_of_other_hosts_are_not_missing():
    found = report()
    assert (tally(found.proofs[0], found).total, tally(found.proofs[0], found).proven) == (4, 4)
    assert verdict(found).startswith("proven: 1 of 3 hosts, 4 of 4 pairs on demo")
    assert tally(found.proofs[0], replace(found, limit=())).total == 6


def test_a_plan_speaks_of_the_named_hosts():
    drift = Outcome("node1", "daemon", State.DRIFTED, (Drift(Kind.FILE, "/x"),))
    found = report(command="plan", outcomes=(drift,), exit_code=2)
    assert verdict(found) == "1 of 3 hosts: 1 would change (1 thing)"


def test_the_next_command_has_the_same_limit():
    drift = Outcome("node1", "daemon", State.DRIFTED, (Drift(Kind.FILE, "/x"),))
    found = report(command="plan", outcomes=(drift,), exit_code=2, call=Call("c.yml", makes="up"))
    assert "provisioner up --limit node1 c.yml" in [step.run for step in next_steps(found)]
    refused = replace(found, errors=(Failure("x", "beyond-limit"),), exit_code=1)
    assert next_steps(refused)[0].run == "provisioner plan c.yml"


def test_the_matrix_has_no_mark_for_pairs_of_other_hosts():
    text = shown(report())
    assert "✗" not in text
    assert "not measured" not in text
    assert [line.count("·") for line in text.splitlines() if line.startswith("    node")] == [1, 2, 2]


def test_the_page_counts_and_marks_the_same_pairs():
    table = grids(document(report()))[0]
    assert table.title == "demo: round-trip times, 4 of 4 pairs proven"
    assert [[cell.text[:1] for cell in row] for row in table.cells] == [
        ["·", "✓", "✓"],
        ["✓", "·", "·"],
        ["✓", "·", "·"],
    ]
