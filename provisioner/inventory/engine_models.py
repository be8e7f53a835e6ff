"""What `dns`, `plugins` and `swarm` say of the engines, as objects."""

from collections.abc import Mapping
from ipaddress import IPv4Network
from typing import Final

from pydantic import ConfigDict, Field

from provisioner.inventory.fields import (
    DataPort,
    DnsName,
    DnsOptions,
    DnsSearch,
    DnsServers,
    FilePath,
    Grant,
    HostPath,
    Hosts,
    PluginAddress,
    PluginImage,
    Pools,
    PoolSize,
    Servers,
    SettingKey,
    SettingValue,
    Sha256,
    Truth,
)
from provisioner.inventory.part import Part

DATA_PORT: Final = 4789  # udp: of VXLAN, where no other is chosen


class Dns(Part):
    """What the engines' own DNS servers do with names that are no container's. Without it they ask what each host asks.

    It is part of daemon.json, which an engine reads at its start: with a change each engine that has run before is
    restarted, one after the other; engines that run no container and are on no store yet, all at once.
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


class PluginTls(Part):
    """How a plugin with a `tcp://` address is reached: files on the hosts."""

    ca: HostPath = Field(description="The authority that has signed the plugin's certificate.")
    cert: HostPath = Field(description="The engine's own certificate.")
    key: HostPath = Field(description="The key of that.")


class PluginEntry(Part):
    """A network plugin of the engines, under the name that networks have as their `driver`.

    With an `address` it runs already, and the engine is told where; with an `image` or an `archive` the engine runs it, and
    networks name it with its tag: `driver: NAME:latest`.
    """

    model_config = ConfigDict(title="Plugin")

    address: PluginAddress | None = Field(
        default=None,
        description="Where a plugin listens that runs by itself: `unix:///run/NAME.sock` or `tcp://127.0.0.1:8080`. Its spec"
        " file is written to /etc/docker/plugins. An engine that has asked a plugin once takes up a change of it when it is restarted.",
        examples=["unix:///run/overnet/overnet.sock"],
    )
    tls: PluginTls | None = Field(default=None, description="How it is reached over `tcp://` with certificates.")
    image: PluginImage | None = Field(
        default=None,
        description="A plugin of a registry that the hosts reach.",
        examples=["registry.example.net/overnet:1.2"],
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
        " `all`, whatever it is. One that asks for more is not installed, and neither is one whose tag is moved to another image between"
        " the question and the installation.",
        examples=[["network host", "capabilities CAP_NET_ADMIN"]],
    )
    settings: Mapping[SettingKey, SettingValue] = Field(
        default_factory=dict,
        description="Its settings: texts by name, as `docker plugin set` takes them. They may be secrets, from `!env` or `!file`: no plan"
        " or report shows them, and they are in no argument on hosts. Whoever may ask the engine can read them there.",
    )
    enabled: Truth = Field(
        default=True, description="Whether the engine runs it; networks of one that it does not run are refused."
    )
    hosts: Hosts | None = Field(
        default=None, description="The hosts that have it, among them all of its networks'. Without it every one."
    )

    def on(self, host: str) -> bool:
        """Whether this host is to have it."""
        return self.hosts is None or host in self.hosts


class AddressPool(Part):
    """Where a swarm's networks get their subnets from, where none is given."""

    pools: Pools = Field(description="IPv4 ranges in CIDR form.", examples=[["10.20.0.0/16"]])
    size: PoolSize = Field(default=24, description="The prefix length of each network's subnet, 8 to 29.")

    @property
    def first(self) -> IPv4Network:
        """The subnet that a swarm takes for its network `ingress` when it is made."""
        return next(self.pools[0].subnets(new_prefix=self.size))


ENGINES_POOL: Final = AddressPool.model_construct(pools=(IPv4Network("10.0.0.0/8"),), size=24)
"""Of a swarm whose pools nobody has chosen."""


class SwarmPart(Part):
    """How the engines' swarm is made. The last two can be chosen only when it is made; one that was made otherwise is refused."""

    model_config = ConfigDict(title="Swarm")

    managers: Servers | None = Field(
        default=None,
        description="The hosts that are managers: 1, 3 or 5 of them. Without it the first host of one or two, the first three"
        " of three or four, the first five of five or more; managers that are there already stay so.",
        examples=[["node1", "node2", "node3"]],
    )
    data_path_port: DataPort | None = Field(
        default=None,
        description="The UDP port of VXLAN, 1024 to 49151. Without it 4789. Chosen when the swarm is made.",
    )
    default_addr_pool: AddressPool | None = Field(
        default=None,
        description="Where networks without a subnet of their own get it from, `ingress` among them. Chosen when the swarm"
        " is made.",
    )
