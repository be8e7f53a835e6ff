"""Secrets that live on the hosts: read from there, agreed on where hosts differ, and made new where there are none.

Nothing of them is kept on the controller after a run. A host that is added gets what the others have. A host decides for
others only through files that root alone can write there (`Facts.guarded`): neither a user of the host nor the store's can.
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
    """Its name in the vault."""
    return f"certificate of {host}"


def agreed(
    cluster: Cluster, of: Callable[[Facts], T | None], path: str, first: Collection[str] = (), *, earlier: bool = False
) -> T | None:
    """The value that most hosts have; where as many have another, that of the first server, or host; None where none has any.

    path: the file that it is from; only hosts count on which root alone can write it.
    first: the hosts whose word counts alone, where they have one: those that are in the cluster that stands.
    earlier: earlier releases gave the file to the store's user. Where no host has it otherwise, the value of more than half of
    the hosts counts.

    Raises StepFailed where more than half are needed and do not agree.
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
        what = f"{path} differs between {', '.join(values)}, and no more than half of them agree"
        raise StepFailed(what, cure="copy the right file over the others, with its mode and owner, and run again")
    return value
