"""The stores that engines share: one backend for each kind, behind one Protocol (base.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.stores.consul import Consul

if TYPE_CHECKING:
    from provisioner.inventory import Store
    from provisioner.stores.base import Backend

_KINDS: dict[str, type[Consul]] = {"consul": Consul}


def of(store: Store) -> Backend:
    """The backend of an inventory's store."""
    return _KINDS[store.kind](store)
