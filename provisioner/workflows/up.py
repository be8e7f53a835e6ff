"""`up`: brings the hosts to the desired state, and proves the networks."""

from __future__ import annotations

from provisioner.runner.diagnose import explain_failure
from provisioner.runner.look import judge_again, look
from provisioner.runner.prove import prove
from provisioner.steps import STEPS
from provisioner.workflows import converge, lock_if_any_differs

PHASES = (look, lock_if_any_differs(STEPS), converge(STEPS), prove, judge_again, explain_failure)
