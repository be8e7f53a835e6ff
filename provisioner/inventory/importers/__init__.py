"""Importers for other tools' inventories, one file per tool.

Each returns `Found` with unchecked strings of the tool's files. `draft` converts them to an inventory with the inventory's own
checks, and notes what is missing. No importer connects to a host. They run only `vagrant ssh-config`, `ssh -G`, and with --trust
`ansible-inventory`.
"""

from provisioner.inventory.importers.draft import Imported, Wishes, imported, refuse_unsound
from provisioner.inventory.importers.found import Found, Machine, cant, only

__all__ = ["Found", "Imported", "Machine", "Wishes", "cant", "imported", "only", "refuse_unsound"]
