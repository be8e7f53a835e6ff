"""How a running store gets new secrets. Each backend that supports this defines which secrets, and how."""

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
    """How one kind of secret is renewed, after all checks have passed.

    turns: renews it, given a function that returns the current cluster, and the connections to its hosts. At each
    `yield` the caller converges every host, and ends the renewal if a host is missed.
    holders: hosts, and other members of the store, that would be shut out if the renewal missed them.
    settled: whether the store must have converged on every host before.
    engines: whether the engines must load the new secret at the end.
    """

    turns: Turns
    holders: frozenset[str] = frozenset()
    settled: bool = False
    engines: bool = False


@runtime_checkable
class Rotates(Protocol):
    """A store whose secrets can be renewed. rotates: their names on the command line."""

    rotates: ClassVar[tuple[str, ...]]

    def renewal(self, cluster: Cluster, what: str, *, authority: bool) -> Renewal:
        """Return how one of `rotates` is renewed. authority: renew the authority of the certificates too.

        Changes nothing. Raises StepFailed, with the cure, if the store's state does not allow it.
        """
        ...
