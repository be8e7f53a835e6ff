"""One summary per host: a table if it fits, else a few lines for each host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from provisioner.report import words
from provisioner.report.paper import BAD, CARE, GOOD, HEAD, QUIET, fit, widest

if TYPE_CHECKING:
    from provisioner.model import HostSummary, Report
    from provisioner.report.paper import Look

_HEADS = (
    "host",
    "reached",
    "system",
    "engine",
    "advertise",
    "store",
    "leader",
    "networks",
    "local networks",
    "containers",
)
_UNKNOWN, _ABSENT = "?", "none"


def status(report: Report, look: Look) -> list[Text]:
    if report.command != "status":
        return []
    rows = [_row(summary, look) for summary in report.summaries]
    columns = tuple(at for at in range(len(_HEADS)) if at <= 1 or _values(report, rows, at) - {look.marks.none})
    varying = tuple(at for at in columns if at <= 1 or not _same(report, rows, at))
    for shown in (columns, varying):
        widths = [widest((_HEADS[at], *(row[at] for row in rows))) for at in shown]
        if sum(widths) + 2 * len(widths) - 2 <= look.width:
            common = [f"{_HEADS[at]} {_same(report, rows, at)}" for at in columns if at not in shown]
            lines = [*_table(rows, shown, widths, look), *_common(report, common, look)]
            break
    else:
        lines = _cards(rows, columns, look)
    return [*lines, *_legend(report, look), *_errors(report, look)]


def _values(report: Report, rows: list[tuple[str, ...]], at: int) -> set[str]:
    """Return the different values of a column on the reached hosts."""
    return {row[at] for row, summary in zip(rows, report.summaries, strict=True) if summary.reached}


def _same(report: Report, rows: list[tuple[str, ...]], at: int) -> str:
    """Return the value that a column has on all reached hosts, or "" if values differ or one is unknown."""
    values = _values(report, rows, at)
    return values.pop() if len(values) == 1 and _UNKNOWN not in values else ""


def _common(report: Report, common: list[str], look: Look) -> list[Text]:
    where = "on all hosts" if all(summary.reached for summary in report.summaries) else "on all reached hosts"
    return [Text(), *look.prose(Text(f"{where}  ", QUIET), "; ".join(common))] if common else []


def _legend(report: Report, look: Look) -> list[Text]:
    """Explain the mark for unknown values, if a reached host has one. Unreached hosts have their errors instead."""
    unknown = any(summary.unknown for summary in report.summaries if summary.reached)
    return look.prose(Text(f"{_UNKNOWN}  ", QUIET), "unknown: no answer on this host", QUIET) if unknown else []


def _row(summary: HostSummary, look: Look) -> tuple[str, ...]:
    texts = {
        "networks": ", ".join(summary.networks),
        "all_networks": _local(summary),
        "containers": str(summary.containers),
    }
    fields = ("system", "engine", "advertise", "store", "leader", "networks", "all_networks", "containers")
    return (
        words.line(summary.host),
        f"{look.marks.ok} {words.line(summary.address)}" if summary.reached else f"{look.marks.bad} no",
        *(_cell(summary, field, texts.get(field, getattr(summary, field)), look) for field in fields),
    )


def _cell(summary: HostSummary, field: str, text: str, look: Look) -> str:
    """Return a cell: the value, or a mark for an unknown, absent or empty one."""
    if not summary.reached or field in summary.unknown:
        text = _UNKNOWN
    elif field in summary.absent:
        text = _ABSENT
    if field == "store" and summary.reached and summary.store_role:
        text += f"{' ' if summary.store else ', '}{summary.store_role}"
    return words.line(text) or look.marks.none


def _local(summary: HostSummary) -> str:
    """List the host's local networks, with the driver where the name does not imply it."""
    found = []
    for network in summary.all_networks:
        if network.scope == "local":
            driver = network.driver if network.driver not in (network.name, "null") else ""
            found.append(" ".join(word for word in (network.name, driver, *network.subnets) if word))
    return ", ".join(found)


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
            if at in columns and row[at] != look.marks.none and row[1].startswith(look.marks.ok):
                lines += look.prose(Text(f"  {_HEADS[at].ljust(left)}  ", QUIET), row[at])
    return lines


def _style(at: int, cell: str, look: Look) -> str:
    if at == 1:
        return GOOD if cell.startswith(look.marks.ok) else BAD
    return CARE if cell == _UNKNOWN else QUIET if cell in {look.marks.none, _ABSENT} else ""


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
