"""The same differences in other words: nothing that is done may depend on them."""

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
    """From here on every thing, and what it takes, is called nonsense."""
    for table in ("_THINGS", "_TAKES", "_TAKES_THERE"):
        patch.setattr(wording, table, defaultdict(lambda: "nonsense"))


def renamed(drift: tuple[Drift, ...]) -> tuple[Drift, ...]:
    """The same differences in other words."""
    return tuple(replace(d, found=f"nonsense {at}", wanted="more nonsense") for at, d in enumerate(drift))


def tried_with_other_texts(work: Callable[..., Work | None]) -> Callable[..., Work | None]:
    """A step's `work` that fails where it is another when all texts of the drift are."""

    @wraps(work)
    def tried(step: Step, site: Site, host: str, drift: tuple[Drift, ...]) -> Work | None:
        made = work(step, site, host, drift)
        with pytest.MonkeyPatch.context() as patch:
            other_words(patch)
            assert work(step, site, host, renamed(drift)) == made, "a text of the drift has decided what is done"
        return made

    return tried
