"""What a store is to the layers above. It describes what belongs on hosts, and interprets what hosts report.

A `ManagedStore` is set up on the hosts of the inventory. Of an external store nothing is installed: it is a `StoreReader` alone.
Only the methods that take a connection talk to the store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from ipaddress import IPv4Address

    from provisioner.inventory import Inventory
    from provisioner.model import Drift, Problem
    from provisioner.stores.engine_keys import Endpoint
    from provisioner.stores.keys import Keys
    from provisioner.stores.values import File, Service, Uploaded, Waiting
    from provisioner.stores.vault import Vault
    from provisioner.system.facts import Facts
    from provisioner.system.firewall import Ports
    from provisioner.system.reading import Sought
    from provisioner.system.request import Request
    from provisioner.transport import Connection, Reader

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
        """The files with which a host's engine reaches it over TLS, ca, cert and key; none without TLS."""
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

    def ask(self, connection: Reader, requests: Iterable[Request] = ()) -> dict[str, str]:
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
    def asks_attached(self) -> tuple[Request, ...]:
        """What is asked to learn of every endpoint in the store; () where nothing tells it."""
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

    def wait_for_leader(self, connection: Reader, *, servers: int) -> str:
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

    def wait_for_server(self, connection: Reader, cluster: Cluster, address: IPv4Address) -> None:
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
