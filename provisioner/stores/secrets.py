"""Secrets that live on the hosts: read from there, agreed on where hosts differ, and made new where there are none.

Nothing of them is kept on the controller after a run. A host that is added gets what the others have.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from provisioner.stores.base import Cluster
    from provisioner.system.facts import Facts

T = TypeVar("T")


@dataclass
class Vault:
    """What one run makes new: each thing once, so that all hosts get the same, and it is the same at every look.

    renewed: names of what is made new although hosts have it. trusted: certificates of authorities that hosts are to
    trust beside the present one.
    """

    renewed: set[str] = field(default_factory=set)
    trusted: tuple[str, ...] = field(default=(), repr=False)
    _made: dict[str, Any] = field(default_factory=dict, repr=False)

    def value(self, name: str, found: T | None, make: Callable[[], T]) -> T:
        """What hosts have, or where they have nothing (or it is to be renewed) what this run has made."""
        return found if found and name not in self.renewed else self.made(name, make)

    def made(self, name: str, make: Callable[[], T]) -> T:
        if name not in self._made:
            self._made[name] = make()
        made: T = self._made[name]
        return made


def certificate_of(host: str) -> str:
    """Its name in the vault."""
    return f"certificate of {host}"


def agreed(cluster: Cluster, of: Callable[[Facts], str], first: Collection[str] = ()) -> str:
    """The value that most hosts have; where as many have another, that of the first server, or host; "" where none has any.

    first: the hosts whose word counts alone, where they have one: those that are in the cluster that stands.
    """
    order = [*(name for name in cluster.servers if name in cluster.facts), *cluster.facts]
    values = {name: found for name in order if (found := of(cluster.facts[name]))}
    counted = {name: value for name, value in values.items() if name in first} or values
    return Counter(counted.values()).most_common(1)[0][0] if counted else ""
