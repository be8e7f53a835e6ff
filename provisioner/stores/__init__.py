"""The stores that engines share: one backend for each kind, behind the Protocols in protocols.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.stores import authority, base, consul, etcd, proxy, zookeeper
from provisioner.stores.consul import Consul
from provisioner.stores.etcd import Etcd
from provisioner.stores.external_kinds import KINDS as EXTERNAL
from provisioner.stores.zookeeper import ZooKeeper
from provisioner.system.owned import together

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provisioner.inventory import Store
    from provisioner.stores.protocols import ManagedStore, StoreReader

_MANAGED: Mapping[str, type[Consul | Etcd | ZooKeeper]] = {
    "consul": Consul,
    "etcd": Etcd,
    "zookeeper": ZooKeeper,
}


def rotating(what: str) -> list[str]:
    """The titles of the stores whose secrets of this name can be renewed."""
    return [kind.title for kind in _MANAGED.values() if what in getattr(kind, "rotates", ())]


# Of every kind, whatever the inventory has now: a host may have been set up with another one.
OWNED = together(module.OWNED for module in (authority, base, consul, etcd, proxy, zookeeper))


# The user of a store -> the package that makes it as well.
PACKAGE_OF = {module.OWNED.users[0]: module.OWNED.packages[0] for module in (consul, etcd, zookeeper)}


def of(store: Store) -> StoreReader:
    """An inventory's store."""
    return managed(store) or EXTERNAL[store.kind](store)


def managed(store: Store) -> ManagedStore | None:
    """The same, where it is set up on the hosts; None of an external one."""
    return None if store.endpoints else _MANAGED[store.kind](store)
