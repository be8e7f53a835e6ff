"""Which containers are attached to a network: the requests to the engine, and how its answers are read. Pure.

requests() is used only before a network is removed: to list the endpoints of all hosts, the engine reads them from the
store. CONTAINERS is requested before a host is removed, and when the store lists endpoints.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from provisioner.system.request import ENGINE, Request

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from provisioner.system.facts import Facts

CONTAINERS = Request(
    "containers", ENGINE, "/containers/json?all=1", quick=True
)  # on_shared() and names() read its answer
_STOPPED = frozenset({"created", "exited", "dead"})  # states in which a container has no endpoint
_SHORT = 12  # characters of a container's ID that are one of its names on every network
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", re.ASCII)  # a name that one question can hold
_ADDRESS = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3}){3}", re.ASCII)
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", re.ASCII)
_GIVEN = ("NetworkID", "IPAddress", "MacAddress", "EndpointID")  # keys of an endpoint
_LIVES = frozenset({"running", "paused"})  # states in which a container has its namespace
_NO_NETWORK = frozenset({"default", "bridge", "host", "none"})  # modes that name no network of a cluster
_SERVICE = "com.docker.swarm.service.id"  # a label
PROBE = "provisioner-probe-"  # prefix of the names of the proofs' containers
_BALANCER = "lb-"  # prefix of the key of swarm's own endpoint on a network


def requests(names: Iterable[str]) -> tuple[Request, ...]:
    """Return the requests to the engine for these networks: their containers, also stopped ones, and their endpoints."""
    found = []
    for name in sorted(names):
        filters = quote(json.dumps({"network": [name]}, separators=(",", ":")))
        found += [
            Request(f"containers:{name}", ENGINE, f"/containers/json?all=1&filters={filters}"),
            Request(f"endpoints:{name}", ENGINE, f"/networks/{quote(name)}"),
        ]
    return tuple(found)


def containers(facts: Facts, network: str) -> dict[str, str]:
    """Return this host's containers on the network: name -> state, "" if it is running.

    Stopped containers count: they could not find the network again after it was recreated.
    """
    found = {}
    for container in facts.http(f"containers:{network}").body or ():
        name, state = _name(container), container.get("State") or "in an unknown state"
        found[name] = "" if state == "running" else state
    return found


def endpoints(facts: Facts, network: str) -> tuple[str, ...]:
    """Return the names of all endpoints on the network that this host's engine knows, including those of other hosts.

    A swarm's load balancer does not count. While it is set up or taken down, only its name shows what it is (libnetwork's
    network.go: createLoadBalancerSandbox).
    """
    body = facts.http(f"endpoints:{network}").body or {}
    balancer = f"{network}-endpoint" if facts.networks.get(network, {}).get("Scope") == "swarm" else ""
    return tuple(
        found["Name"]
        for key, found in (body.get("Containers") or {}).items()
        if not key.startswith(_BALANCER) and not (key.startswith("ep-") and found["Name"] == balancer)
    )


def on_shared(facts: Facts, *, started: bool = False, also: Collection[str] = ()) -> dict[str, tuple[str, ...]]:
    """Return container -> the cluster's networks that it is attached to.

    A network that the engine does not list is none of its local ones: it is a swarm's, or of a store that the engine has left.

    started: leave out stopped containers. also: names of more networks to include, of any scope.
    """
    local = {name for name, network in facts.networks.items() if network.get("Scope", "local") == "local"} - set(also)
    found = {}
    for container in facts.http("containers").body or ():
        if _SERVICE in (container.get("Labels") or {}):
            continue  # a task of a service: the swarm moves it
        if started and container.get("State") in _STOPPED:
            continue
        networks = (container.get("NetworkSettings") or {}).get("Networks") or {}
        on = set(networks) - local if facts.networks else set(networks) & set(also)
        if on:
            found[_name(container)] = tuple(sorted(on))
    return dict(sorted(found.items()))


@dataclass(frozen=True)
class Named:
    """A running container on a network, and what other containers there call it."""

    network: str
    name: str
    id: str
    address: str


def named(facts: Facts) -> Iterator[Named]:
    """Yield the running containers on networks that are not the host's own. Services' containers and probes are left out."""
    local = {name for name, network in facts.networks.items() if network.get("Scope", "local") == "local"}
    for container in facts.http("containers").body or ():
        name, number = _name(container), str(container["Id"])[:_SHORT]
        left_out = name.startswith(PROBE) or _SERVICE in (container.get("Labels") or {})
        if left_out or container.get("State") != "running" or not (_LABEL.fullmatch(name) and _LABEL.fullmatch(number)):
            continue
        for network, found in ((container.get("NetworkSettings") or {}).get("Networks") or {}).items():
            address = found.get("IPAddress") if isinstance(found, dict) else ""
            if network not in local and address and _ADDRESS.fullmatch(str(address)):
                yield Named(network, name, number, str(address))


def ids(facts: Facts) -> dict[str, str]:
    """Return ID -> name, of the running containers on networks that are not the host's own. Probes are left out."""
    local = {name for name, network in facts.networks.items() if network.get("Scope", "local") == "local"}
    found = {}
    for container in facts.http("containers").body or ():
        on = set((container.get("NetworkSettings") or {}).get("Networks") or {}) - local
        if on and container.get("State") == "running" and not _name(container).startswith(PROBE):
            found[str(container["Id"])] = _name(container)
    return found


@dataclass(frozen=True)
class Attached:
    """A running container's address on a network that is not the host's own. network: the ID. service: the ID, if it is a task."""

    network: str
    address: str
    service: str = ""


def running(facts: Facts) -> Iterator[Attached]:
    """Yield the addresses of running containers on networks that are not the host's own. Probes are left out."""
    local = {str(each.get("Id")) for each in facts.networks.values() if each.get("Scope", "local") == "local"}
    for container in facts.http("containers").body or ():
        if container.get("State") != "running" or _name(container).startswith(PROBE):
            continue
        service = str((container.get("Labels") or {}).get(_SERVICE, ""))
        for found in ((container.get("NetworkSettings") or {}).get("Networks") or {}).values():
            network, address = (str((found or {}).get(key, "")) for key in ("NetworkID", "IPAddress"))
            if network not in local and _ADDRESS.fullmatch(address):
                yield Attached(network, address, service)


def detached(facts: Facts) -> dict[str, str]:
    """Return the running containers that are on no network: container -> the network of the cluster that they were made on.

    Observed with engine 28.5: an engine that starts while its swarm is not ready starts such a container with loopback only.
    """
    local = {
        each[key] for each in facts.networks.values() if each.get("Scope", "local") == "local" for key in ("Name", "Id")
    }
    found = {}
    for container in facts.http("containers").body or () if local else ():
        network = (container.get("HostConfig") or {}).get("NetworkMode") or ""
        shared = network and network not in _NO_NETWORK | local and not network.startswith("container:")
        settings = container.get("NetworkSettings")
        if shared and settings and not settings.get("Networks") and container.get("State") == "running":
            found[_name(container)] = network
    return found


def started_on(facts: Facts) -> Iterator[tuple[str, str, str]]:
    """Yield (container, network, the network's ID) for containers that are not stopped. The ID is "" if the engine omits it."""
    for container in facts.http("containers").body or ():
        if container.get("State") not in _STOPPED:
            for network, found in ((container.get("NetworkSettings") or {}).get("Networks") or {}).items():
                number = found.get("NetworkID") if isinstance(found, dict) else ""
                yield _name(container), network, str(number or "")


@dataclass(frozen=True)
class Attachment:
    """A running or paused container on a network, with what the engine gave it there. number: the network's ID. endpoint: its own ID there."""

    name: str
    network: str
    number: str
    address: str
    mac: str
    endpoint: str


def attachments(facts: Facts) -> Iterator[Attachment]:
    """Yield the containers with an IPv4 address and a MAC address on a network."""
    for container in facts.http("containers").body or ():
        if container.get("State") not in _LIVES:
            continue
        for network, found in ((container.get("NetworkSettings") or {}).get("Networks") or {}).items():
            words = [str(found.get(key) or "") for key in _GIVEN] if isinstance(found, dict) else [""] * len(_GIVEN)
            with suppress(ValueError):
                if _MAC.fullmatch(words[2]):
                    yield Attachment(
                        _name(container), network, words[0], str(IPv4Address(words[1])), words[2], words[3]
                    )


def published(facts: Facts, port: str) -> str:
    """Return the name of a running container that publishes this TCP port; "" if there is none."""
    for container in facts.http("containers").body or ():
        ports = container.get("Ports") if container.get("State") == "running" else ()
        for found in ports if isinstance(ports, list) else ():
            if isinstance(found, dict) and found.get("Type") == "tcp" and str(found.get("PublicPort")) == port:
                return _name(container)
    return ""


def unknown(facts: Facts) -> bool:
    """Return whether the engine did not answer in time, so that on_shared() may lack containers."""
    return facts.http("containers").late or facts.http("networks").late


def names(facts: Facts) -> set[str]:
    """Return the names of all containers of the host."""
    return {_name(container) for container in facts.http("containers").body or ()}


def _name(container: Mapping[str, Any]) -> str:
    """Return the container's own name, not an alias that a link gave it."""
    found = [name.removeprefix("/") for name in container.get("Names") or ()]
    return next((name for name in found if "/" not in name), str(container["Id"]))
