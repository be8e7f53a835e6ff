"""The stores that engines share. Each kind has a backend that implements the Protocols in protocols.py."""

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
    """Return the titles of the stores that can renew this kind of secret."""
    return [kind.title for kind in _MANAGED.values() if what in getattr(kind, "rotates", ())]


# All kinds, not only the inventory's: an earlier inventory may have set up another store on the host.
OWNED = together(module.OWNED for module in (authority, base, consul, etcd, proxy, zookeeper))


# The user that a store runs as -> the package that creates this user too.
PACKAGE_OF = {module.OWNED.users[0]: module.OWNED.packages[0] for module in (consul, etcd, zookeeper)}


def of(store: Store) -> StoreReader:
    """Return the reader of the inventory's store."""
    return managed(store) or EXTERNAL[store.kind](store)


def managed(store: Store) -> ManagedStore | None:
    """Return the store if it is set up on the hosts; None if it is external."""
    return None if store.endpoints else _MANAGED[store.kind](store)
