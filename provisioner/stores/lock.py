"""The lock of an external store: only one run at a time changes what several inventories share."""

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

_SECONDS = 900  # the lifetime of the lock; longer than any successful run


@dataclass(frozen=True)
class StoreLock:
    """owner: shown to other runs. hosts: the machine IDs of the hosts whose locks this run holds."""

    keys: Keys
    path: str
    owner: str
    hosts: Collection[str]

    @property
    def text(self) -> str:
        return json.dumps({"owner": self.owner, "hosts": sorted(self.hosts)})

    def take(self) -> None:
        """Take the lock. Raises Locked, or StoreError if the store denies write access.

        A holder that lists a host whose lock this run has must have ended, so its lock is replaced.
        """
        holder = self.keys.hold(self.path, self.text, seconds=_SECONDS)
        if holder and _hosts(holder) & set(self.hosts):
            holder = self.keys.hold(self.path, self.text, seconds=_SECONDS, instead=holder)
        if holder:
            raise Locked(
                f"another run is changing the same store: {shown(str(json_object(holder).get('owner') or holder), 60)}",
                cause="store-locked",
                tried=f"taking the store's lock, {self.path}",
                cure="wait until it ends, then run again;"
                f" the lock of an interrupted run expires after {_SECONDS // 60} minutes",
            )

    def give_back(self) -> None:
        self.keys.drop(self.path, self.text)


def _hosts(text: str) -> set[str]:
    """Return the hosts that a lock's text names; none if the text has another form."""
    found = json_object(text).get("hosts")
    return {host for host in found if isinstance(host, str)} if isinstance(found, list) else set()


def path(prefix: str | None) -> str:
    """Return the path of the lock, in the folder that engines may write to."""
    return f"{prefix}/{LOCK}" if prefix else LOCK
