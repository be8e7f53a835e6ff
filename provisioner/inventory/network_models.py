"""What `networks` says, as objects."""

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
        " Without it the smallest path between the hosts is measured. Of a bridge: the containers' MTU.",
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
        description="Of a network that a swarm makes once for all hosts: whether containers may join that are no service's. Without"
        " it nothing can be proven.",
    )
    encrypted: Truth = Field(
        default=False,
        description="Of an overlay in a swarm: whether packets between hosts are encrypted (IPsec). An external store can't.",
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
