"""`verify` and `doctor` compare again what differed: what a busy host answered too late at first is no drift."""

from __future__ import annotations

from types import SimpleNamespace

from captured import capture, with_http

from provisioner.model import Outcome, State
from provisioner.runner.converge import outcome
from provisioner.steps import STEPS
from provisioner.workflows.examine import compare_again

DAEMON = next(step for step in STEPS if step.name == "daemon")


def test_what_differed_only_because_of_a_late_answer_is_settled(site):
    late = site(node2=with_http(capture("settled-node2"), "info", "000 timeout"))
    before = [
        outcome(DAEMON, late, "node2"),
        Outcome("node1", "daemon", State.SETTLED),
        Outcome("gone", "daemon", State.DRIFTED),
    ]
    assert before[0].state is State.DRIFTED
    for now, expected in ((site(), State.SETTLED), (late, State.DRIFTED)):
        run = SimpleNamespace(outcomes=before, site=now)
        assert compare_again(run)
        assert [each.state for each in run.outcomes] == [expected, State.SETTLED, State.DRIFTED]
