"""What the values of an inventory must be together: no two alike, no overlap, room enough."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from provisioner.inventory.document import Document
    from provisioner.inventory.models import Inventory


def check(document: Document, inventory: Inventory | None) -> None:
    """Add what is wrong to the document; inventory: a sound one, whose files are looked for."""
