"""The lock of an external store: one run at a time changes what several inventories share."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from provisioner.errors import Locked
from provisioner.stores.keys import LOCK
from provisioner.system.strict import json_object, shown

if TYPE_CHECKING:
    from collections.abc import Collection

    from provisioner.stores.keys import Keys

_SECONDS = 900  # then the lock of a run that was broken off is gone; more than any run takes that goes well


@dataclass(frozen=True)
class StoreLock:
    """owner: for whoever meets it. hosts: the machine ids of those whose own locks this run holds."""

    keys: Keys
    path: str
    owner: str
    hosts: Collection[str]

    @property
    def text(self) -> str:
        return json.dumps({"owner": self.owner, "hosts": sorted(self.hosts)})

    def take(self) -> None:
        """Raises Locked, or StoreError where the store lets nobody write.

        Of a run that held the lock of a host which is ours now it is known that it has ended.
        """
        holder = self.keys.hold(self.path, self.text, seconds=_SECONDS)
        if holder and _hosts(holder) & set(self.hosts):
            holder = self.keys.hold(self.path, self.text, seconds=_SECONDS, instead=holder)
        if holder:
            raise Locked(
                f"another run changes what is in the same store: {shown(str(json_object(holder).get('owner') or holder), 60)}",
                tried=f"taking the store's lock, {self.path}",
                cure=f"wait until it has ended, and run again; of a run that was broken off the lock is gone after {_SECONDS // 60} minutes",
            )

    def give_back(self) -> None:
        self.keys.drop(self.path, self.text)


def _hosts(text: str) -> set[str]:
    """The hosts that a lock's text names; whatever else somebody has written there names none."""
    found = json_object(text).get("hosts")
    return {host for host in found if isinstance(host, str)} if isinstance(found, list) else set()


def path(prefix: str | None) -> str:
    """Under what engines may write."""
    return f"{prefix}/{LOCK}" if prefix else LOCK
