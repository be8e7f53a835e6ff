"""The hosts at a glance: a table where it fits, else a few lines for each host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from provisioner.report import words
from provisioner.report.paper import BAD, GOOD, HEAD, QUIET, fit, widest

if TYPE_CHECKING:
    from provisioner.model import HostSummary, Report
    from provisioner.report.paper import Look

_HEADS = ("host", "reached", "system", "engine", "advertise", "store", "leader", "networks", "local networks", "containers")
_LOCAL = _HEADS.index("local networks")  # said only where it is known


def status(report: Report, look: Look) -> list[Text]:
    if not report.summaries:
        return []
    rows = [_row(summary, look) for summary in report.summaries]
    columns = tuple(at for at in range(len(_HEADS)) if at != _LOCAL or any(row[at] != look.marks.none for row in rows))
    varying = tuple(at for at in columns if at <= 1 or not _same(rows, at, look))
    for shown in (columns, varying):
        widths = [widest((_HEADS[at], *(row[at] for row in rows))) for at in shown]
        if sum(widths) + 2 * len(widths) - 2 <= look.width:
            common = [f"{_HEADS[at]} {_same(rows, at, look)}" for at in columns if at not in shown]
            lines = [*_table(rows, shown, widths, look), *_everywhere(common, look)]
            break
    else:
        lines = _cards(rows, columns, look)
    return [*lines, *_errors(report, look)]


def _same(rows: list[tuple[str, ...]], at: int, look: Look) -> str:
    """Return what a column says of every host of which it says anything, or "" where they differ."""
    known = {row[at] for row in rows if row[at] != look.marks.none}
    return known.pop() if len(known) == 1 else ""


def _everywhere(common: list[str], look: Look) -> list[Text]:
    return [Text(), *look.prose(Text("everywhere  ", QUIET), "; ".join(common))] if common else []


def _row(summary: HostSummary, look: Look) -> tuple[str, ...]:
    store = f"{summary.store} {summary.store_role}"
    known = (summary.system, summary.engine, summary.advertise, store, summary.leader, ", ".join(summary.networks), _local(summary))
    return (
        words.line(summary.host),
        f"{look.marks.ok} {words.line(summary.address)}" if summary.reached else f"{look.marks.bad} no",
        *(words.line(text) or look.marks.none for text in known),
        str(summary.containers) if summary.reached else look.marks.none,
    )


def _local(summary: HostSummary) -> str:
    """The networks that this host has by itself; the built-in ones have the name of their driver, or none."""
    told = []
    for network in summary.all_networks:
        if network.scope == "local":
            driver = network.driver if network.driver not in (network.name, "null") else ""
            told.append(" ".join(word for word in (network.name, driver, *network.subnets) if word))
    return ", ".join(told)


def _table(rows: list[tuple[str, ...]], shown: tuple[int, ...], widths: list[int], look: Look) -> list[Text]:
    head = "  ".join(fit(_HEADS[at], width, look.marks) for at, width in zip(shown, widths, strict=True))
    lines = [Text(), Text(head.rstrip(), HEAD)]
    for row in rows:
        line = Text()
        for at, width in zip(shown, widths, strict=True):
            line.append("  " if at else "").append(fit(row[at], width, look.marks), _style(at, row[at], look))
        line.rstrip()
        lines.append(line)
    return lines


def _cards(rows: list[tuple[str, ...]], columns: tuple[int, ...], look: Look) -> list[Text]:
    lines: list[Text] = []
    left = widest([_HEADS[at] for at in columns[2:]])
    for row in rows:
        lines += [Text(), Text.assemble((row[0], HEAD), "  ", (row[1], _style(1, row[1], look)))]
        for at in range(2, len(row)):
            if row[at] != look.marks.none:
                lines += look.prose(Text(f"  {_HEADS[at].ljust(left)}  ", QUIET), row[at])
    return lines


def _style(at: int, cell: str, look: Look) -> str:
    if at == 1:
        return GOOD if cell.startswith(look.marks.ok) else BAD
    return QUIET if cell == look.marks.none else ""


def _errors(report: Report, look: Look) -> list[Text]:
    alike: dict[str, list[str]] = {}
    for summary in report.summaries:
        if summary.error and summary.host not in report.lost:
            alike.setdefault(words.block(words.without_host(summary.error, summary.host)).strip(), []).append(
                summary.host
            )
    lines = [Text()] if alike else []
    for body, hosts in alike.items():
        first, *rest = body.splitlines() or [""]
        lines += look.prose(Text(f"{look.marks.bad} ", BAD), f"{words.hosts(hosts, report.hosts)}: {first}")
        lines += [Text(f"  {row}", QUIET) for row in rest]
    return lines
