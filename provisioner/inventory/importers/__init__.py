"""Inventories from what other tools know: one file for each tool.

Each gives `Found`: texts, as they stand in the tool's files. `draft` makes them an inventory, by the inventory's own
checks, and notes what is not in it. No importer connects to a host or runs anything but `vagrant ssh-config`.
"""

from provisioner.inventory.importers.draft import Imported, Wishes, imported, refuse_unsound
from provisioner.inventory.importers.found import Found, Machine, cant, only

__all__ = ["Found", "Imported", "Machine", "Wishes", "cant", "imported", "only", "refuse_unsound"]
