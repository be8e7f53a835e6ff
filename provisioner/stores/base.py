"""Code that the backends share. protocols.py defines what the layers above see of a store."""

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


TLS = "/etc/provisioner/tls"  # on hosts: the folder of the three TLS files of the engine
TLS_OPTIONS = ("kv.cacertfile", "kv.certfile", "kv.keyfile")  # of cluster-store-opts
TLS_FILES = tuple(f"{TLS}/{name}.pem" for name in ("ca", "cert", "key"))
WAITER = "/etc/provisioner/store-wait.pl"  # on hosts: exits with 0 if the store has a leader
OWNED = Owned(files=(*TLS_FILES, WAITER), folders=(TLS,))  # what engines need to reach a store


def endpoints(cluster: Cluster, port: int) -> list[str]:
    """Return ADDRESS:PORT of each server whose address is known."""
    return [f"{cluster.advertise[name]}:{port}" for name in cluster.servers if name in cluster.advertise]


def url(scheme: str, servers: Iterable[str], store: Store) -> str:
    """Return the value of `cluster-store` in libkv's form. The prefix applies to all keys of the engines."""
    return f"{scheme}://{','.join(servers)}" + (f"/{store.prefix}" if store.prefix else "")


def waiting_for(kind: str, servers: Iterable[str], unit: str) -> Waiting:
    """Wait by querying the servers. Without a `unit` on the host, start after network-online.target only."""
    command = " ".join(["/usr/bin/perl", WAITER, kind, *servers])
    return Waiting(command, {WAITER: render.text("store-wait.pl")}, unit or "network-online.target")


def credentials(ca: str, cert: str, key: str) -> tuple[File, ...]:
    """Return the three files in the order of TLS_OPTIONS. Only root can read the key."""
    modes = ("0644", "0644", "0600")
    return tuple(File(path, text, mode) for path, text, mode in zip(TLS_FILES, (ca, cert, key), modes, strict=True))


class Unstaged:
    """Defaults for a store that converges in one stage, needs no setup over its API, and never rejects a host."""

    def shut_out(self, cluster: Cluster, host: str) -> str:
        return ""

    def stages(self, cluster: Cluster) -> tuple[Stage, ...]:
        return (None,)

    def equip(self, cluster: Cluster, connection: Connection) -> None:
        pass


class Managed:
    """Defaults for a managed store: hosts query it themselves, and only runs on these hosts change it."""

    takes_tls = False

    def asks(self, cluster: Cluster, host: str) -> bool:
        return False

    def ask(self, connection: Reader, requests: Iterable[Request] = ()) -> dict[str, str]:
        return {}

    def keys(self, connection: Connection) -> Keys | None:
        return None  # the locks on the hosts are enough
