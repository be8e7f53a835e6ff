"""`plan`: what `up` would change. Changes nothing."""

from __future__ import annotations

from provisioner.runner.look import look
from provisioner.steps import STEPS
from provisioner.workflows import anyway, compare

PHASES = (anyway(look), compare(STEPS))
