"""What failed is explained by observations, too, if the paths between the hosts may be the cause."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from provisioner.model import Failure, Problem, ProofResult, State
from provisioner.runner import diagnose
from provisioner.workflows import or_else


@pytest.mark.parametrize(
    ("found", "observed", "code", "observes"),
    [
        ("path-mtu", None, 1, True),
        ("transfer-stalled", None, 1, True),
        ("connection-dropped", None, 1, True),
        ("transfer-stalled", "before", 1, False),
        ("probe-failed", None, 1, False),
        ("", None, 0, False),
    ],
)
def test_when_it_observes(monkeypatch, found, observed, code, observes):
    done = []
    monkeypatch.setattr(diagnose, "observe", lambda _: done.append("observe"))
    monkeypatch.setattr(diagnose, "explain", lambda _: done.append("explain") or True)
    problems = (Problem(found, "node1", "seen"),) if found else ()
    proof = ProofResult("overlay", "demo", State.FAILED, problems=problems)
    run = SimpleNamespace(exit_code=lambda: code, observed=observed, proofs=[proof])
    assert diagnose.explain_failure(run)
    assert done == ["observe"] * observes + ["explain"] * bool(code)


@pytest.mark.parametrize(("check", "looks"), [("store-no-leader", True), ("command-failed", False), ("", False)])
def test_a_run_that_ends_before_its_proofs_is_observed_if_the_hosts_became_no_cluster(monkeypatch, check, looks):
    done = []
    for name in ("observe", "explain"):
        monkeypatch.setattr(diagnose, name, lambda _, name=name: done.append(name) or True)
    errors = [Failure("no leader", check)] if check else []
    run = SimpleNamespace(errors=errors, read_again=lambda: done.append("read"))
    phase = or_else(lambda _: not errors, diagnose.explain_stop)
    assert phase(run) is not bool(errors)
    assert done == ["read", "observe", "explain"] * looks
