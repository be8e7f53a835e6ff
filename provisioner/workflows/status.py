"""`status`: one summary per host. It reads the hosts, and compares nothing. Other commands describe the hosts in their reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.controlplane.summary import summaries
from provisioner.runner.look import read

if TYPE_CHECKING:
    from provisioner.model import HostSummary
    from provisioner.runner.run import Run


def summarize(run: Run) -> bool:
    """Makes one summary for each host, including unreachable ones."""
    run.summaries = _summaries(run)
    return True


def describe(run: Run) -> bool:
    """The same for the report of another command, whose result does not depend on it."""
    run.described = _summaries(run)
    return True


def _summaries(run: Run) -> tuple[HostSummary, ...]:
    return run.of_all(lambda site: summaries(site, run.session.lost), "summarizing the hosts")


PHASES = (read, summarize)
