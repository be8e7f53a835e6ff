"""Says what `doctor --collect` has written, and what to do before it is shared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from provisioner.report import words
from provisioner.report.paper import CARE, QUIET, heading

if TYPE_CHECKING:
    from provisioner.model import Report
    from provisioner.report.paper import Look

_LOOK = (
    "Look at the files before you share the archive. Logs, names and addresses are in it, and a secret that no program recognises"
    " as one may be among them."
)


def evidence(report: Report, look: Look) -> list[Text]:
    """Return the section about the archive; [] if there is none."""
    if not (found := report.archive):
        return []
    rows = [("written", f"{found.path}, {_size(found.size)}", "")]
    rows += [("missing", f"{name}: {why}", CARE) for name, why in found.missing.items()]
    rows += [("left out", found.left_out, ""), ("next", _LOOK, "")]
    lines = heading("evidence")
    for title, text, style in rows:
        lines += look.prose(Text(f"  {title:<9}", QUIET), words.line(text), style)
    return lines


def _size(number: int) -> str:
    return f"{number / 1e6:.1f} MB" if number >= 1e6 else f"{number / 1e3:.0f} kB"  # noqa: PLR2004
