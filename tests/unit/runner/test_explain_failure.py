"""A proof that fails soon is explained by observations, too, if the paths between the hosts may be the cause."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from provisioner.model import Problem, ProofResult, State
from provisioner.runner import diagnose


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
