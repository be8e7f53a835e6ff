"""The inventory as objects. The descriptions here are the reference: the schema and docs/inventory.md are made of them."""

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema

from provisioner.inventory.fields import (
    Address,
    Advertise,
    ClusterName,
    DataPort,
    DnsName,
    DnsOptions,
    DnsSearch,
    DnsServers,
    Driver,
    Either,
    Endpoints,
    FilePath,
    Grant,
    Heartbeat,
    HostName,
    HostPath,
    Hosts,
    Ipv4,
    Ipv6,
    Jump,
    LabelKey,
    LabelValue,
    Mode,
    Mtu,
    NetworkName,
    OptionKey,
    OptionValue,
    Parents,
    PluginAddress,
    PluginImage,
    PluginName,
    Pools,
    PoolSize,
    Port,
    Prefix,
    Ranges,
    Ranges6,
    Scope,
    Seconds,
    Servers,
    SettingKey,
    SettingValue,
    Sha256,
    Subnet,
    Subnet6,
    Truth,
    User,
)
from provisioner.inventory.network_values import EVERY_HOST, SCOPES
from provisioner.inventory.values import one_of
from provisioner.model import SshTarget

_SSH = 22
_FIVE = 5
_THREE = 3

_Kind = Annotated[
    str,
    PlainValidator(one_of("consul", "etcd", "zookeeper")),
    WithJsonSchema({"type": "string", "enum": ["consul", "etcd", "zookeeper"]}),
]
_ControlPlane = Annotated[
    str,
    PlainValidator(one_of("auto", "kv", "swarm")),
    WithJsonSchema({"type": "string", "enum": ["auto", "kv", "swarm"]}),
]
_HostKeys = Annotated[
    str,
    PlainValidator(one_of("strict", "accept-new")),
    WithJsonSchema({"type": "string", "enum": ["strict", "accept-new"]}),
]


class _Part(BaseModel):
    """Frozen, and only the keys that are named here."""

    model_config = ConfigDict(frozen=True, extra="forbid")


# Other tools' keys: left out where the file is read, so that only the schema need know of them.
_FOR_OTHERS = ConfigDict(json_schema_extra={"patternProperties": {"^x-": {}}})


class Ssh(_Part):
    """How the hosts are reached, as far as a host does not say otherwise."""

    user: User = Field(
        default="root", description="The user to log in as. Anyone but root needs sudo without a password."
    )
    key: FilePath | None = Field(
        default=None,
        description="The private key's file. Without it the SSH agent's keys and the usual files in ~/.ssh are tried."
        " `~` is your home; a relative path starts at the inventory's folder.",
        examples=["~/.ssh/id_ed25519"],
    )
    port: Port = Field(default=22, description="The SSH server's port.")
    jump: Jump | None = Field(
        default=None,
        description="The machine to go through: `user@host:port`, where user and port may be left out; several with a comma"
        " between them, as in OpenSSH's ProxyJump. It is reached with the same keys and the same `host_keys`.",
        examples=["ops@bastion.example.net:2222"],
    )
    host_keys: _HostKeys = Field(
        default="strict",
        description="`strict`: only hosts whose key is in known_hosts."
        " `accept-new`: the key of a host that is seen for the first time is written there; a changed key is refused.",
    )
    known_hosts: FilePath = Field(
        default=Path("~/.ssh/known_hosts"),
        validate_default=True,
        description="The file with the hosts' keys. It is written with `accept-new` only.",
    )
    connect_timeout: Seconds = Field(
        default=10.0, description="Seconds until a host that does not answer is given up, 1 to 600."
    )


class Host(_Part):
    """One machine. What is left out is taken from `ssh` and from the `advertise` of the whole inventory."""

    model_config = _FOR_OTHERS

    address: Address = Field(
        description="Where SSH reaches the host: an IP or a host name; no user and no port.", examples=["192.168.56.11"]
    )
    port: Port | None = Field(default=None, description="The SSH server's port on this host, instead of `ssh.port`.")
    user: User | None = Field(default=None, description="The user on this host, instead of `ssh.user`.")
    key: FilePath | None = Field(
        default=None, description="The private key's file for this host, instead of `ssh.key`."
    )
    jump: Jump | None = Field(
        default=None, description="The jump hosts of this host, instead of `ssh.jump`; `none`: it is reached directly."
    )
    advertise: Advertise | None = Field(
        default=None,
        description="What this host tells the others to reach its engine at: an interface (`eth1`) or an IPv4 address."
        " Without it the address is found out on the host.",
        examples=["eth1", "192.168.56.11"],
    )


class Discovery(_Part):
    """How the engines show one another in the store that they are there: `cluster-store-opts` of daemon.json."""

    heartbeat: Heartbeat | None = Field(
        default=None,
        description="Whole seconds after which an engine says again that it is there: `discovery.heartbeat`. Without it"
        " a third of `ttl`, and the engine's own 20 without both.",
    )
    ttl: Heartbeat | None = Field(
        default=None,
        description="Whole seconds after which an engine that was not heard of is gone: `discovery.ttl`. More than"
        " `heartbeat`, and with Consul at least 20. Without it three times `heartbeat`.",
    )
    path: Prefix | None = Field(
        default=None,
        description="Where the engines' addresses are in the store: `kv.path`. The networks stay where `prefix` says.",
        examples=["docker/nodes"],
    )


class Security(_Part):
    """How a store that is set up on the hosts is secured. Its secrets are made once and live on the hosts."""

    tls: Truth = Field(
        default=True,
        description="With etcd: whether its servers and the engines know one another by certificates of an authority of their"
        " own, and speak TLS. It counts when etcd is founded: a cluster that stands stays as it is. With Consul: whether its"
        " agents do; engines ask the agent on their own host, without TLS. A cluster that stands is brought there in stages.",
    )
    gossip: Truth = Field(
        default=True, description="With Consul: whether what its agents tell one another is encrypted with a common key."
    )
    acls: Truth = Field(
        default=True,
        description="With Consul: whether all that is not allowed is refused. The engines may write under Docker's keys, and"
        " no more.",
    )


class Tls(_Part):
    """The files with which a store that others look after is reached over TLS: all three, on this machine. They are uploaded.

    With fewer of them an engine would go without TLS, and say nothing.
    """

    ca: FilePath = Field(
        description="The certificate of the authority that the store's servers are judged by.", examples=["files/ca.pem"]
    )
    cert: FilePath = Field(description="The certificate that the engines show to the store.", examples=["files/cert.pem"])
    key: FilePath = Field(
        description="Its private key, without a password. On hosts only root can read it.", examples=["files/key.pem"]
    )


class Store(_Part):
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
    discovery: Discovery = Field(default_factory=Discovery, description="How engines that are gone are noticed.")
    security: Security = Field(
        default_factory=Security, description="How a store that is set up on the hosts is secured."
    )


class Dns(_Part):
    """What the engines' own DNS servers do with names that are no container's. Without it they ask what each host asks.

    It is part of daemon.json, which an engine reads at its start: with a change each engine that has run before is
    restarted, one after the other.
    """

    servers: DnsServers = Field(
        default=(),
        description="The resolvers that names outside are forwarded to, one to three addresses, in this order: `dns` of"
        " daemon.json. One must be IPv4: those with IPv6 are left to the containers' own programs.",
        examples=[["192.0.2.53", "192.0.2.54"]],
    )
    search: DnsSearch = Field(
        default=(),
        description="The domains that containers' programs try behind a short name: `dns-search`.",
        examples=[["example.net"]],
    )
    options: DnsOptions = Field(
        default=(),
        description="The options in the containers' resolv.conf: `dns-opts`.",
        examples=[["timeout:2", "attempts:3"]],
    )
    check: DnsName | None = Field(
        default=None,
        description="A name outside of which the resolvers know an address; the proof has containers ask for it. Without"
        " it any answer but a refusal is proof enough, also that a name that can't be does not exist.",
        examples=["www.example.net"],
    )


class PluginTls(_Part):
    """How a plugin with a `tcp://` address is reached: files on the hosts."""

    ca: HostPath = Field(description="The authority that has signed the plugin's certificate.")
    cert: HostPath = Field(description="The engine's own certificate.")
    key: HostPath = Field(description="The key of that.")


class PluginEntry(_Part):
    """A network plugin of the engines, under the name that networks have as their `driver`.

    With an `address` it runs already, and the engine is told where; with an `image` or an `archive` the engine runs it, and
    networks name it with its tag: `driver: NAME:latest`.
    """

    model_config = ConfigDict(title="Plugin")

    address: PluginAddress | None = Field(
        default=None,
        description="Where a plugin listens that runs by itself: `unix:///run/NAME.sock` or `tcp://127.0.0.1:8080`. Its spec"
        " file is written to /etc/docker/plugins.",
        examples=["unix:///run/overnet/overnet.sock"],
    )
    tls: PluginTls | None = Field(default=None, description="How it is reached over `tcp://` with certificates.")
    image: PluginImage | None = Field(
        default=None, description="A plugin of a registry that the hosts reach.", examples=["registry.example.net/overnet:1.2"]
    )
    archive: FilePath | None = Field(
        default=None,
        description="A plugin in a file of this machine: a tar with config.json and rootfs/, as `docker plugin create` takes"
        " them. A relative path starts at the inventory's folder.",
        examples=["files/overnet.tar"],
    )
    sha256: Sha256 | None = Field(default=None, description="The SHA-256 sum of `archive`, 64 hexadecimal digits.")
    grant: Grant = Field(
        default=(),
        description="What a plugin of an image or archive may do to the host, as Docker asks for it: `network host`, `mount PATH`,"
        " `device PATH`, `capabilities CAP_NET_ADMIN`, `host ipc namespace`, `host pid namespace`, `allow-all-devices`; or"
        " `all`, whatever it is. One that asks for more is not installed.",
        examples=[["network host", "capabilities CAP_NET_ADMIN"]],
    )
    settings: Mapping[SettingKey, SettingValue] = Field(
        default_factory=dict, description="Its settings: texts by name, as `docker plugin set` takes them."
    )
    enabled: Truth = Field(default=True, description="Whether the engine runs it.")
    hosts: Hosts | None = Field(default=None, description="The hosts that have it. Without it every one.")

    def on(self, host: str) -> bool:
        """Whether this host is to have it."""
        return self.hosts is None or host in self.hosts


class AddressPool(_Part):
    """Where a swarm's networks get their subnets from, where none is given."""

    pools: Pools = Field(description="IPv4 ranges in CIDR form.", examples=[["10.20.0.0/16"]])
    size: PoolSize = Field(default=24, description="The prefix length of each network's subnet, 8 to 29.")


class SwarmPart(_Part):
    """How the engines' swarm is made. The last two can be chosen only when it is made."""

    model_config = ConfigDict(title="Swarm")

    managers: Servers | None = Field(
        default=None,
        description="The hosts that are managers: 1, 3 or 5 of them. Without it the first host of one or two, the first three"
        " of three or four, the first five of five or more; managers that are there already stay so.",
        examples=[["node1", "node2", "node3"]],
    )
    data_path_port: DataPort | None = Field(
        default=None, description="The UDP port of VXLAN, 1024 to 49151. Without it 4789. Chosen when the swarm is made."
    )
    default_addr_pool: AddressPool | None = Field(
        default=None,
        description="Where networks without a subnet of their own get it from, `ingress` among them. Chosen when the swarm"
        " is made.",
    )


class NetworkEntry(_Part):
    """One network of containers, as the file has it.

    `overlay` networks, and those of plugins with `scope: global`, are made once for all hosts. All others are local: made
    on each host by itself, and containers on one host do not reach those on another by them, but for macvlan and ipvlan on
    a shared network.
    """

    model_config = ConfigDict(
        title="Network",
        json_schema_extra={
            "anyOf": [
                {"required": ["subnet"]},
                {"required": ["driver"], "properties": {"driver": {"not": {"enum": ["overlay", "macvlan", "ipvlan"]}}}},
            ]
        },
    )

    driver: Driver = Field(
        default="overlay",
        description="The network's driver: `overlay`, `bridge`, `macvlan`, `ipvlan`, or the name of a plugin.",
    )
    scope: Scope | None = Field(
        default=None,
        description="Of a plugin's driver: `global`, the network is made once for all hosts, or `local`, on each host.",
    )
    hosts: Hosts | None = Field(
        default=None, description="Of a local network: the hosts it is made on. Without it on every one."
    )
    subnet: Subnet | None = Field(
        default=None,
        description="The network's IPv4 range in CIDR form. Of an overlay: with room for an address on every host; it must"
        " overlap nothing that the hosts reach otherwise, which is why it is not left to Docker. Of macvlan and ipvlan:"
        " the range of the parent's network. Bridges and plugins' networks may leave it to the engine.",
        examples=["10.99.0.0/24"],
    )
    gateway: Ipv4 | None = Field(
        default=None,
        description="The gateway's address in the subnet. Without it Docker takes the first one. Of macvlan and ipvlan: the"
        " router's address on the parent's network.",
    )
    ip_range: Ranges | None = Field(
        default=None,
        description="The part of the subnet that containers get addresses from. Of a local network it may be one for each"
        " host, which macvlan and ipvlan on several hosts need: `{node1: 192.168.56.64/27, node2: 192.168.56.96/27}`.",
        examples=["10.99.0.128/25"],
    )
    subnet6: Subnet6 | None = Field(
        default=None,
        description="The network's IPv6 range, beside `subnet`. Not of overlays, which have no working IPv6.",
        examples=["fd99::/64"],
    )
    gateway6: Ipv6 | None = Field(default=None, description="The gateway's address in `subnet6`.")
    ip_range6: Ranges6 | None = Field(
        default=None, description="The part of `subnet6` that containers get addresses from; as `ip_range`."
    )
    aux_addresses: Mapping[LabelKey, Either] = Field(
        default_factory=dict,
        description="Addresses of the subnets that others have, so that no container gets one: by a name of your choice.",
    )
    parent: Parents | None = Field(
        default=None,
        description="Of macvlan and ipvlan: the hosts' interface that containers are put on, `eth1`, or one of its VLANs,"
        " `eth1.50`, which is made. One for all hosts, or one for each: `{node1: eth1, node2: enp3s0}`.",
    )
    mode: Mode | None = Field(
        default=None,
        description="Of macvlan: `bridge`, `private`, `vepa` or `passthru`; of ipvlan: `l2`, `l3` or `l3s`. Without it the"
        " first of them.",
    )
    mtu: Mtu | None = Field(
        default=None,
        description="Of an overlay: the MTU of the network between the hosts, in bytes, 576 to 65535; containers get 50 less."
        " Without it the smallest of the hosts' interfaces on that network is taken. Of a bridge: the containers' MTU.",
    )
    internal: Truth = Field(
        default=False, description="Whether containers are kept from reaching anything outside this network."
    )
    options: Mapping[OptionKey, OptionValue] = Field(
        default_factory=dict,
        description="More of the driver's options, by their whole names, as they are given to the engine:"
        " `com.docker.network.bridge.name`, `com.docker.network.bridge.enable_icc` and others.",
    )
    labels: Mapping[LabelKey, LabelValue] = Field(
        default_factory=dict, description="Labels of the Docker network: texts by name."
    )
    attachable: Truth = Field(
        default=True,
        description="In a swarm: whether containers may join that are no service's. Without it nothing can be proven.",
    )
    encrypted: Truth = Field(
        default=False,
        description="In a swarm: whether packets between hosts are encrypted (IPsec). An external store can't.",
    )


class Network(NetworkEntry):
    """One network of containers, with its name."""

    name: NetworkName

    @property
    def is_global(self) -> bool:
        """Whether it is made once for all hosts."""
        return SCOPES.get(self.driver, self.scope) == "global"

    def on(self, host: str) -> bool:
        """Whether this host is to have it."""
        return self.hosts is None or host in self.hosts

    def range_on(self, host: str) -> IPv4Network | None:
        return (self.ip_range or {}).get(host) or (self.ip_range or {}).get(EVERY_HOST)

    def range6_on(self, host: str) -> IPv6Network | None:
        return (self.ip_range6 or {}).get(host) or (self.ip_range6 or {}).get(EVERY_HOST)

    def parent_on(self, host: str) -> str:
        """The interface that its containers are put on, "" where there is none."""
        return (self.parent or {}).get(host) or (self.parent or {}).get(EVERY_HOST, "")


class InventoryFile(_Part):
    """A cluster: its hosts, how they are reached, the store that their engines share, and the networks to build."""

    model_config = _FOR_OTHERS

    cluster: ClusterName = Field(description="The cluster's name.", examples=["lab"])
    ssh: Ssh = Field(default_factory=Ssh, description="How the hosts are reached.")
    hosts: Mapping[HostName, Host] = Field(
        description="The hosts by name. A name is the host's name in the store and in reports; it need not be its hostname.",
        examples=[{"node1": {"address": "192.168.56.11"}}],
        json_schema_extra={"minProperties": 1},
    )
    advertise: Advertise | None = Field(
        default=None, description="For all hosts: the interface (`eth1`) that the others reach the engine at."
    )
    control_plane: _ControlPlane = Field(
        default="auto",
        description="How the engines find one another: `kv`, through an external store, which engines up to 20.10 can;"
        " `swarm`, which those from 23.0 on must; `auto`: what is in use already, else `kv` where a store is named and every"
        " engine can use it, else `swarm`.",
    )
    store: Store | None = Field(
        default=None,
        description="What the engines find one another through, in `kv`. In `swarm` there is none.",
        examples=[{"kind": "consul"}],
    )
    swarm: SwarmPart | None = Field(default=None, description="How the engines' swarm is made, in `swarm`.")
    dns: Dns = Field(default_factory=Dns, description="Which resolvers containers reach through their engine.")
    plugins: Mapping[PluginName, PluginEntry] = Field(default_factory=dict, description="Network plugins of the engines by name.")
    networks: Mapping[NetworkName, NetworkEntry] = Field(
        description="The networks by name.",
        examples=[{"demo": {"subnet": "10.99.0.0/24"}}],
        json_schema_extra={"minProperties": 1},
    )


class Inventory(InventoryFile):
    """A sound inventory. Its paths are absolute; hosts and networks are in the order of the file."""

    path: Path
    networks: Mapping[NetworkName, Network]

    @property
    def servers(self) -> tuple[str, ...]:
        """The hosts that run the store, or manage the swarm: those that are named, or the first 1, 3 or 5 of all; none of an
        external store.
        """
        if self.store and self.store.endpoints:
            return ()
        named = self.store.servers if self.store else self.swarm.managers if self.swarm else None
        return named or tuple(self.hosts)[: default_servers(len(self.hosts))]

    @property
    def the_store(self) -> Store:
        """The store of an inventory that names one, as each does whose control plane is kv."""
        if self.store is None:
            raise ValueError("there is no store in swarm mode")
        return self.store

    def target(self, host: str) -> SshTarget:
        """How this host is reached, with everything that it leaves out taken from `ssh`. KeyError: no such host."""
        entry, ssh = self.hosts[host], self.ssh
        target = SshTarget(
            name=host,
            address=entry.address,
            port=entry.port or ssh.port,
            user=entry.user or ssh.user,
            key=entry.key or ssh.key,
            host_keys=ssh.host_keys,
            known_hosts=ssh.known_hosts,
            connect_timeout=ssh.connect_timeout,
        )
        jump: SshTarget | None = None
        for hop in (ssh.jump if entry.jump is None else entry.jump) or ():
            jump = replace(
                target,
                name=hop.address,
                address=hop.address,
                port=hop.port or _SSH,
                user=hop.user or target.user,
                jump=jump,
            )
        return replace(target, jump=jump)

    def without(self, host: str) -> "Inventory":
        """The same without a host."""
        hosts = {name: entry for name, entry in self.hosts.items() if name != host}
        return self.model_copy(update={"hosts": hosts})

    def with_host(self, name: str, address: str) -> "Inventory":
        """The same and one host more, reached as `ssh` says."""
        return self.model_copy(update={"hosts": {**self.hosts, name: Host(address=address)}})

    def advertise_for(self, host: str) -> str | None:
        """The interface or IPv4 address this host advertises; None: to be found out. KeyError: no such host."""
        return self.hosts[host].advertise or self.advertise


def default_servers(hosts: int) -> int:
    """How many servers a store has where none are named: an odd number, so that a majority is never half."""
    return 5 if hosts >= _FIVE else 3 if hosts >= _THREE else 1
