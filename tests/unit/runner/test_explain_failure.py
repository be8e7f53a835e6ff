"""What failed is explained by observations, too, if the paths between the hosts may be the cause."""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass(frozen=True)
class Site:
    facts: tuple[str, ...]
    live: tuple[str, ...]


class Stopped(SimpleNamespace):
    """A run that ended with these errors, and whose host node2 dropped out with the error `lost`."""

    def __init__(self, errors: list[Failure], lost: Failure | None, *, read: bool = True) -> None:
        super().__init__(errors=errors, done=[], inventory=SimpleNamespace(hosts=("node1", "node2")))
        facts = ("node1", "node2") if read else ("node1",)
        self.site = Site(facts, ("node1",) if lost else ("node1", "node2"))
        self.session = SimpleNamespace(lost={"node2": lost} if lost else {}, patient=True)

    def read_again(self) -> None:
        assert not self.session.patient
        self.done.append(("read", self.site.live))

    def drop_lost(self) -> None:
        self.site = Site(self.site.facts, tuple(name for name in self.site.live if name not in self.session.lost))


@pytest.fixture
def phase(monkeypatch):
    for name in ("observe", "explain"):
        monkeypatch.setattr(diagnose, name, lambda run, name=name: run.done.append((name, run.site.live)))
    return or_else(lambda run: not run.errors and not run.session.lost, diagnose.explain_apart)


@pytest.mark.parametrize(
    ("check", "looks"), [("store-no-leader", True), ("timed-out", True), ("command-failed", False), ("", False)]
)
def test_a_run_that_ends_before_its_proofs_is_observed_if_the_hosts_became_no_cluster(phase, check, looks):
    run = Stopped([Failure("no leader", check)] if check else [], None)
    assert phase(run) is not bool(check)
    assert run.done == [(name, ("node1", "node2")) for name in ("read", "observe", "explain")] * looks


@pytest.mark.parametrize(("check", "looks"), [("not-converged", True), ("timed-out", True), ("connection-lost", False)])
def test_a_host_that_dropped_out_but_answers_is_observed_and_stays_lost(phase, check, looks):
    lost = Failure("no answer", check)
    run = Stopped([], lost)
    assert not phase(run)
    assert run.done == [(name, ("node1", "node2")) for name in ("read", "observe", "explain")] * looks
    assert (run.session.lost, run.site.live) == ({"node2": lost}, ("node1",))


def test_a_host_of_which_nothing_is_known_is_not_observed(phase):
    run = Stopped([], Failure("no answer", "timed-out"), read=False)
    assert not phase(run)
    assert run.done == []
