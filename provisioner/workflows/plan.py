"""`plan`: reports what `up` would change. It changes nothing."""

from __future__ import annotations

from provisioner.runner.look import look
from provisioner.steps import STEPS
from provisioner.workflows import anyway, compare
from provisioner.workflows.limit import within

PHASES = (anyway(look), compare(STEPS), anyway(within(STEPS)))
