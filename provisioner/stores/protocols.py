"""The interface of stores to the layers above. A store describes what belongs on hosts, and interprets their reports.

A `ManagedStore` is set up on the hosts of the inventory. An external store is only a `StoreReader`: nothing of it is
installed. Only methods that take a connection talk to the store.
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

Stage: TypeAlias = object  # how far a change of security has come; opaque to all but the backend


class Cluster(Protocol):
    """The part of a site that backends see. controlplane.Site documents the attributes."""

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
    """How engines reach a store.

    kind: its name in inventories. title: its name for people. sought: what to read about it on every host.
    ports: the ports that the firewalls open between the hosts.
    takes_tls: whether the inventory may name TLS files for it (store.tls).
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
        """Return the value of `cluster-store` in the engines' configuration."""
        ...

    def credentials(self, cluster: Cluster, host: str) -> tuple[File, ...]:
        """Return the TLS files of a host's engine: CA, certificate and key. () without TLS."""
        ...

    def waiting(self, cluster: Cluster, host: str) -> Waiting:
        """Return what the host waits for before its engine starts."""
        ...

    def leader(self, facts: Facts) -> str:
        """Return the leader's address as this host reports it, or ""."""
        ...

    def findings(self, cluster: Cluster) -> Iterable[Problem]:
        """Return the problems that concern only this kind of store."""
        ...


class Askable(Protocol):
    """How the controller queries a store, through the connection to a host."""

    def asks(self, cluster: Cluster, host: str) -> bool:
        """Whether the controller must query the store through this host's connection, because the host can't."""
        ...

    def ask(self, connection: Reader, requests: Iterable[Request] = ()) -> dict[str, str]:
        """Return the answers that the host can't get itself: name of the request -> text, as in the host's reading.

        requests: sent to one server after the other until one answers. Without them, all requests are sent that a host
        would send if it could.
        """
        ...

    def keys(self, connection: Connection) -> Keys | None:
        """Return the store's keys over a host's path. None if other inventories can't use the store."""
        ...


class NetworkKeys(Protocol):
    """What engines keep in a store about the networks that they share."""

    @property
    def asks_attached(self) -> tuple[Request, ...]:
        """The requests that list all endpoints in the store. () if none can."""
        ...

    def attached(self, facts: Facts) -> tuple[Endpoint, ...]:
        """Return all endpoints in the store, from the answers to `asks_attached`."""
        ...

    def setting(self, cluster: Cluster, key: str, text: str) -> str:
        """Return the text for a cure: how to set one of the engines' keys by hand."""
        ...


class StoreReader(Reachable, Askable, NetworkKeys, Protocol):
    """Any store, managed or external."""


class Installable(Protocol):
    """What a store needs on a host.

    program: the name of its server's program in the facts.
    uploaded: the file on the controller that is installed instead of the package.
    """

    @property
    def program(self) -> str: ...
    @property
    def uploaded(self) -> Uploaded | None: ...

    def runs_on(self, cluster: Cluster, host: str) -> bool:
        """Whether a server or agent of the store runs on this host."""
        ...

    def service(self, cluster: Cluster, host: str) -> Service:
        """Return the desired service on a host that the store runs on."""
        ...

    def outdated(self, cluster: Cluster, host: str, service: Service) -> bool:
        """Whether the running server was started with another configuration, and needs a restart for this one."""
        ...

    def has_data(self, facts: Facts) -> bool:
        """Whether the data folder of our server contains data."""
        ...

    def idle(self, facts: Facts) -> bool:
        """Whether a running server that is not ours is unused: started by the package, and empty."""
        ...


class Members(Protocol):
    """The servers of a store, and what they report about one another."""

    def formed(self, cluster: Cluster) -> bool:
        """Whether the servers have formed a cluster. If so, they are restarted one at a time."""
        ...

    def membership(self, cluster: Cluster, host: str) -> list[Drift]:
        """Return the differences in the server's view of its cluster. They can only be waited for."""
        ...

    def peers(self, facts: Mapping[str, Facts]) -> frozenset[IPv4Address]:
        """Return the servers that the store lists, including those that are down or in no inventory."""
        ...

    def remembered(self, facts: Mapping[str, Facts]) -> dict[str, IPv4Address]:
        """Return host -> address, as reported by the store on other hosts."""
        ...

    def was_server(self, facts: Facts) -> bool:
        """Whether an earlier run configured this host as a server."""
        ...

    def led(self, facts: Facts) -> bool:
        """Whether there is a leader according to this host, which is a server."""
        ...

    def wait_for_leader(self, connection: Reader, *, servers: int) -> str:
        """Wait until there is a leader and `servers` servers are in the quorum.

        Returns the leader, or other text if it is unknown. Raises StoreError after a minute.
        """
        ...


class Resizable(Protocol):
    """How servers are added and removed.

    grows: whether a server joins a running cluster as soon as its configuration is written.
    shrinks: whether a server can be removed from a running cluster.
    """

    @property
    def grows(self) -> bool: ...
    @property
    def shrinks(self) -> bool: ...

    def leaving(self, cluster: Cluster, addresses: Iterable[IPv4Address]) -> str:
        """Return the text for a cure: how to remove these servers from the store by hand."""
        ...

    def knows(self, facts: Facts, host: str, address: IPv4Address) -> str:
        """Return the state of `host` according to the store on another host; "" if it is no longer a member."""
        ...

    def leave(self, own: Connection | None, other: Connection, cluster: Cluster, host: str) -> None:
        """Remove a host from the store. `cluster` no longer contains it; its address is `cluster.leaving`.

        own: the connection to the host, if the store runs on it. other: the connection to a host that stays.
        Raises ProvisionerError.
        """
        ...

    def wait_for_server(self, connection: Reader, cluster: Cluster, address: IPv4Address) -> None:
        """Wait until a server that was added has a vote. Raises StoreError after a minute."""
        ...


class Secured(Protocol):
    """How a running store gets its desired security."""

    def shut_out(self, cluster: Cluster, host: str) -> str:
        """Return why the running store rejects this host; "" if that is not certain."""
        ...

    def stages(self, cluster: Cluster) -> tuple[Stage, ...]:
        """Return the stages of a running cluster, in order. The stage None is the inventory's target."""
        ...

    def equip(self, cluster: Cluster, connection: Connection) -> None:
        """Set up through the store's API what files can't, over a server's connection. Raises StoreError."""
        ...


class ManagedStore(StoreReader, Installable, Members, Resizable, Secured, Protocol):
    """A store that is set up on the inventory's hosts."""
