"""The proof of internal networks: the result from the evidence of probes."""

from __future__ import annotations

from types import SimpleNamespace

from provisioner.model import State
from provisioner.proofs import internal
from provisioner.proofs.evidence import Evidence


def probe(name, *lines, **put):
    evidence = Evidence(**put)
    for line in ("ready 10.99.0.2 1450", *lines, "done 0.3 0.02"):
        evidence.take(line)
    return SimpleNamespace(name=name, evidence=evidence)


def test_no_way_out():
    result = internal.result("quiet", [probe("node1", "way"), probe("node1", "way"), probe("node2", "way")], 2)
    assert (result.proof, result.network, result.state, result.error) == ("internal", "quiet", State.SETTLED, "")
    assert [(check.host, check.seconds) for check in result.checks] == [("node1", 0.3), ("node2", 0.3)]


def test_a_way_out_and_a_probe_that_did_not_tell():
    silent, broken = probe("node3"), probe("node4", "way", error="no such network")
    result = internal.result(
        "quiet", [probe("node1", "way"), probe("node2", "way 192.168.56.11:22"), silent, broken], 4
    )
    assert result.state is State.FAILED
    assert [(check.host, check.detail) for check in result.checks if not check.proven] == [
        ("node2", "its container reaches 192.168.56.11:22"),
        ("node3", "its probe did not report"),
        ("node4", "no such network"),
    ]
    assert "3 of 4 checks failed" in result.error
    assert [(problem.id, problem.host) for problem in result.problems] == [("internal-open", "node2")]


def test_one_host_alone():
    assert internal.result("quiet", [probe("node1")], 1).state is State.SKIPPED
