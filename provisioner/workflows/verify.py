"""`verify`: looks at every step, and proves the networks. Repairs nothing."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from provisioner.runner.look import judge_again, look
from provisioner.runner.prove import prove
from provisioner.steps import STEPS
from provisioner.workflows import anyway, compare

if TYPE_CHECKING:
    from provisioner.workflows import Phase


def phases(*, builtin: bool = False) -> tuple[Phase, ...]:
    """builtin: prove also the networks that every engine has."""
    return anyway(look), compare(STEPS), partial(prove, builtin=builtin), judge_again
