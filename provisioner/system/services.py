"""The services of a swarm, as its managers' engines list them. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface
from typing import TYPE_CHECKING

from provisioner.system.request import ENGINE, Request
from provisioner.system.strict import inside

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from provisioner.system.facts import Facts

LIST = Request("services", ENGINE, "/services?status=true")  # engines before 20.10 leave out the status
_ID = re.compile("[a-z0-9]{1,64}")
IPVS = "ip_vs"  # the kernel module that balances connections to virtual addresses and published ports


@dataclass(frozen=True)
class Service:
    """One service.

    running: the number of its running tasks; 0 if the engine does not say. ports: the TCP ports that every node publishes (mode ingress).
    virtual: its virtual addresses: ID of a network -> address. targets: the TCP ports of its tasks that are published.
    """

    name: str
    id: str = ""
    running: int = 0
    ports: tuple[int, ...] = ()
    virtual: Mapping[str, IPv4Address] = field(default_factory=dict)
    targets: tuple[int, ...] = ()


def of(facts: Iterable[Facts]) -> tuple[Service, ...]:
    """Return the services that these hosts' engines list, by name. Only managers list any."""
    bodies = (each.http(LIST.name).body for each in facts)
    entries = (entry for body in bodies if isinstance(body, list) for entry in body if isinstance(entry, dict))
    found = {service.name: service for service in map(_service, entries)}
    return tuple(found[name] for name in sorted(found))


def _service(entry: dict[str, object]) -> Service:
    running = inside(entry, "ServiceStatus").get("RunningTasks")
    endpoint = inside(entry, "Endpoint")
    return Service(
        str(inside(entry, "Spec").get("Name", "?")),
        str(entry.get("ID", "")),
        running if isinstance(running, int) else 0,
        tuple(sorted({port for each in _list(endpoint.get("Ports")) if (port := _published(each))})),
        dict(filter(None, map(_virtual, _list(endpoint.get("VirtualIPs"))))),
        tuple(sorted({port for each in _list(endpoint.get("Ports")) if (port := _target(each))})),
    )


def _virtual(entry: object) -> tuple[str, IPv4Address] | None:
    """Return the network's ID and the virtual address there; None if it has none yet."""
    found = inside({"": entry}, "")
    network = str(found.get("NetworkID", ""))
    try:
        return (network, IPv4Interface(str(found.get("Addr", ""))).ip) if _ID.fullmatch(network) else None
    except ValueError:
        return None


def _target(entry: object) -> int:
    """Return the TCP port of the tasks; 0 if this entry is of another protocol."""
    found = inside({"": entry}, "")
    port = found.get("TargetPort")
    return port if found.get("Protocol") == "tcp" and isinstance(port, int) and 0 < port < 1 << 16 else 0


def _list(found: object) -> list[object]:
    return found if isinstance(found, list) else []


def _published(entry: object) -> int:
    """Return the TCP port that every node publishes; 0 if this entry is of another kind."""
    found = inside({"": entry}, "")
    port = found.get("PublishedPort")
    meshed = (found.get("PublishMode"), found.get("Protocol")) == ("ingress", "tcp")
    return port if meshed and isinstance(port, int) and 0 < port < 1 << 16 else 0
