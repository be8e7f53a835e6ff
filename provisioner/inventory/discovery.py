"""How soon a missing engine is noticed: checks of the times in the inventory and in a host's daemon.json.

The rules are the engine's (moby v20.10, daemon/discovery) and Consul's, whose sessions last ttl/2, but at least 10 s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.inventory import values
from provisioner.inventory.raw import sound, value

if TYPE_CHECKING:
    from provisioner.inventory.document import Document
    from provisioner.inventory.problems import Location

_HEARTBEAT = 20  # seconds; the engine's default
_TTL_FACTOR = 3  # the engine's ttl divided by its heartbeat, if only one of them is given
_CONSUL_TTL = 20  # seconds


def times(heartbeat: int | None, ttl: int | None) -> tuple[int, int]:
    """Return heartbeat and ttl in seconds, with the engine's defaults for a missing one."""
    beat = heartbeat or (_HEARTBEAT if ttl is None else ttl // _TTL_FACTOR)
    return beat, ttl or _TTL_FACTOR * beat


def fault(heartbeat: int | None, ttl: int | None, kind: str, masked: tuple[str, str] = ("", "")) -> str:
    """Return what is wrong with the times on this kind of store, or "". masked: heartbeat and ttl for messages."""
    beat, life = times(heartbeat, ttl)
    masked_beat, masked_life = masked[0] or f"{beat} s", masked[1] or f"{life} s"
    if life <= beat or beat < 1:
        return f"{masked_life} is not greater than the heartbeat of {masked_beat}: every engine would count as gone; three times the heartbeat is usual"
    if kind == "consul" and life < _CONSUL_TTL:
        what = "ttl" if ttl else "the ttl, three times the heartbeat,"
        return f"{what} is {masked_life}; Consul needs at least {_CONSUL_TTL} s (its sessions last half of it, but at least 10 s)"
    return ""


def check(document: Document, kind: str) -> None:
    """Add the errors between the inventory's times."""
    location: Location = ("store", "discovery")
    seconds = values.whole("number of seconds", 1, 86400)
    heartbeat, ttl = (sound(seconds, value(document, (*location, key))) for key in ("heartbeat", "ttl"))
    if not (heartbeat or ttl):
        return
    key = "ttl" if ttl else "heartbeat"
    beat, life = times(heartbeat, ttl)
    masked = (
        document.masked((*location, "heartbeat" if heartbeat else key), f"{beat} s"),
        document.masked((*location, key), f"{life} s"),
    )
    if text := fault(heartbeat, ttl, kind, masked):
        document.refuse((*location, key), f"store.discovery.{key}: {text}")
