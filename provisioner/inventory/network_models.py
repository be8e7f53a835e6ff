"""The models for `networks`."""

from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network

from pydantic import ConfigDict, Field

from provisioner.inventory.fields import (
    Driver,
    Either,
    Hosts,
    Ipv4,
    Ipv6,
    LabelKey,
    LabelValue,
    Mode,
    Mtu,
    NetworkName,
    OptionKey,
    OptionValue,
    Parents,
    Ranges,
    Ranges6,
    Scope,
    Subnet,
    Subnet6,
    Truth,
)
from provisioner.inventory.network_values import EVERY_HOST, SCOPES
from provisioner.inventory.part import Part


class NetworkEntry(Part):
    """One network of containers, as written in the file.

    `overlay` networks, and those of plugins with `scope: global`, are created once for all hosts. All other networks are
    local: created on each host separately. Containers on different hosts do not reach one another through a local network,
    except with macvlan and ipvlan on a shared network.
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
        description="For a plugin's driver. `global`: the network is created once for all hosts. `local`: it is"
        " created on each host.",
    )
    hosts: Hosts | None = Field(
        default=None, description="For a local network: the hosts on which it is created. Default: all hosts."
    )
    subnet: Subnet | None = Field(
        default=None,
        description="The network's IPv4 range in CIDR form. For an overlay: it needs an address for every host"
        " and must not overlap any network that the hosts use. Therefore Docker can't choose it. For"
        " macvlan and ipvlan: the range of the parent's network. For bridges and plugins, the engine"
        " can choose it.",
        examples=["10.99.0.0/24"],
    )
    gateway: Ipv4 | None = Field(
        default=None,
        description="The gateway's address in the subnet. Default: Docker uses the first one. For macvlan and"
        " ipvlan: the router's address on the parent's network.",
    )
    ip_range: Ranges | None = Field(
        default=None,
        description="The part of the subnet from which containers get addresses. A local network can have one for"
        " each host, and macvlan and ipvlan on several hosts must: `{node1: 192.168.56.64/27, node2:"
        " 192.168.56.96/27}`.",
        examples=["10.99.0.128/25"],
    )
    subnet6: Subnet6 | None = Field(
        default=None,
        description="The network's IPv6 range, in addition to `subnet`. Not for overlays: IPv6 does not work there.",
        examples=["fd99::/64"],
    )
    gateway6: Ipv6 | None = Field(default=None, description="The gateway's address in `subnet6`.")
    ip_range6: Ranges6 | None = Field(
        default=None, description="The part of `subnet6` from which containers get addresses; like `ip_range`."
    )
    aux_addresses: Mapping[LabelKey, Either] = Field(
        default_factory=dict,
        description="Addresses in the subnets that are used elsewhere, so no container gets them. The names are"
        " your choice.",
    )
    parent: Parents | None = Field(
        default=None,
        description="For macvlan and ipvlan: the hosts' interface for the containers, `eth1`, or one of its"
        " VLANs, `eth1.50`, which is created. One for all hosts, or one for each: `{node1: eth1,"
        " node2: enp3s0}`.",
    )
    mode: Mode | None = Field(
        default=None,
        description="For macvlan: `bridge`, `private`, `vepa` or `passthru`. For ipvlan: `l2`, `l3` or `l3s`."
        " Default: the first one.",
    )
    mtu: Mtu | None = Field(
        default=None,
        description="For an overlay: the MTU of the network between the hosts in bytes, 576 to 65535; containers"
        " get 50 less. Default: the smallest measured path MTU between the hosts. For a bridge: the"
        " containers' MTU.",
    )
    internal: Truth = Field(
        default=False, description="Whether containers are cut off from everything outside this network."
    )
    options: Mapping[OptionKey, OptionValue] = Field(
        default_factory=dict,
        description="Further options of the driver, with their full names, passed to the engine:"
        " `com.docker.network.bridge.name`, `com.docker.network.bridge.enable_icc` and others.",
    )
    labels: Mapping[LabelKey, LabelValue] = Field(
        default_factory=dict, description="Labels of the Docker network: strings by name."
    )
    attachable: Truth = Field(
        default=True,
        description="For a network that a swarm creates once for all hosts: whether containers outside services"
        " may join. Without this, nothing can be proven.",
    )
    encrypted: Truth = Field(
        default=False,
        description="For an overlay in a swarm: whether packets between hosts are encrypted (IPsec). Not"
        " available with an external store.",
    )


class Network(NetworkEntry):
    """One network of containers, with its name."""

    name: NetworkName

    @property
    def is_global(self) -> bool:
        """Whether the network is created once for all hosts."""
        return SCOPES.get(self.driver, self.scope) == "global"

    @property
    def headers(self) -> int:
        """Bytes by which the MTU of an overlay's containers is smaller than that of the path between hosts.

        VXLAN takes 50, and ESP 26 more. libnetwork then rounds down to 4 bytes (drivers/overlay, maxMTU).
        """
        return 76 if self.encrypted else 50

    def on(self, host: str) -> bool:
        """Whether this host should have the network."""
        return self.hosts is None or host in self.hosts

    def range_on(self, host: str) -> IPv4Network | None:
        return (self.ip_range or {}).get(host) or (self.ip_range or {}).get(EVERY_HOST)

    def range6_on(self, host: str) -> IPv6Network | None:
        return (self.ip_range6 or {}).get(host) or (self.ip_range6 or {}).get(EVERY_HOST)

    def parent_on(self, host: str) -> str:
        """The parent interface of its containers, or ""."""
        return (self.parent or {}).get(host) or (self.parent or {}).get(EVERY_HOST, "")
