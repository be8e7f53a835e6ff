"""The models for `dns`, `plugins` and `swarm`."""

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

DATA_PORT: Final = 4789  # the default UDP port of VXLAN


class Dns(Part):
    """How the engines' DNS servers resolve names other than those of containers. By default, they use the host's resolvers.

    The settings are part of daemon.json, which an engine reads only at its start. After a change, engines that have run
    before restart, one after the other. Engines without containers and without a store restart all at once.
    """

    servers: DnsServers = Field(
        default=(),
        description="The resolvers for external names, one to three addresses, in this order: `dns` of"
        " daemon.json. At least one must be IPv4: engines do not forward to IPv6 addresses, but leave"
        " these to the programs in containers.",
        examples=[["192.0.2.53", "192.0.2.54"]],
    )
    search: DnsSearch = Field(
        default=(),
        description="The search domains for short names in containers: `dns-search`.",
        examples=[["example.net"]],
    )
    options: DnsOptions = Field(
        default=(),
        description="The options in the containers' resolv.conf: `dns-opts`.",
        examples=[["timeout:2", "attempts:3"]],
    )
    check: DnsName | None = Field(
        default=None,
        description="An external name that must have an address; the proof resolves it in containers. By default,"
        " any answer except a refusal is enough, for example that an invalid name does not exist.",
        examples=["www.example.net"],
    )


class PluginTls(Part):
    """TLS for a plugin with a `tcp://` address: files on the hosts."""

    ca: HostPath = Field(description="The authority that signed the plugin's certificate.")
    cert: HostPath = Field(description="The engine's client certificate.")
    key: HostPath = Field(description="The private key of the client certificate.")


class PluginEntry(Part):
    """A network plugin of the engines, under the name that networks use as their `driver`.

    With an `address`, the plugin already runs, and the engine learns its address. With an `image` or an `archive`, the engine
    runs it, and networks name it with its tag: `driver: NAME:latest`.
    """

    model_config = ConfigDict(title="Plugin")

    address: PluginAddress | None = Field(
        default=None,
        description="The address of a plugin that already runs: `unix:///run/NAME.sock` or"
        " `tcp://127.0.0.1:8080`. It is written to a spec file in /etc/docker/plugins. An engine that"
        " has used the plugin loads a changed address only after a restart.",
        examples=["unix:///run/overnet/overnet.sock"],
    )
    tls: PluginTls | None = Field(default=None, description="TLS for a `tcp://` address.")
    image: PluginImage | None = Field(
        default=None,
        description="A plugin from a registry that the hosts can reach.",
        examples=["registry.example.net/overnet:1.2"],
    )
    archive: FilePath | None = Field(
        default=None,
        description="A plugin from a local tar file with config.json and rootfs/, as for `docker plugin create`."
        " A relative path starts at the inventory's folder.",
        examples=["files/overnet.tar"],
    )
    sha256: Sha256 | None = Field(default=None, description="The SHA-256 checksum of `archive`, 64 hexadecimal digits.")
    grant: Grant = Field(
        default=(),
        description="The permissions of a plugin from an image or archive, in Docker's words: `network host`,"
        " `mount PATH`, `device PATH`, `capabilities CAP_NET_ADMIN`, `host ipc namespace`, `host pid"
        " namespace`, `allow-all-devices`; or `all`. A plugin that requires more is not installed."
        " Neither is one whose tag moves to another image between check and installation.",
        examples=[["network host", "capabilities CAP_NET_ADMIN"]],
    )
    settings: Mapping[SettingKey, SettingValue] = Field(
        default_factory=dict,
        description="The plugin's settings by name, as for `docker plugin set`. They can be secrets, from `!env`"
        " or `!file`: they appear in no plan, report or argument. Anyone with access to the engine can"
        " read them there.",
    )
    enabled: Truth = Field(
        default=True, description="Whether the engine runs the plugin. Networks of a disabled plugin are refused."
    )
    hosts: Hosts | None = Field(
        default=None,
        description="The hosts that have the plugin, including all hosts of its networks. Default: all hosts.",
    )

    def on(self, host: str) -> bool:
        """Whether this host should have the plugin."""
        return self.hosts is None or host in self.hosts


class AddressPool(Part):
    """Where a swarm's networks get a subnet from if they have none."""

    pools: Pools = Field(description="IPv4 ranges in CIDR form.", examples=[["10.20.0.0/16"]])
    size: PoolSize = Field(default=24, description="The prefix length of each network's subnet, 8 to 29.")

    @property
    def first(self) -> IPv4Network:
        """The subnet that a new swarm uses for its network `ingress`."""
        return next(self.pools[0].subnets(new_prefix=self.size))


ENGINES_POOL: Final = AddressPool.model_construct(pools=(IPv4Network("10.0.0.0/8"),), size=24)
"""The default pool of a swarm."""


class SwarmPart(Part):
    """Settings of the engines' swarm.

    The last two are fixed when the swarm is created. A swarm with other values is refused.
    """

    model_config = ConfigDict(title="Swarm")

    managers: Servers | None = Field(
        default=None,
        description="The hosts that are managers: 1, 3 or 5. Default: the first host of one or two, the first"
        " three of three or four, the first five of five or more. Existing managers stay managers.",
        examples=[["node1", "node2", "node3"]],
    )
    data_path_port: DataPort | None = Field(
        default=None,
        description="The UDP port of VXLAN, 1024 to 49151. Default: 4789. Fixed when the swarm is created.",
    )
    default_addr_pool: AddressPool | None = Field(
        default=None,
        description="Where networks without a `subnet`, including `ingress`, get one from. Fixed when the swarm"
        " is created.",
    )
