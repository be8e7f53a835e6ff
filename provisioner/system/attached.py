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
)  # attachments() and names() read its answer
_STOPPED = frozenset({"created", "exited", "dead"})  # states in which a container has no endpoint
_SHORT = 12  # characters of a container's ID that are one of its names on every network
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", re.ASCII)  # a name that one question can hold
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", re.ASCII)
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
    found: dict[str, list[str]] = {}
    for each in attachments(facts):
        on = (each.shared or each.network in also) if facts.networks else each.network in also
        if on and not each.service and not (started and each.state in _STOPPED):  # the swarm moves tasks of services
            found.setdefault(each.name, []).append(each.network)
    return {name: tuple(sorted(networks)) for name, networks in sorted(found.items())}


@dataclass(frozen=True)
class Attachment:
    """A container on a network, and what the engine gave it there; "" is what the engine does not say.

    id, network_id, endpoint: the IDs of the container, of the network, and of the container there. state: such as "running".
    service: the ID of its service, if it is a task. shared: whether the network is not the host's own.
    """

    name: str
    id: str
    state: str
    network: str
    network_id: str = ""
    address: str = ""
    mac: str = ""
    endpoint: str = ""
    service: str = ""
    shared: bool = False

    @property
    def short(self) -> str:
        """The start of its ID, which is one of its names on every network."""
        return self.id[:_SHORT]


def attachments(facts: Facts) -> Iterator[Attachment]:
    """Yield all containers on all networks, also stopped ones. A malformed address is left out."""
    local = {name for name, network in facts.networks.items() if network.get("Scope", "local") == "local"}
    for container in facts.http("containers").body or ():
        service = str((container.get("Labels") or {}).get(_SERVICE, ""))
        for network, found in ((container.get("NetworkSettings") or {}).get("Networks") or {}).items():
            given = found if isinstance(found, dict) else {}
            mac = str(given.get("MacAddress") or "")
            yield Attachment(
                _name(container),
                str(container["Id"]),
                str(container.get("State")),
                network,
                str(given.get("NetworkID") or ""),
                _address(given.get("IPAddress")),
                mac if _MAC.fullmatch(mac) else "",
                str(given.get("EndpointID") or ""),
                service,
                network not in local,
            )


def _address(text: object) -> str:
    with suppress(ValueError):
        return str(IPv4Address(str(text)))
    return ""


def running(facts: Facts) -> Iterator[Attachment]:
    """Yield running containers with an address on networks that are not the host's own. Probes are left out."""
    for each in attachments(facts):
        if each.shared and each.address and each.state == "running" and not each.name.startswith(PROBE):
            yield each


def named(facts: Facts) -> Iterator[Attachment]:
    """Yield those of `running` that others reach by their name and by the start of their ID. Services' containers are left out."""
    return (
        each
        for each in running(facts)
        if not each.service and _LABEL.fullmatch(each.name) and _LABEL.fullmatch(each.short)
    )


def present(facts: Facts) -> Iterator[Attachment]:
    """Yield the running and paused containers with an address and a MAC address on a network."""
    return (each for each in attachments(facts) if each.state in _LIVES and each.address and each.mac)


def started(facts: Facts) -> Iterator[Attachment]:
    """Yield the containers on networks that are not stopped."""
    return (each for each in attachments(facts) if each.state not in _STOPPED)


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
