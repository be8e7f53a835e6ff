"""The form of what engines and stores answer in JSON: all of it that anything here reads. The rest is passed over.

A field that is wanted is there and of its type, or the answer is refused as a whole: see `Facts.http`. Go writes null for
a list or an object that was never made, hence `| None`. Source: moby's API reference (v1.24 to v1.47), Consul's and etcd's;
compared with the captures of real hosts.
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
    if text:  # an IPAM driver of a plugin may have none
        ip_network(text, strict=False)
    return text


def _pool(text: str) -> str:
    IPv4Network(text, strict=False)
    return text


def _base64(text: str) -> str:
    base64.b64decode(text, validate=True)
    return text


class _Answer(TypedDict):
    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]  # pydantic's own way, and no field


# -- the engine's -----------------------------------------------------------------------------------------------------


class Manager(_Answer):
    NodeID: str
    Addr: str


class SwarmSpec(_Answer):
    Labels: NotRequired[dict[str, str] | None]


class SwarmVersion(_Answer):
    Index: NotRequired[int]


class SwarmCluster(_Answer):
    ID: str
    Version: NotRequired[SwarmVersion]
    Spec: NotRequired[SwarmSpec]
    DataPathPort: NotRequired[int]
    DefaultAddrPool: NotRequired[list[Annotated[str, AfterValidator(_pool)]] | None]
    SubnetSize: NotRequired[int]


class SwarmInfo(_Answer):
    NodeID: str
    LocalNodeState: str
    NodeAddr: NotRequired[str]
    ControlAvailable: NotRequired[bool]
    Error: NotRequired[str]
    RemoteManagers: NotRequired[list[Manager] | None]
    Cluster: NotRequired[SwarmCluster | None]


class Info(_Answer):
    """GET /info."""

    ID: NotRequired[str]
    ServerVersion: NotRequired[str]
    ClusterStore: NotRequired[str]
    ClusterAdvertise: NotRequired[str]
    ContainersRunning: NotRequired[int]
    LiveRestoreEnabled: NotRequired[bool]
    Swarm: NotRequired[SwarmInfo | None]


class Pool(_Answer):
    Subnet: NotRequired[Annotated[str, AfterValidator(_subnet)]]
    Gateway: NotRequired[str]
    IPRange: NotRequired[str]
    AuxiliaryAddresses: NotRequired[dict[str, str] | None]


class Ipam(_Answer):
    Config: NotRequired[list[Pool] | None]


class Peer(_Answer):
    IP: NotRequired[str]


class Attached(_Answer):
    Name: str


class Network(_Answer):
    """One of GET /networks."""

    Name: str
    Id: str
    Driver: str  # "" while a swarm's manager makes it
    Scope: NotRequired[str]
    Internal: NotRequired[bool]
    Attachable: NotRequired[bool]
    IPAM: NotRequired[Ipam | None]
    Options: NotRequired[dict[str, str] | None]
    Labels: NotRequired[dict[str, str] | None]


class Members(_Answer):
    """GET /networks/NAME, of which no more is read than who is on it."""

    Peers: NotRequired[list[Peer] | None]
    Containers: NotRequired[dict[str, Attached] | None]


class NodeSpec(_Answer):
    Role: str
    Availability: NotRequired[str]


class NodeDescription(_Answer):
    Hostname: NotRequired[str]


class NodeStatus(_Answer):
    State: NotRequired[str]
    Addr: NotRequired[str]


class ManagerStatus(_Answer):
    Leader: NotRequired[bool]
    Addr: NotRequired[str]


class Node(_Answer):
    """One of GET /nodes."""

    ID: str
    Spec: NodeSpec
    Description: NotRequired[NodeDescription | None]
    Status: NotRequired[NodeStatus | None]
    ManagerStatus: NotRequired[ManagerStatus | None]


class ContainerNetworks(_Answer):
    Networks: NotRequired[dict[str, Any] | None]


class Container(_Answer):
    """One of GET /containers/json."""

    Id: str
    Names: NotRequired[list[str] | None]
    State: NotRequired[str]
    Labels: NotRequired[dict[str, str] | None]
    NetworkSettings: NotRequired[ContainerNetworks | None]


class PluginSettings(_Answer):
    Env: NotRequired[list[str] | None]


class Plugin(_Answer):
    """One of GET /plugins."""

    Name: str
    Enabled: NotRequired[bool]
    Settings: NotRequired[PluginSettings | None]


# By the name of the request; behind ":" is that of a network. See `reading` and `attached`.
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


# -- stores' ----------------------------------------------------------------------------------------------------------


class ConsulMember(_Answer):
    Name: str
    Addr: str
    Status: int


class ConsulKey(_Answer):
    Key: str
    Value: NotRequired[Annotated[str, AfterValidator(_base64)] | None]
    Session: NotRequired[str]
    ModifyIndex: NotRequired[int]


class ConsulSession(_Answer):
    ID: str


class ConsulServer(_Answer):
    Node: str
    Address: str
    Voter: bool


class ConsulRaft(_Answer):
    Servers: list[ConsulServer]


class ConsulPolicy(_Answer):
    ID: str
    Name: str


class ConsulLink(_Answer):
    """A token's link to a policy."""

    Name: str


class ConsulRules(_Answer):
    Rules: NotRequired[str]


class ConsulAccessor(_Answer):
    AccessorID: str
    Description: NotRequired[str]
    Policies: NotRequired[list[ConsulLink] | None]


class ConsulRing(_Answer):
    Keys: dict[str, int]
    WAN: NotRequired[bool]


class EtcdMember(_Answer):
    id: str
    name: str
    peerURLs: NotRequired[list[str] | None]
    clientURLs: NotRequired[list[str] | None]


class EtcdMembers(_Answer):
    members: list[EtcdMember]


class EtcdHealth(_Answer):
    health: NotRequired[str | bool]


class EtcdLeader(_Answer):
    leader: NotRequired[str]


class EtcdSelf(_Answer):
    leaderInfo: NotRequired[EtcdLeader | None]


class EtcdNode(_Answer):
    key: NotRequired[str]  # the root has none
    value: NotRequired[str]
    nodes: NotRequired[list[EtcdNode] | None]


class EtcdKeys(_Answer):
    node: NotRequired[EtcdNode | None]


Texts = dict[str, str]


@cache
def _adapter(shape: Any) -> TypeAdapter[Any]:
    return TypeAdapter(shape)


def checked(shape: Any, found: Any) -> Any:
    """The value, which has this shape. Raises ValueError with the first place where it has not."""
    try:
        return _adapter(shape).validate_python(found, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = "".join(f"[{step}]" if isinstance(step, int) else f".{strict.shown(step, 40)}" for step in first["loc"])
        why = first["msg"].removeprefix("Value error, ")
        raise ValueError(f"{place.removeprefix('.') or 'the whole'}: {why}") from None


def parsed(shape: Any, text: str) -> Any:
    """What a JSON text of this shape holds. Raises ValueError."""
    return checked(shape, strict.value(text))
