"""Replaces the texts of drifts: no action may depend on them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from functools import wraps
from typing import TYPE_CHECKING

import pytest

from provisioner import wording

if TYPE_CHECKING:
    from collections.abc import Callable

    from provisioner.controlplane import Site
    from provisioner.model import Drift
    from provisioner.steps.base import Step, Work


def other_words(patch: pytest.MonkeyPatch) -> None:
    """Replaces all texts of wording.py with nonsense."""
    for table in ("_THINGS", "_TAKES", "_TAKES_FOR"):
        patch.setattr(wording, table, defaultdict(lambda: "nonsense"))


def renamed(drift: tuple[Drift, ...]) -> tuple[Drift, ...]:
    """The same drifts with other texts."""
    return tuple(replace(d, found=f"nonsense {at}", wanted="more nonsense") for at, d in enumerate(drift))


def tried_with_other_texts(work: Callable[..., Work | None]) -> Callable[..., Work | None]:
    """A step's `work` that fails if its result changes with the texts of the drift."""

    @wraps(work)
    def tried(step: Step, site: Site, host: str, drift: tuple[Drift, ...]) -> Work | None:
        made = work(step, site, host, drift)
        with pytest.MonkeyPatch.context() as patch:
            other_words(patch)
            assert work(step, site, host, renamed(drift)) == made, "the result of `work` depends on a text of the drift"
        return made

    return tried
