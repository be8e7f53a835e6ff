"""What a store's backend is. It says what is on hosts and what they tell of it; it runs nothing but `wait_for_leader`.

Two kinds of it: a store that is set up on the hosts of the inventory, and an external one, of which nothing is installed.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from provisioner import render
from provisioner.model import Action
from provisioner.system.owned import Owned
from provisioner.system.strict import json_object

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from pathlib import Path

    from provisioner.inventory import Inventory, Store
    from provisioner.model import Drift, Problem
    from provisioner.stores.keys import Keys
    from provisioner.stores.vault import Vault
    from provisioner.system.facts import Facts
    from provisioner.system.firewall import Ports
    from provisioner.system.reading import Sought
    from provisioner.transport import Connection


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


def digest(text: str) -> str:
    """The SHA-256 sum of a file's text; "" of none."""
    return hashlib.sha256(text.encode()).hexdigest() if text else ""


def sums(files: Iterable[File]) -> str:
    """As sha256sum tells of them."""
    return "".join(f"{digest(file.text)}  {file.path}\n" for file in files)


def literal(text: str) -> IPv4Address | None:
    """An IPv4 address, or None for a name, an IPv6 address and anything else."""
    try:
        return IPv4Address(text)
    except ValueError:
        return None


def loaded_otherwise(loaded: str, service: Service, unread: Collection[str]) -> bool:
    """Whether a server was started with another unit or JSON configuration than its service has.

    loaded: unit and configuration as they were at its start. unread: keys that it does not read any more.
    """
    config, unit = (file.text for file in service.files)
    old_unit, old = at_its_start(loaded)
    new = json_object(config)
    return as_run(old_unit) != as_run(unit) or any(old.get(key) != new.get(key) for key in {*old, *new} - set(unread))


def as_run(unit: str) -> str:
    """What a running server can differ by: neither comments nor how the copy is made of what it was started with."""
    return re.sub(r"^(?:#|ExecStartPre=).*\n", "", unit, flags=re.MULTILINE)


def at_its_start(loaded: str) -> tuple[str, dict[str, Any]]:
    """A server's unit and JSON configuration as they were then; ("", {}) where that is not known."""
    unit, brace, config = loaded.partition("\n{")  # however the file goes on: it may have been another's
    return (unit + "\n", json_object("{" + config)) if brace else ("", {})


@dataclass(frozen=True, order=True)
class Endpoint:
    """A container's place on a network, as the engines keep it in the store. host: the address that its engine advertises."""

    network: str  # ID
    name: str
    host: IPv4Address


def endpoints_path(store: Store) -> str:
    """The folder in the store in which libnetwork keeps them: NETWORK'S ID/ENDPOINT'S ID under it."""
    return (f"{store.prefix}/" if store.prefix else "") + "docker/network/v1.0/endpoint"


def count_key(store: Store, network: str) -> str:
    """Where libnetwork counts the endpoints of a network, by its ID: as {"Count":NUMBER}."""
    return endpoints_path(store) + f"_count/{network}"


def nodes_path(store: Store) -> str:
    """Where in the store the engines say that they are there: below it each its address."""
    return (f"{store.prefix}/" if store.prefix else "") + (store.discovery.path or "docker/nodes")


def endpoint(key: str, text: str) -> Endpoint | None:
    """What a key and its value tell; None for a key that is no endpoint's."""
    network = re.search(r"\bdocker/network/v1.0/endpoint/([0-9a-f]+)/[0-9a-f]+/?$", key)
    value = json_object(text)
    address = literal(str(value.get("locator", "")))
    return Endpoint(network[1], str(value["name"]), address) if network and address and "name" in value else None


Stage: TypeAlias = object  # how far a store has come on the way to what is wanted; only its backend looks into it


class Cluster(Protocol):
    """What a backend sees of a site; controlplane.Site tells what each is."""

    @property
    def inventory(self) -> Inventory: ...
    @property
    def facts(self) -> Mapping[str, Facts]: ...
    @property
    def advertise(self) -> Mapping[str, IPv4Address]: ...
    @property
    def servers(self) -> tuple[str, ...]: ...
    @property
    def live(self) -> tuple[str, ...]: ...
    @property
    def leaving(self) -> IPv4Address | None: ...
    @property
    def vault(self) -> Vault: ...
    @property
    def stage(self) -> Stage: ...


@dataclass(frozen=True)
class File:
    """A file on a host. `owner` as chown takes it.

    takes: how the running server takes it up, of a secret file: RESTART, RELOAD, or WRITE where it needs nothing.
    """

    path: str
    text: str = field(repr=False)
    mode: str = "0644"
    owner: str = "root:root"
    takes: Action = Action.WRITE


@dataclass(frozen=True)
class Service:
    """A store's server (or agent) on one host: its unit, its files, the folders that it keeps its data in.

    folders: path -> mode; they belong to `user`. home: that of the user. secrets: files whose contents are never shown.
    gone: files that are there and must go. guarded: folders that `user` may read and root alone may write, parents first.
    """

    unit: str
    user: str
    home: str
    files: tuple[File, ...]
    folders: Mapping[str, str]
    secrets: tuple[File, ...] = ()
    gone: tuple[str, ...] = ()
    guarded: tuple[str, ...] = ()


@dataclass(frozen=True)
class Uploaded:
    """A program that comes from the controller: `source` there (it may be an archive), `remote` on hosts.

    program: gives the program itself, taken out of its archive, and its SHA-256 sum. Raises ProvisionerError.
    """

    source: Path
    remote: str
    program: Callable[[], tuple[Path, str]]


@dataclass(frozen=True)
class Waiting:
    """How a host waits for the store's leader before its engine starts.

    command: exits with 0 when there is one; plain words, tried once a second. files: path -> text of what it needs. unit: to be started first.
    through: unit -> its files, of what runs on the host for the engine to reach the store through.
    """

    command: str
    files: Mapping[str, str]
    unit: str
    through: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class Unstaged:
    """A store that comes to what is wanted in one stage, is told nothing once it runs, and tells nobody apart."""

    def shut_out(self, cluster: Cluster, host: str) -> str:
        return ""

    def stages(self, cluster: Cluster) -> tuple[Stage, ...]:
        return (None,)

    def equip(self, cluster: Cluster, connection: Connection) -> None:
        pass


class Reachable(Protocol):
    """A store as engines reach it.

    kind: its name in inventories. title: for people. sought: what is read of it on every host.
    ports: those that pass between the hosts.
    takes_tls: whether the inventory may name the files with which it is reached over TLS (store.tls).
    """

    @property
    def kind(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def sought(self) -> Sought: ...
    @property
    def ports(self) -> Ports: ...
    @property
    def takes_tls(self) -> bool: ...

    def url(self, cluster: Cluster) -> str:
        """What every engine puts into cluster-store."""
        ...

    def credentials(self, cluster: Cluster, host: str) -> tuple[File, ...]:
        """The files with which a host's engine reaches it over TLS, as `base.credentials` gives them; none without TLS."""
        ...

    def waiting(self, cluster: Cluster, host: str) -> Waiting:
        """What an engine's start waits for."""
        ...

    def leader(self, facts: Facts) -> str:
        """The leader's address as this host knows it, or ""."""
        ...

    def findings(self, cluster: Cluster) -> Iterable[Problem]:
        """What stands in the way of this store alone."""
        ...


class Askable(Protocol):
    """A store as the controller asks it, through the connection to a host."""

    def asks(self, cluster: Cluster, host: str) -> bool:
        """Whether it must be asked through this host's connection, because the host itself can't."""
        ...

    def ask(self, connection: Connection, requests: Iterable[str] = ()) -> dict[str, str]:
        """The answers that the host could not get: by their name in `Sought.requests`, as its reading would have them.

        requests: what is to be asked, of one server after the other until one answers; without them all that `Sought` would have
        of a store that hosts can ask.
        """
        ...

    def keys(self, connection: Connection) -> Keys | None:
        """What is in it, through a host's way to it, where other inventories may use it too."""
        ...


class NetworkKeys(Protocol):
    """What engines keep in a store of the networks that they share."""

    @property
    def asks_attached(self) -> tuple[str, ...]:
        """What a host asks, or is asked through it, to learn of every endpoint in the store: requests as `Sought` has them; () where
        none tells it.
        """
        ...

    def attached(self, facts: Facts) -> tuple[Endpoint, ...]:
        """Every endpoint in the store, as a host that has asked was told."""
        ...

    def setting(self, cluster: Cluster, key: str, text: str) -> str:
        """How a key of the engines' is set in the store by hand, as a cure says it."""
        ...


class StoreReader(Reachable, Askable, NetworkKeys, Protocol):
    """Any store: one that is set up on the hosts, or an external one."""


class Installable(Protocol):
    """What a store needs on a host.

    program: its server's, as facts name it. uploaded: the file of the controller's that is installed instead of the package.
    """

    @property
    def program(self) -> str: ...
    @property
    def uploaded(self) -> Uploaded | None: ...

    def runs_on(self, cluster: Cluster, host: str) -> bool:
        """Whether this host has a server or agent of the store."""
        ...

    def service(self, cluster: Cluster, host: str) -> Service:
        """What is wanted on a host that the store runs on."""
        ...

    def outdated(self, cluster: Cluster, host: str, service: Service) -> bool:
        """Whether the running server was started with something else than is wanted, and can't take it up."""
        ...

    def has_data(self, facts: Facts) -> bool:
        """Whether there is a server's data where ours would put its own."""
        ...

    def idle(self, facts: Facts) -> bool:
        """Whether a server that somebody else started is one that no one uses: the package's own, and empty."""
        ...


class Members(Protocol):
    """The servers of a store, as they know one another."""

    def formed(self, cluster: Cluster) -> bool:
        """Whether its servers have formed a cluster: then they are restarted one at a time."""
        ...

    def membership(self, cluster: Cluster, host: str) -> list[Drift]:
        """What the server itself says of its cluster that only time can mend."""
        ...

    def peers(self, facts: Mapping[str, Facts]) -> frozenset[IPv4Address]:
        """The servers as the store itself knows them, those included that are down or in no inventory."""
        ...

    def remembered(self, facts: Mapping[str, Facts]) -> dict[str, IPv4Address]:
        """Host -> its address as the store on the other hosts remembers it."""
        ...

    def was_server(self, facts: Facts) -> bool:
        """Whether an earlier run made this host a server."""
        ...

    def led(self, facts: Facts) -> bool:
        """Whether there is a leader, as this host, a server, knows it."""
        ...

    def wait_for_leader(self, connection: Connection, *, servers: int) -> str:
        """The leader's address, once there is one and `servers` servers take part. Raises StoreError after a minute."""
        ...


class Resizable(Protocol):
    """How servers are added and taken out.

    grows: whether servers may be added to a cluster that stands, by writing their configuration alone.
    shrinks: whether a server may be taken out of a cluster that stands.
    """

    @property
    def grows(self) -> bool: ...
    @property
    def shrinks(self) -> bool: ...

    def leaving(self, cluster: Cluster, addresses: Iterable[IPv4Address]) -> str:
        """How these servers are taken out of the store by hand, as a cure says it."""
        ...

    def knows(self, facts: Facts, host: str, address: IPv4Address) -> str:
        """What the store on one host says of another, in a word; "" where it counts on it no more."""
        ...

    def leave(self, own: Connection | None, other: Connection, cluster: Cluster, host: str) -> None:
        """Has the store count on a host no more, that is not of the cluster but `leaving`. Raises ProvisionerError.

        own: the connection to the host, where the store runs on it. other: to one that stays.
        """
        ...

    def wait_for_server(self, connection: Connection, cluster: Cluster, address: IPv4Address) -> None:
        """Until a server that was added has a vote. Raises StoreError after a minute."""
        ...


class Secured(Protocol):
    """How a store that stands comes to its security."""

    def shut_out(self, cluster: Cluster, host: str) -> str:
        """Why the store refuses this host although it runs, as far as that is certain; else ""."""
        ...

    def stages(self, cluster: Cluster) -> tuple[Stage, ...]:
        """What a cluster that stands goes through, one after the other; None: what the inventory wants, at once."""
        ...

    def equip(self, cluster: Cluster, connection: Connection) -> None:
        """Tells the store itself, over a server's connection, what no file tells it. Raises StoreError."""
        ...


class ManagedStore(StoreReader, Installable, Members, Resizable, Secured, Protocol):
    """A store that is set up on the hosts of the inventory."""


class SetUpHere:
    """What every store has in common that a run sets up: hosts ask it by themselves, and nobody else changes it meanwhile."""

    takes_tls = False

    def asks(self, cluster: Cluster, host: str) -> bool:
        return False

    def ask(self, connection: Connection, requests: Iterable[str] = ()) -> dict[str, str]:
        return {}

    def keys(self, connection: Connection) -> Keys | None:
        return None  # the hosts' own locks do
