"""`status`: one summary per host. It reads the hosts, and compares nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.controlplane.summary import summaries
from provisioner.runner.look import read

if TYPE_CHECKING:
    from provisioner.runner.run import Run


def summarize(run: Run) -> bool:
    """Makes one summary for each host, including unreachable ones."""
    run.summaries = run.of_all(lambda site: summaries(site, run.session.lost), "summarizing the hosts")
    return True


PHASES = (read, summarize)
