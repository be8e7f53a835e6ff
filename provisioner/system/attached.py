"""Which containers are on a network: what an engine is asked for it, and what it answers. Pure.

What requests() asks is asked only where a network is to be removed: an engine that lists the endpoints of all hosts reads
them from the store. CONTAINERS is asked where a host is to be removed, and where the store has endpoints.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from provisioner.system.request import ENGINE, Request

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from provisioner.system.facts import Facts

CONTAINERS = Request(
    "containers", ENGINE, "/containers/json?all=1"
)  # what to ask the engine for on_shared() and names()
_STOPPED = frozenset({"created", "exited", "dead"})  # then the engine keeps no endpoint of it
_SERVICE = "com.docker.swarm.service.id"  # a label
PROBE = "provisioner-probe-"  # the names of the containers of proofs begin so
_BALANCER = "lb-"  # swarm's own endpoint on a network


def requests(names: Iterable[str]) -> tuple[Request, ...]:
    """What to ask the engine: the containers, stopped ones too, and the endpoints."""
    asked = []
    for name in sorted(names):
        filters = quote(json.dumps({"network": [name]}, separators=(",", ":")))
        asked += [
            Request(f"containers:{name}", ENGINE, f"/containers/json?all=1&filters={filters}"),
            Request(f"endpoints:{name}", ENGINE, f"/networks/{quote(name)}"),
        ]
    return tuple(asked)


def containers(facts: Facts, network: str) -> dict[str, str]:
    """This host's, by name: its state, "" of one that runs. A stopped one would not find the network again after it was made anew."""
    found = {}
    for container in facts.http(f"containers:{network}").body or ():
        name, state = _name(container), container.get("State") or "in an unknown state"
        found[name] = "" if state == "running" else state
    return found


def endpoints(facts: Facts, network: str) -> tuple[str, ...]:
    """The names of all that this host's engine knows on it, those of other hosts among them."""
    body = facts.http(f"endpoints:{network}").body or {}
    return tuple(
        found["Name"] for key, found in (body.get("Containers") or {}).items() if not key.startswith(_BALANCER)
    )


def on_shared(facts: Facts, *, started: bool = False, also: Collection[str] = ()) -> dict[str, tuple[str, ...]]:
    """Container -> the cluster's networks that it is on, running or not. started: only those that run.

    also: more networks, by name, whatever their scope.
    """
    shared = {name for name, network in facts.networks.items() if network.get("Scope", "local") != "local"} | set(also)
    found = {}
    for container in facts.http("containers").body or ():
        if _SERVICE in (container.get("Labels") or {}):
            continue  # the swarm's own to move
        if started and container.get("State") in _STOPPED:
            continue
        networks = (container.get("NetworkSettings") or {}).get("Networks") or {}
        if on := sorted(shared & set(networks)):
            found[_name(container)] = tuple(on)
    return dict(sorted(found.items()))


def names(facts: Facts) -> set[str]:
    """Of all containers of the host."""
    return {_name(container) for container in facts.http("containers").body or ()}


def _name(container: Mapping[str, Any]) -> str:
    """Its own name, not those that links give it."""
    found = [name.removeprefix("/") for name in container.get("Names") or ()]
    return next((name for name in found if "/" not in name), str(container["Id"]))
