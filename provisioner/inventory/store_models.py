"""What `store` says, as objects: the store that the engines of a key-value control plane share."""

from typing import Annotated

from pydantic import Field, PlainValidator, WithJsonSchema

from provisioner.inventory.discovery import fault
from provisioner.inventory.fields import (
    Endpoints,
    FilePath,
    Heartbeat,
    LocalUsers,
    Prefix,
    Servers,
    Sha256,
    Truth,
)
from provisioner.inventory.part import Part
from provisioner.inventory.values import one_of

_Kind = Annotated[
    str,
    PlainValidator(one_of("consul", "etcd", "zookeeper")),
    WithJsonSchema({"type": "string", "enum": ["consul", "etcd", "zookeeper"]}),
]


class Discovery(Part):
    """How the engines show one another in the store that they are there: `cluster-store-opts` of daemon.json."""

    heartbeat: Heartbeat | None = Field(
        default=None,
        description="Whole seconds after which an engine says again that it is there: `discovery.heartbeat`. Without it"
        " a third of `ttl`, and the engine's own 20 without both.",
    )
    ttl: Heartbeat | None = Field(
        default=None,
        description="Whole seconds after which an engine that was not heard of is gone: `discovery.ttl`. More than"
        " `heartbeat`, and with Consul at least 20, also where one of the two is in a host's daemon.json already. Without it three"
        " times `heartbeat`.",
    )
    path: Prefix | None = Field(
        default=None,
        description="Where the engines' addresses are in the store: `kv.path`. The networks stay where `prefix` says.",
        examples=["docker/nodes"],
    )


class Security(Part):
    """How a store that is set up on the hosts is secured. Its secrets are made once and live on the hosts."""

    tls: Truth = Field(
        default=True,
        description="With etcd: whether its servers and the engines know one another by certificates of an authority of their"
        " own, and speak TLS. It counts when etcd is founded: a cluster that stands stays as it is. With Consul: whether its"
        " agents do; engines ask the agent on their own host, without TLS. A cluster that stands is brought there, or back, in stages.",
    )
    gossip: Truth = Field(
        default=True,
        description="With Consul: whether what its agents tell one another is encrypted with a common key.",
    )
    acls: Truth = Field(
        default=True,
        description="With Consul: whether all that is not allowed is refused. The engines may write under Docker's keys, and"
        " no more.",
    )


class Tls(Part):
    """The files with which a store that others look after is reached over TLS: all three, on this machine. They are uploaded.

    With fewer of them an engine would go without TLS, and say nothing.
    """

    ca: FilePath = Field(
        description="The certificate of the authority that the store's servers are judged by.",
        examples=["files/ca.pem"],
    )
    cert: FilePath = Field(
        description="The certificate that the engines show to the store.", examples=["files/cert.pem"]
    )
    key: FilePath = Field(
        description="Its private key, without a password. On hosts only root can read it.", examples=["files/key.pem"]
    )


class Store(Part):
    """What the engines share. It is set up on the hosts: servers on some of them, and with Consul an agent on every one.

    With `endpoints` it is there already, and nothing of it is installed.
    """

    kind: _Kind = Field(
        description="Which store the engines share: `consul`, `etcd` or `zookeeper`.", examples=["consul"]
    )
    servers: Servers | None = Field(
        default=None,
        description="The hosts that are servers of the store: 1, 3 or 5 of them. Without it the first host of one or two,"
        " the first three of three or four, the first five of five or more.",
        examples=[["node1", "node2", "node3"]],
    )
    endpoints: Endpoints | None = Field(
        default=None,
        description="The servers of a store that is there already, as ADDRESS:PORT: nothing is installed, and every host"
        " is seen to reach it before anything is changed. One for Consul (a load balancer, or the agent on every host:"
        " `127.0.0.1:8500`), several for etcd and ZooKeeper.",
        examples=[["192.0.2.21:2379", "192.0.2.22:2379", "192.0.2.23:2379"]],
    )
    tls: Tls | None = Field(
        default=None, description="With `endpoints` of etcd or Consul: they are reached over TLS, with these files."
    )
    binary: FilePath | None = Field(
        default=None,
        description="With Consul: a file on this machine, for hosts without a way out: its zip as HashiCorp releases it, or the"
        " program itself. It is uploaded. A relative path starts at the inventory's folder.",
        examples=["files/consul.zip"],
    )
    sha256: Sha256 | None = Field(default=None, description="The SHA-256 sum of `binary`, 64 hexadecimal digits.")
    prefix: Prefix | None = Field(
        default=None,
        description="A path in front of all that the engines keep in the store, for a store that several clusters share.",
        examples=["lab"],
    )
    local_users: LocalUsers = Field(
        default=(),
        description="Users of the hosts, by name or number, whose programs may reach the store's ports there, beside root and the"
        " store's own: an exporter of metrics, a registrator. On a host that has no such user it says nothing. With Consul they"
        " have the engines' rights then. The ports of gossip and of the overlays stay closed to them.",
        examples=[["prometheus"]],
    )
    discovery: Discovery = Field(default_factory=Discovery, description="How engines that are gone are noticed.")
    security: Security = Field(
        default_factory=Security,
        description="How a Consul or etcd that is set up on the hosts is secured. ZooKeeper can't be.",
    )

    def times_fault(self, heartbeat: int | None, ttl: int | None) -> str:
        """What is wrong with these times of discovery, in seconds, on this store; "" where nothing is."""
        return fault(heartbeat, ttl, self.kind)
