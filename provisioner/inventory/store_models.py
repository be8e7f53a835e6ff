"""The models for `store`: the store that engines share with control plane kv."""

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
    """How engines announce themselves in the store: `cluster-store-opts` of daemon.json."""

    heartbeat: Heartbeat | None = Field(
        default=None,
        description="Seconds between two announcements of an engine, a whole number: `discovery.heartbeat`."
        " Default: a third of `ttl`, or the engine's default of 20 if neither is set.",
    )
    ttl: Heartbeat | None = Field(
        default=None,
        description="Seconds after which a silent engine counts as gone, a whole number: `discovery.ttl`. It must"
        " exceed `heartbeat`, and be at least 20 with Consul. This also applies to a value in a host's"
        " daemon.json. Default: three times `heartbeat`.",
    )
    path: Prefix | None = Field(
        default=None,
        description="Where the store keeps the engines' addresses: `kv.path`. Networks stay where `prefix` says.",
        examples=["docker/nodes"],
    )


class Security(Part):
    """Security of a store that `provisioner` sets up. Secrets are created once and stored on the hosts."""

    tls: Truth = Field(
        default=True,
        description="With etcd: servers and engines use TLS with certificates of their own authority. This"
        " applies when etcd is founded; an existing cluster stays as it is. With Consul: agents use"
        " TLS with one another. Engines connect to the agent on their own host without TLS. An"
        " existing cluster is changed in stages, in either direction.",
    )
    gossip: Truth = Field(
        default=True,
        description="With Consul: the agents' gossip is encrypted with a shared key.",
    )
    acls: Truth = Field(
        default=True,
        description="With Consul: everything that is not allowed is denied. The engines may write only under"
        " Docker's keys.",
    )


class Tls(Part):
    """The files for TLS to an external store. All three are required, on this machine. They are uploaded.

    If one were missing, the engine would silently connect without TLS.
    """

    ca: FilePath = Field(
        description="The certificate of the authority that signed the store's certificates.",
        examples=["files/ca.pem"],
    )
    cert: FilePath = Field(description="The engines' client certificate.", examples=["files/cert.pem"])
    key: FilePath = Field(
        description="The private key of the client certificate, without a password. On hosts, only root can read it.",
        examples=["files/key.pem"],
    )


class Store(Part):
    """The store that the engines share. It is set up on the hosts: servers on some, and with Consul an agent on each.

    With `endpoints`, the store already exists, and nothing of it is installed.
    """

    kind: _Kind = Field(description="The kind of store: `consul`, `etcd` or `zookeeper`.", examples=["consul"])
    servers: Servers | None = Field(
        default=None,
        description="The hosts that are servers of the store: 1, 3 or 5. Default: the first host of one or two,"
        " the first three of three or four, the first five of five or more.",
        examples=[["node1", "node2", "node3"]],
    )
    endpoints: Endpoints | None = Field(
        default=None,
        description="The servers of an existing store, as ADDRESS:PORT. Nothing is installed. Every host must"
        " reach the store before anything is changed. One for Consul (a load balancer, or the agent on"
        " every host: `127.0.0.1:8500`), several for etcd and ZooKeeper.",
        examples=[["192.0.2.21:2379", "192.0.2.22:2379", "192.0.2.23:2379"]],
    )
    tls: Tls | None = Field(
        default=None, description="With `endpoints` of etcd or Consul: connect with TLS and these files."
    )
    binary: FilePath | None = Field(
        default=None,
        description="With Consul: a local file for hosts without internet access, either HashiCorp's zip file or"
        " the program itself. It is uploaded. A relative path starts at the inventory's folder.",
        examples=["files/consul.zip"],
    )
    sha256: Sha256 | None = Field(default=None, description="The SHA-256 checksum of `binary`, 64 hexadecimal digits.")
    prefix: Prefix | None = Field(
        default=None,
        description="A path in front of all the engines' keys, for a store that several clusters share.",
        examples=["lab"],
    )
    local_users: LocalUsers = Field(
        default=(),
        description="Local users of the hosts, by name or number, whose programs may access the store's ports,"
        " such as a metrics exporter or a registrator. Root and the store's own user always may. A"
        " user that does not exist on a host is ignored there. With Consul, these users have the"
        " engines' rights. The ports of gossip and overlays stay closed to them.",
        examples=[["prometheus"]],
    )
    discovery: Discovery = Field(default_factory=Discovery, description="How missing engines are noticed.")
    security: Security = Field(
        default_factory=Security,
        description="Security of a Consul or etcd that `provisioner` sets up. ZooKeeper has none.",
    )

    def times_fault(self, heartbeat: int | None, ttl: int | None) -> str:
        """Return what is wrong with these discovery times in seconds, or ""."""
        return fault(heartbeat, ttl, self.kind)
