"""The shapes of the engine's JSON answers, as far as the code reads them. Other fields are ignored.

A required field must be present and of its type; otherwise the whole answer is rejected (see `Facts.http`). Go writes null
for a nil slice or map, hence `| None`. The shapes of the stores' answers are in stores/shapes.py.

Source: moby's API reference (v1.24 to v1.47), compared with captures from real hosts.
"""

from __future__ import annotations

import base64
from functools import cache
from ipaddress import IPv4Network, ip_network
from typing import TYPE_CHECKING, Annotated, Any, NotRequired

from pydantic import AfterValidator, ConfigDict, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from provisioner.system import strict

if TYPE_CHECKING:
    from collections.abc import Mapping


def _subnet(text: str) -> str:
    if text:  # a plugin's IPAM driver may give no subnet
        ip_network(text, strict=False)
    return text


def _pool(text: str) -> str:
    IPv4Network(text, strict=False)
    return text


def base64_text(text: str) -> str:
    base64.b64decode(text, validate=True)
    return text


class Answer(TypedDict):
    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]  # pydantic's configuration, not a field


class Manager(Answer):
    NodeID: str
    Addr: str


class SwarmSpec(Answer):
    Labels: NotRequired[dict[str, str] | None]


class SwarmVersion(Answer):
    Index: NotRequired[int]


class SwarmCluster(Answer):
    ID: str
    Version: NotRequired[SwarmVersion]
    Spec: NotRequired[SwarmSpec]
    DataPathPort: NotRequired[int]
    DefaultAddrPool: NotRequired[list[Annotated[str, AfterValidator(_pool)]] | None]
    SubnetSize: NotRequired[int]


class SwarmInfo(Answer):
    NodeID: str
    LocalNodeState: str
    NodeAddr: NotRequired[str]
    ControlAvailable: NotRequired[bool]
    Error: NotRequired[str]
    RemoteManagers: NotRequired[list[Manager] | None]
    Cluster: NotRequired[SwarmCluster | None]


class Info(Answer):
    """GET /info."""

    ID: NotRequired[str]
    ServerVersion: NotRequired[str]
    ClusterStore: NotRequired[str]
    ClusterAdvertise: NotRequired[str]
    ContainersRunning: NotRequired[int]
    LiveRestoreEnabled: NotRequired[bool]
    Swarm: NotRequired[SwarmInfo | None]


class Pool(Answer):
    Subnet: NotRequired[Annotated[str, AfterValidator(_subnet)]]
    Gateway: NotRequired[str]
    IPRange: NotRequired[str]
    AuxiliaryAddresses: NotRequired[dict[str, str] | None]


class Ipam(Answer):
    Config: NotRequired[list[Pool] | None]


class Peer(Answer):
    IP: NotRequired[str]


class Attached(Answer):
    Name: str


class Network(Answer):
    """An item of GET /networks."""

    Name: str
    Id: str
    Driver: str  # "" while a swarm manager is still creating the network
    Scope: NotRequired[str]
    Internal: NotRequired[bool]
    Attachable: NotRequired[bool]
    IPAM: NotRequired[Ipam | None]
    Options: NotRequired[dict[str, str] | None]
    Labels: NotRequired[dict[str, str] | None]


class Members(Answer):
    """GET /networks/NAME: only the peers and containers are read."""

    Peers: NotRequired[list[Peer] | None]
    Containers: NotRequired[dict[str, Attached] | None]


class NodeSpec(Answer):
    Role: str
    Availability: NotRequired[str]


class NodeDescription(Answer):
    Hostname: NotRequired[str]


class NodeStatus(Answer):
    State: NotRequired[str]
    Addr: NotRequired[str]


class ManagerStatus(Answer):
    Leader: NotRequired[bool]
    Addr: NotRequired[str]


class Node(Answer):
    """An item of GET /nodes."""

    ID: str
    Spec: NodeSpec
    Description: NotRequired[NodeDescription | None]
    Status: NotRequired[NodeStatus | None]
    ManagerStatus: NotRequired[ManagerStatus | None]


class ContainerNetworks(Answer):
    Networks: NotRequired[dict[str, Any] | None]


class ContainerHost(Answer):
    NetworkMode: NotRequired[str | None]


class Container(Answer):
    """An item of GET /containers/json."""

    Id: str
    Names: NotRequired[list[str] | None]
    State: NotRequired[str]
    Labels: NotRequired[dict[str, str] | None]
    HostConfig: NotRequired[ContainerHost | None]
    NetworkSettings: NotRequired[ContainerNetworks | None]


class PluginSettings(Answer):
    Env: NotRequired[list[str] | None]


class Plugin(Answer):
    """An item of GET /plugins."""

    Name: str
    Enabled: NotRequired[bool]
    Settings: NotRequired[PluginSettings | None]


# Name of the request -> shape of the answer. A name that ends with ":" is followed by the name of a network.
# See `reading` and `attached`.
ENGINE: Mapping[str, Any] = {
    "info": Info,
    "networks": list[Network] | None,
    "ingress": Members,
    "nodes": list[Node] | None,
    "containers": list[Container] | None,
    "containers:": list[Container] | None,
    "endpoints:": Members,
    "plugins": list[Plugin] | None,
}


@cache
def _adapter(shape: Any) -> TypeAdapter[Any]:
    return TypeAdapter(shape)


def checked(shape: Any, found: Any) -> Any:
    """Return the value if it has this shape. Raises ValueError that names the first place that does not fit."""
    try:
        return _adapter(shape).validate_python(found, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = "".join(f"[{step}]" if isinstance(step, int) else f".{strict.shown(step, 40)}" for step in first["loc"])
        why = first["msg"].removeprefix("Value error, ")
        raise ValueError(f"{place.removeprefix('.') or 'the whole'}: {why}") from None


def parsed(shape: Any, text: str) -> Any:
    """Parse a JSON text of this shape. Raises ValueError."""
    return checked(shape, strict.value(text))
