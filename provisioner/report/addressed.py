"""A report whose advice can be copied: commands of provisioner name the inventory of the run. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from provisioner.errors import with_inventory

if TYPE_CHECKING:
    from collections.abc import Iterable

    from provisioner.model import Failure, Problem, Report


def addressed(report: Report) -> Report:
    """Return the report with the path of its call in all cures."""
    path = report.call.inventory

    def failure(found: Failure) -> Failure:
        return replace(found, text=with_inventory(found.text, path))

    def problems(found: Iterable[Problem]) -> tuple[Problem, ...]:
        return tuple(replace(each, values={**each.values, "inventory": path}) for each in found)

    return replace(
        report,
        findings=problems(report.findings),
        outcomes=tuple(replace(each, error=with_inventory(each.error, path)) for each in report.outcomes),
        proofs=tuple(
            replace(each, error=with_inventory(each.error, path), problems=problems(each.problems))
            for each in report.proofs
        ),
        errors=tuple(map(failure, report.errors)),
        lost={host: failure(why) for host, why in report.lost.items()},
        causes=tuple(
            replace(each, problems=problems(each.problems), explained=problems(each.explained))
            for each in report.causes
        ),
    )
