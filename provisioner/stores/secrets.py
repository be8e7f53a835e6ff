"""Secrets are stored on the hosts only. A run reads them, resolves differences between hosts, and creates missing ones.

The controller keeps none of them after a run. A host that is added gets the secrets of the others. A host's value
counts for other hosts only if it is from a file that only root can write there (`Facts.guarded`).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, TypeVar

from provisioner.errors import StepFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from provisioner.stores.protocols import Cluster
    from provisioner.system.facts import Facts

T = TypeVar("T")


def certificate_of(host: str) -> str:
    """Return the name of a host's certificate in the vault."""
    return f"certificate of {host}"


def agreed(
    cluster: Cluster, of: Callable[[Facts], T | None], path: str, first: Collection[str] = (), *, earlier: bool = False
) -> T | None:
    """Return the value that most hosts have; None if no host has one. In a tie, the first server or host decides.

    path: the file with the value. A host counts only if nobody but root can write the file there.
    first: the hosts of the running cluster. If they have a value, no other hosts count.
    earlier: earlier releases gave the file to the store's user. If the file is writable by others on every host, the
    value of a majority counts.

    Raises StepFailed if a majority is needed and there is none.
    """
    order = [*(name for name in cluster.servers if name in cluster.facts), *cluster.facts]
    values = {name: found for name in order if (found := of(cluster.facts[name]))}
    for names in ([name for name in values if name in first], list(values)):
        if guarded := [values[name] for name in names if path in cluster.facts[name].guarded]:
            return Counter(guarded).most_common(1)[0][0]
        if earlier and names:
            return _of_more_than_half({name: values[name] for name in names}, path)
    return None


def _of_more_than_half(values: Mapping[str, T], path: str) -> T:
    value, times = Counter(values.values()).most_common(1)[0]
    if 2 * times <= len(values):
        what = f"{path} differs between {', '.join(values)}, and no version has a majority"
        raise StepFailed(
            what,
            cause="secrets-differ",
            cure="copy the right file to the other hosts, with its mode and owner, then run again",
        )
    return value
