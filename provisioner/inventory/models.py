"""The models of an inventory. The schema and docs/inventory.md are generated from the descriptions in the models."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, PlainValidator, WithJsonSchema

from provisioner.inventory.engine_models import DATA_PORT, ENGINES_POOL, AddressPool, Dns, PluginEntry, SwarmPart
from provisioner.inventory.fields import (
    Address,
    Advertise,
    ClusterName,
    FilePath,
    HostName,
    Jump,
    NetworkName,
    PluginName,
    Port,
    Seconds,
    SshConfig,
    User,
)
from provisioner.inventory.network_models import Network, NetworkEntry
from provisioner.inventory.part import Part
from provisioner.inventory.store_models import Store
from provisioner.inventory.values import one_of
from provisioner.model import SshTarget

_SSH = 22
_FROM_SSH = frozenset({"user", "port", "key", "jump", "host_keys", "known_hosts", "connect_timeout"})
_FIVE = 5
_THREE = 3

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


_FOR_OTHERS = ConfigDict(json_schema_extra={"patternProperties": {"^x-": {}}})


class Ssh(Part):
    """How to reach the hosts. A host can override `user`, `key`, `port` and `jump`."""

    config: SshConfig = Field(
        default="",
        description="OpenSSH's configuration, which supplies what the inventory does not name. By default, ~/.ssh/config and"
        " /etc/ssh/ssh_config. A file: this one alone. `none`: no configuration.",
        examples=["files/ssh_config"],
    )
    user: User | None = Field(
        default=None,
        description="The login user. Default: `User` of OpenSSH's configuration, else root. Any user other than root needs"
        " sudo, without a password or with --ask-sudo-password.",
    )
    key: FilePath | None = Field(
        default=None,
        description="The private key file. By default, the SSH agent's keys and those of OpenSSH's configuration, else the"
        " usual files in ~/.ssh, are tried. `~` is your home folder; a relative path starts at the inventory's folder.",
        examples=["~/.ssh/id_ed25519"],
    )
    port: Port = Field(default=22, description="The SSH server's port.")
    jump: Jump | None = Field(
        default=None,
        description="The jump host: `user@host:port`; user and port are optional. Separate several with commas,"
        " as in OpenSSH's ProxyJump. Jump hosts use the same `key`, `host_keys` and `known_hosts`. `none`: a direct connection.",
        examples=["ops@bastion.example.net:2222"],
    )
    host_keys: _HostKeys = Field(
        default="strict",
        description="`strict`: connect only to hosts whose key is in known_hosts. `accept-new`: add the key of a"
        " host that is seen for the first time. Both refuse a changed key.",
    )
    known_hosts: FilePath = Field(
        default=Path("~/.ssh/known_hosts"),
        validate_default=True,
        description="The file with the hosts' keys. Only `accept-new` writes to it.",
    )
    connect_timeout: Seconds = Field(
        default=10.0, description="Seconds to wait for a host that does not answer, 1 to 600."
    )


class Host(Part):
    """One machine. Defaults come from `ssh` and from the inventory's `advertise`."""

    model_config = _FOR_OTHERS

    address: Address = Field(
        description="The address for SSH: an IP address, a host name, or a `Host` of OpenSSH's configuration, without user"
        " and port.",
        examples=["192.168.56.11"],
    )
    port: Port | None = Field(default=None, description="The SSH server's port on this host. Overrides `ssh.port`.")
    user: User | None = Field(default=None, description="The login user on this host. Overrides `ssh.user`.")
    key: FilePath | None = Field(default=None, description="The private key file for this host. Overrides `ssh.key`.")
    jump: Jump | None = Field(
        default=None, description="The jump hosts of this host. Overrides `ssh.jump`; `none` means a direct connection."
    )
    advertise: Advertise | None = Field(
        default=None,
        description="Where other hosts reach this host's engine: an interface (`eth1`) or an IPv4 address. By"
        " default, the address is detected on the host.",
        examples=["eth1", "192.168.56.11"],
    )


class InventoryFile(Part):
    """A cluster: its hosts, how to reach them, the store that their engines share, and the networks to build."""

    model_config = _FOR_OTHERS

    cluster: ClusterName = Field(description="The cluster's name.", examples=["lab"])
    ssh: Ssh = Field(default_factory=Ssh, description="How to reach the hosts.")
    hosts: Mapping[HostName, Host] = Field(
        description="The hosts by name. The store and reports use this name; it can differ from the hostname.",
        examples=[{"node1": {"address": "192.168.56.11"}}],
        json_schema_extra={"minProperties": 1},
    )
    advertise: Advertise | None = Field(
        default=None,
        description="For all hosts: the interface (`eth1`) on which others reach the engine. An address is"
        " allowed only if there is one host.",
    )
    control_plane: _ControlPlane = Field(
        default="auto",
        description="How the engines find one another. `kv`: through an external store; supported by engines up"
        " to 20.10. `swarm`: in swarm mode; required for engines 23.0 and later. `auto`: without a"
        " store, `swarm`. With a store, what is already in use (a store outweighs a swarm); otherwise"
        " `kv` if every engine supports it, else `swarm`.",
    )
    store: Store | None = Field(
        default=None,
        description="The store through which the engines find one another, in `kv`. A `swarm` has none.",
        examples=[{"kind": "consul"}],
    )
    swarm: SwarmPart | None = Field(default=None, description="Settings of the engines' swarm, in `swarm`.")
    dns: Dns = Field(default_factory=Dns, description="The resolvers that containers use through their engine.")
    plugins: Mapping[PluginName, PluginEntry] = Field(
        default_factory=dict, description="Network plugins of the engines by name."
    )
    networks: Mapping[NetworkName, NetworkEntry] = Field(
        description="The networks by name.",
        examples=[{"demo": {"subnet": "10.99.0.0/24"}}],
        json_schema_extra={"minProperties": 1},
    )


class Inventory(InventoryFile):
    """A valid inventory. Paths are absolute; hosts and networks are in the order of the file."""

    path: Path
    networks: Mapping[NetworkName, Network]
    reach: Mapping[str, Any] = Field(default_factory=dict)  # host -> its SshTarget, once `reached`
    hidden: tuple[str, ...] = Field(default=(), repr=False)  # values of `!env` and `!file`, which may be secrets

    @property
    def servers(self) -> tuple[str, ...]:
        """The hosts that run the store or manage the swarm: the named ones, or the first 1, 3 or 5. An external store
        has none.
        """
        if self.store and self.store.endpoints:
            return ()
        named = self.store.servers if self.store else self.swarm.managers if self.swarm else None
        return named or tuple(self.hosts)[: default_servers(len(self.hosts))]

    @property
    def the_store(self) -> Store:
        """The store; every inventory with control plane kv has one."""
        if self.store is None:
            raise ValueError("there is no store in swarm mode")
        return self.store

    @property
    def data_path_port(self) -> int:
        """The UDP port of VXLAN in a swarm."""
        return (self.swarm and self.swarm.data_path_port) or DATA_PORT

    @property
    def address_pool(self) -> AddressPool:
        """The pool for networks of a swarm without a subnet."""
        return (self.swarm and self.swarm.default_addr_pool) or ENGINES_POOL

    def target(self, host: str) -> SshTarget:
        """Return the SSH target of this host, as last `reached`. Raises KeyError for an unknown host."""
        found: SshTarget | None = self.reach.get(host)
        return found or self.written_target(host)

    def written_target(self, host: str) -> SshTarget:
        """Return the SSH target as written in the file, with defaults. Raises KeyError for an unknown host."""
        entry, ssh = self.hosts[host], self.ssh
        target = SshTarget(
            name=host,
            address=entry.address,
            port=entry.port or ssh.port,
            user=entry.user or ssh.user or "root",
            key=entry.key or ssh.key,
            host_keys=ssh.host_keys,
            known_hosts=ssh.known_hosts,
            connect_timeout=ssh.connect_timeout,
            named=frozenset((entry.model_fields_set | ssh.model_fields_set) & _FROM_SSH),
            config=ssh.config,
        )
        jump: SshTarget | None = None
        for hop in (ssh.jump if entry.jump is None else entry.jump) or ():
            named = {key for key in ("user", "port") if getattr(hop, key)}
            jump = replace(
                target,
                name=hop.address,
                address=hop.address,
                port=hop.port or _SSH,
                user=hop.user or target.user,
                jump=jump,
                named=(target.named - {"user", "port", "jump"}) | named,
            )
        return replace(target, jump=jump)

    def reached(self, targets: Mapping[str, SshTarget]) -> "Inventory":
        """Return the inventory with these targets of hosts, which OpenSSH's configuration has completed."""
        return self.model_copy(update={"reach": {**self.reach, **targets}})

    def without(self, host: str) -> "Inventory":
        """Return the inventory without a host, also in `servers` and `managers`; an empty list is removed."""

        def left(names: tuple[str, ...] | None) -> tuple[str, ...] | None:
            return tuple(name for name in names or () if name != host) or None

        parts: dict[str, object] = {"hosts": {name: entry for name, entry in self.hosts.items() if name != host}}
        if self.store:
            parts["store"] = self.store.model_copy(update={"servers": left(self.store.servers)})
        if self.swarm:
            parts["swarm"] = self.swarm.model_copy(update={"managers": left(self.swarm.managers)})
        return self.model_copy(update=parts)

    def key_naming(self, host: str) -> tuple[str, int]:
        """Return the key that names a host as server or manager, and the number of others in it; "" if none does."""
        store, swarm = self.store, self.swarm
        named = {"store.servers": store.servers if store else (), "swarm.managers": swarm.managers if swarm else ()}
        return next(((key, len(names) - 1) for key, names in named.items() if names and host in names), ("", 0))

    def with_host(self, name: str, address: str) -> "Inventory":
        """Return the inventory with one more host, which uses the settings of `ssh`."""
        return self.model_copy(update={"hosts": {**self.hosts, name: Host(address=address)}})

    def advertise_for(self, host: str) -> str | None:
        """Return the interface or IPv4 address that this host advertises, or None to detect it. Raises KeyError."""
        return self.hosts[host].advertise or self.advertise


def default_servers(hosts: int) -> int:
    """The default number of servers of a store. It is odd, because an additional even server would not tolerate more failures."""
    return 5 if hosts >= _FIVE else 3 if hosts >= _THREE else 1
