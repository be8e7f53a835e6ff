"""How a store that stands gets new secrets. Each backend that can renew some says which, and how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from provisioner.stores.protocols import Cluster
    from provisioner.transport import Connection

    Turns = Callable[[Callable[[], Cluster], Mapping[str, Connection]], Iterator[None]]


@dataclass(frozen=True)
class Renewal:
    """How one kind of secret is renewed, now that nothing stands against it.

    turns: renews it, given the present cluster and the connections to its hosts. At each `yield` the caller brings every
    host to what is wanted by then, and ends the renewal if a host is missed.
    holders: hosts, and other members of the store, that would be shut out if the renewal missed them.
    settled: whether the store must be as wanted on every host before.
    engines: whether the engines must take up the new secret in the end.
    """

    turns: Turns
    holders: frozenset[str] = frozenset()
    settled: bool = False
    engines: bool = False


@runtime_checkable
class Rotates(Protocol):
    """A store with secrets that can be renewed. rotates: their names, as on the command line."""

    rotates: ClassVar[tuple[str, ...]]

    def renewal(self, cluster: Cluster, what: str, *, authority: bool) -> Renewal:
        """How one of `rotates` is renewed. authority: with certificates, a new authority too.

        Reads the cluster only. Raises StepFailed, with the cure, if the store is not fit for it.
        """
        ...
