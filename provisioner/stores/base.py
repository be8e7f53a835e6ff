"""What the backends of stores have in common. What a store is to the layers above is in protocols.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner import render
from provisioner.stores.values import File, Waiting
from provisioner.system.owned import Owned

if TYPE_CHECKING:
    from collections.abc import Iterable

    from provisioner.inventory import Store
    from provisioner.stores.keys import Keys
    from provisioner.stores.protocols import Cluster, Stage
    from provisioner.system.request import Request
    from provisioner.transport import Connection, Reader


TLS = "/etc/provisioner/tls"  # on hosts: the folder of the three files with which an engine reaches its store
TLS_OPTIONS = ("kv.cacertfile", "kv.certfile", "kv.keyfile")  # of cluster-store-opts
TLS_FILES = tuple(f"{TLS}/{name}.pem" for name in ("ca", "cert", "key"))
WAITER = "/etc/provisioner/store-wait.pl"  # on hosts: asks the servers whether they have a leader
OWNED = Owned(files=(*TLS_FILES, WAITER), folders=(TLS,))  # what engines need to reach a store


def endpoints(cluster: Cluster, port: int) -> list[str]:
    """ADDRESS:PORT of each server whose address is known."""
    return [f"{cluster.advertise[name]}:{port}" for name in cluster.servers if name in cluster.advertise]


def url(scheme: str, servers: Iterable[str], store: Store) -> str:
    """cluster-store, as libkv reads it: a prefix moves all that engines keep there."""
    return f"{scheme}://{','.join(servers)}" + (f"/{store.prefix}" if store.prefix else "")


def asking(kind: str, servers: Iterable[str], unit: str) -> Waiting:
    """Waiting by asking the servers themselves; with no unit of the host's own, for the network alone."""
    command = " ".join(["/usr/bin/perl", WAITER, kind, *servers])
    return Waiting(command, {WAITER: render.text("store-wait.pl")}, unit or "network-online.target")


def credentials(ca: str, cert: str, key: str) -> tuple[File, ...]:
    """The three files, in the order of TLS_OPTIONS; only root can read the key."""
    modes = ("0644", "0644", "0600")
    return tuple(File(path, text, mode) for path, text, mode in zip(TLS_FILES, (ca, cert, key), modes, strict=True))


class Unstaged:
    """A store that comes to what is wanted in one stage, is told nothing once it runs, and tells nobody apart."""

    def shut_out(self, cluster: Cluster, host: str) -> str:
        return ""

    def stages(self, cluster: Cluster) -> tuple[Stage, ...]:
        return (None,)

    def equip(self, cluster: Cluster, connection: Connection) -> None:
        pass


class SetUpHere:
    """What every store has in common that a run sets up: hosts ask it by themselves, and nobody else changes it meanwhile."""

    takes_tls = False

    def asks(self, cluster: Cluster, host: str) -> bool:
        return False

    def ask(self, connection: Reader, requests: Iterable[Request] = ()) -> dict[str, str]:
        return {}

    def keys(self, connection: Connection) -> Keys | None:
        return None  # the hosts' own locks do
