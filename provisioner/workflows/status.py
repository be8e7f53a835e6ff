"""`status`: the hosts at a glance. Reads, and compares nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.controlplane.summary import summaries
from provisioner.runner.look import read

if TYPE_CHECKING:
    from provisioner.runner.run import Run


def summarize(run: Run) -> bool:
    """One summary for each host, also of those that did not answer."""
    run.summaries = run.of_all(lambda site: summaries(site, run.session.lost), "summing up")
    return True


PHASES = (read, summarize)
