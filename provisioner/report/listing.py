"""The output of `verify --list`: every proof of an inventory, and whether it would run."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from provisioner.report import stream as streams
from provisioner.report import words
from provisioner.report.document import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from provisioner.inventory import Inventory
    from provisioner.proofs import Unit


@dataclass(frozen=True)
class Listing:
    inventory: Inventory
    units: Sequence[Unit]
    chosen: Sequence[Unit]

    def to_json(self) -> str:
        """Return one JSON document; docs/json.md describes it."""
        entries = [
            {
                "name": unit.name,
                "proof": unit.proof.name,
                "network": unit.network,
                "title": unit.proof.title,
                "hosts": list(unit.hosts),
                "chosen": unit in self.chosen,
            }
            for unit in self.units
        ]
        document = {"version": VERSION, "cluster": self.inventory.cluster, "proofs": entries}
        return json.dumps(document, sort_keys=True, indent=2)

    def lines(self, marks: words.Marks) -> Iterable[str]:
        width = max((len(unit.name) for unit in self.units), default=0)
        for unit in self.units:
            mark = marks.ok if unit in self.chosen else marks.none
            on = "" if len(unit.hosts) == len(self.inventory.hosts) else f" (on {words.hosts(unit.hosts)})"
            yield words.line(f"{mark} {unit.name}").ljust(width + 2) + f"  {unit.proof.title}{on}"
        yield f"{len(self.chosen)} of {words.count(len(self.units), 'proof')} run ({marks.ok})"


def show_list(listing: Listing, *, json: bool = False, out: TextIO | None = None) -> None:
    """Show the list on `out`, by default standard output: as a table, or with `json` as one document."""
    out = out or sys.stdout
    stream = streams.SafeStream(out)
    stream.write(
        f"{listing.to_json()}\n" if json else "".join(f"{line}\n" for line in listing.lines(streams.marks(out)))
    )
    stream.flush()
