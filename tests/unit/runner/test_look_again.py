"""What makes a run read its hosts again at the end."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from provisioner.model import Outcome, ProofResult, State
from provisioner.runner import look


@pytest.mark.parametrize(
    ("outcomes", "proofs", "read"),
    [
        ([Outcome("a", "daemon", State.SETTLED)], [ProofResult("overlay", "demo", State.SETTLED)], False),
        ([Outcome("a", "daemon", State.DRIFTED)], [], True),
        ([], [ProofResult("overlay", "demo", State.FAILED)], True),
    ],
)
def test_hosts_are_read_again_if_something_differs_or_failed(site, monkeypatch, outcomes, proofs, read):
    calls = []
    monkeypatch.setattr(look, "read_all", lambda _: calls.append("read"))
    monkeypatch.setattr(look, "check", lambda _: None)
    look.judge_again(
        SimpleNamespace(site=site(), findings=[], checked=[], outcomes=outcomes, proofs=proofs, observed=None)
    )
    assert bool(calls) is read
