"""The shapes of the stores' JSON answers, as far as the code uses them. See system/answers.py.

Sources: the references of Consul's HTTP API and etcd's v2 API. Tests compare them with captures of real hosts.
"""

from __future__ import annotations

from typing import Annotated, NotRequired

from pydantic import AfterValidator

from provisioner.system.answers import Answer, base64_text


class ConsulMember(Answer):
    Name: str
    Addr: str
    Status: int


class ConsulKey(Answer):
    Key: str
    Value: NotRequired[Annotated[str, AfterValidator(base64_text)] | None]
    Session: NotRequired[str]
    ModifyIndex: NotRequired[int]


class ConsulSession(Answer):
    ID: str


class ConsulServer(Answer):
    Node: str
    Address: str
    Voter: bool


class ConsulRaft(Answer):
    Servers: list[ConsulServer]


class ConsulPolicy(Answer):
    ID: str
    Name: str


class ConsulLink(Answer):
    """The link from a token to a policy."""

    Name: str


class ConsulRules(Answer):
    Rules: NotRequired[str]


class ConsulAccessor(Answer):
    AccessorID: str
    Description: NotRequired[str]
    Policies: NotRequired[list[ConsulLink] | None]


class ConsulRing(Answer):
    Keys: dict[str, int]
    WAN: NotRequired[bool]


class EtcdMember(Answer):
    id: str
    name: str
    peerURLs: NotRequired[list[str] | None]
    clientURLs: NotRequired[list[str] | None]


class EtcdMembers(Answer):
    members: list[EtcdMember]


class EtcdHealth(Answer):
    health: NotRequired[str | bool]


class EtcdLeader(Answer):
    leader: NotRequired[str]


class EtcdSelf(Answer):
    leaderInfo: NotRequired[EtcdLeader | None]


class EtcdNode(Answer):
    key: NotRequired[str]  # the root has no key
    value: NotRequired[str]
    nodes: NotRequired[list[EtcdNode] | None]


class EtcdKeys(Answer):
    node: NotRequired[EtcdNode | None]


Texts = dict[str, str]
