"""Shared by the tests of importers: an import must result in a valid inventory."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from provisioner.errors import InventoryError
from provisioner.inventory import load
from provisioner.inventory.importers import Wishes, imported
from provisioner.inventory.importers.ssh_config import Here

if TYPE_CHECKING:
    from collections.abc import Callable

    from provisioner.inventory import Inventory
    from provisioner.inventory.importers import Found, Machine

STOPPED = re.compile(
    r"\w+:\d+: (is not( an?)?|is not of the form|has an?|a quote|does not begin) [^:]*; the import stops here(; the file looks like \w+)?"
)
HERE = Here("me", Path("/nowhere/.ssh"), Path("/srv"), lambda path: "missing" not in path)


def sound(found: Found, folder: Path, kind: str = "tool", engines: str = "") -> tuple[Inventory, str]:
    """Convert the findings to an inventory and load it. Returns it with all notes."""
    done = imported(found, Wishes(kind, engines=engines), kind)
    file = folder / "made.yml"
    file.write_text(done.text, encoding="utf-8")
    assert done.text.startswith("# yaml-language-server: $schema=schema.json\n")
    assert done.text.isascii() or done.text.replace("\n", "").isprintable()
    assert all(note.isprintable() for note in done.notes)
    return load(file), "\n".join(done.notes)


def machines_of(parse: Callable[[], Found]) -> tuple[Machine, ...]:
    """The machines, or none if the import stops at a line. The error must not show the line's content."""
    try:
        return parse().machines
    except InventoryError as error:
        (said,) = error.problems
    assert STOPPED.fullmatch(said)
    return ()


def targets(inventory: Inventory) -> dict[str, tuple[str, int, str, str]]:
    """Name -> address, port, user, the key's file name."""
    found = {name: inventory.target(name) for name in inventory.hosts}
    return {name: (t.address, t.port, t.user, t.key.name if t.key else "") for name, t in found.items()}
