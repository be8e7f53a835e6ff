"""Which containers are on a network: what an engine is asked for it, and what it answers. Pure.

It is asked only where a network is to be removed: an engine that lists the endpoints of all hosts reads them from the store.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterable

    from provisioner.system.facts import Facts

_SOCKET = "/var/run/docker.sock"
_BALANCER = "lb-"  # swarm's own endpoint on a network


def requests(names: Iterable[str]) -> tuple[str, ...]:
    """What to ask the engine, as facts.pl takes it: the containers, stopped ones too, and the endpoints."""
    asked = []
    for name in sorted(names):
        filters = quote(json.dumps({"network": [name]}, separators=(",", ":")))
        asked += [
            f"containers:{name} {_SOCKET} /containers/json?all=1&filters={filters}",
            f"endpoints:{name} {_SOCKET} /networks/{quote(name)}",
        ]
    return tuple(asked)


def containers(facts: Facts, network: str) -> dict[str, str]:
    """This host's, by name: how they are told; a stopped one would not find the network again after it was made anew."""
    found = {}
    for container in facts.http(f"containers:{network}").body or ():
        name = container["Names"][0].lstrip("/")
        found[name] = name if container["State"] == "running" else f"{name} ({container['State']})"
    return found


def endpoints(facts: Facts, network: str) -> tuple[str, ...]:
    """The names of all that this host's engine knows on it, those of other hosts among them."""
    body = facts.http(f"endpoints:{network}").body or {}
    return tuple(found["Name"] for key, found in (body.get("Containers") or {}).items() if not key.startswith(_BALANCER))
