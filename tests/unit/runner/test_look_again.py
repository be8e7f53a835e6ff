"""What makes a run read its hosts again at the end."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from provisioner.model import Outcome, ProofResult, State
from provisioner.runner import look


@pytest.mark.parametrize(
    ("wrong", "before", "reads"),
    [
        (([Outcome("a", "daemon", State.SETTLED)], [ProofResult("overlay", "demo", State.SETTLED)]), 100.0, 0),
        (([Outcome("a", "daemon", State.DRIFTED)], []), 100.0, 1),
        (([], [ProofResult("overlay", "demo", State.FAILED)]), 100.0, 1),
        (([], [ProofResult("overlay", "demo", State.FAILED)]), 1.0, 0),
    ],
)
def test_hosts_are_read_again_if_something_differs_or_failed(site, monkeypatch, wrong, before, reads):
    """wrong: outcomes and proofs. before: seconds since they were last read."""
    calls = []
    outcomes, proofs = wrong
    monkeypatch.setattr(look, "read_all", lambda _: calls.append("read"))
    monkeypatch.setattr(look, "check", lambda _: None)
    look.judge_again(
        SimpleNamespace(
            site=site(),
            findings=[],
            checked=[],
            outcomes=outcomes,
            proofs=proofs,
            observed=None,
            looked_again=time.monotonic() - before,
        )
    )
    assert len(calls) == reads
