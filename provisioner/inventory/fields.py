"""The types of the inventory's fields: each is a check and its JSON Schema, for editors."""

import re
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Annotated, Any

from pydantic import PlainValidator, WithJsonSchema

from provisioner.inventory import dns, network_values, plugins, values


def _string(pattern: re.Pattern[str], longest: int = 0) -> WithJsonSchema:
    schema: dict[str, Any] = {"type": "string", "pattern": f"^(?:{pattern.pattern})$".replace(r"\Z", "$")}
    return WithJsonSchema(schema | ({"maxLength": longest} if longest else {}))


def _number(lowest: int, highest: int, kind: str = "integer") -> WithJsonSchema:
    return WithJsonSchema({"type": kind, "minimum": lowest, "maximum": highest})


_CIDR_SCHEMA = WithJsonSchema({"type": "string", "pattern": r"^[0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2}$"})

HostName = Annotated[
    str,
    PlainValidator(
        values.matching(
            values.LABEL, "a host name has lower-case letters and digits, `-` between them, and at most 63 characters"
        )
    ),
    _string(values.LABEL),
]
ClusterName = Annotated[
    str,
    PlainValidator(
        values.matching(
            values.CLUSTER,
            "a cluster name has lower-case letters, digits, `-` and `_`, begins with a letter or digit, and has at most 63 characters",
        )
    ),
    _string(values.CLUSTER),
]
NetworkName = Annotated[
    str,
    PlainValidator(values.network_name),
    WithJsonSchema(
        {"type": "string", "pattern": f"^{values.NETWORK.pattern}$", "not": {"enum": list(values.RESERVED_NETWORKS)}}
    ),
]
User = Annotated[
    str,
    PlainValidator(
        values.matching(
            values.USER,
            "a user name has letters, digits, `_`, `.` and `-`, begins with a letter or `_`, and has at most 32 characters",
        )
    ),
    _string(values.USER),
]
Address = Annotated[
    str, PlainValidator(values.address), WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 253})
]
Jump = Annotated[
    tuple[values.Hop, ...],
    PlainValidator(values.jump),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 1024}),
]
Port = Annotated[int, PlainValidator(values.whole("port", 1, 65535)), _number(1, 65535)]
Mtu = Annotated[int, PlainValidator(values.whole("MTU", 576, 65535)), _number(576, 65535)]
Seconds = Annotated[float, PlainValidator(values.seconds), _number(1, 600, "number")]
Truth = Annotated[bool, PlainValidator(values.truth), WithJsonSchema({"type": "boolean"})]
Advertise = Annotated[str, PlainValidator(values.advertise), _string(values.INTERFACE)]
Subnet = Annotated[IPv4Network, PlainValidator(values.subnet), _CIDR_SCHEMA]
Ipv4 = Annotated[IPv4Address, PlainValidator(values.ipv4), WithJsonSchema({"type": "string", "format": "ipv4"})]
FilePath = Annotated[Path, PlainValidator(values.path), WithJsonSchema({"type": "string", "minLength": 1})]
LabelKey = Annotated[
    str,
    PlainValidator(
        values.matching(
            values.LABEL_KEY,
            "a label's name has letters and digits, single `.`, `_`, `/` and `-` between them, and at most 128 characters",
        )
    ),
    _string(values.LABEL_KEY),
]
LabelValue = Annotated[
    str, PlainValidator(values.label_value), WithJsonSchema({"type": "string", "maxLength": values.LONGEST_LABEL})
]
Prefix = Annotated[
    str,
    PlainValidator(
        values.matching(
            values.PREFIX,
            "a prefix has letters, digits, `-` and `_`, begins with one of the first two, and has single `/` between its at most 8 parts",
        )
    ),
    _string(values.PREFIX),
]
SshConfig = Annotated[str, PlainValidator(values.ssh_config), WithJsonSchema({"type": "string", "minLength": 1})]
Sha256 = Annotated[str, PlainValidator(values.sha256), _string(values.SHA256)]
Heartbeat = Annotated[int, PlainValidator(values.whole("number of seconds", 1, 86400)), _number(1, 86400)]
DnsServers = Annotated[
    tuple[IPv4Address | IPv6Address, ...],
    PlainValidator(dns.servers),
    WithJsonSchema(
        {"type": "array", "items": {"type": "string"}, "uniqueItems": True, "minItems": 1, "maxItems": dns.MOST_SERVERS}
    ),
]
DnsSearch = Annotated[
    tuple[str, ...],
    PlainValidator(dns.search),
    WithJsonSchema(
        {"type": "array", "items": {"type": "string"}, "uniqueItems": True, "minItems": 1, "maxItems": dns.MOST_DOMAINS}
    ),
]
DnsOptions = Annotated[
    tuple[str, ...],
    PlainValidator(dns.options),
    WithJsonSchema({"type": "array", "items": {"type": "string"}, "uniqueItems": True, "minItems": 1}),
]
PluginName = Annotated[
    str,
    PlainValidator(
        values.matching(
            plugins.NAME,
            "a plugin's name has letters, digits, `_`, `.` and `-`, begins with a letter or digit, and has at most 63 characters",
        )
    ),
    _string(plugins.NAME),
]
PluginAddress = Annotated[
    str, PlainValidator(plugins.address), WithJsonSchema({"type": "string", "pattern": "^(unix|tcp)://"})
]
PluginImage = Annotated[
    str,
    PlainValidator(
        values.matching(plugins.REFERENCE, "a reference is `NAME:TAG`, optionally with a registry in front")
    ),
    _string(plugins.REFERENCE),
]
HostPath = Annotated[str, PlainValidator(plugins.host_path), WithJsonSchema({"type": "string", "pattern": "^/"})]
Grant = Annotated[
    tuple[str, ...],
    PlainValidator(plugins.grant),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "enum": [plugins.ALL]},
                {"type": "array", "items": {"type": "string"}, "minItems": 1},
            ]
        }
    ),
]
SettingKey = Annotated[
    str,
    PlainValidator(values.matching(plugins.SETTING, "a setting's name has letters, digits and `_`")),
    _string(plugins.SETTING),
]
SettingValue = Annotated[str, PlainValidator(plugins.setting), WithJsonSchema({"type": "string", "maxLength": 1000})]
DnsName = Annotated[
    str, PlainValidator(dns.domain), WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 253})
]
Endpoints = Annotated[
    tuple[str, ...],
    PlainValidator(values.endpoints),
    WithJsonSchema({"type": "array", "items": {"type": "string"}, "uniqueItems": True, "minItems": 1, "maxItems": 9}),
]
DataPort = Annotated[int, PlainValidator(values.data_port), _number(1024, 49151)]
Pools = Annotated[
    tuple[IPv4Network, ...],
    PlainValidator(values.pools),
    WithJsonSchema({"type": "array", "items": {"type": "string"}, "uniqueItems": True, "minItems": 1, "maxItems": 16}),
]
PoolSize = Annotated[int, PlainValidator(values.whole("prefix length", 8, 29)), _number(8, 29)]
Servers = Annotated[
    tuple[str, ...],
    PlainValidator(values.listed),
    WithJsonSchema({"type": "array", "items": {"type": "string"}, "uniqueItems": True, "minItems": 1, "maxItems": 5}),
]
LocalUsers = Annotated[
    tuple[str, ...],
    PlainValidator(values.local_users),
    WithJsonSchema(
        {
            "type": "array",
            "items": {
                "anyOf": [
                    {"type": "string", "pattern": f"^(?:{values.LOCAL_USER.pattern})$"},
                    {"type": "integer", "minimum": 0, "maximum": 999999999},
                ]
            },
        }
    ),
]


Hosts = Annotated[
    tuple[str, ...],
    PlainValidator(values.listed),
    WithJsonSchema({"type": "array", "items": {"type": "string"}, "uniqueItems": True, "minItems": 1}),
]


def _each(schema: dict[str, Any]) -> WithJsonSchema:
    """The schema of one value for all hosts, or of a mapping with one value for each host."""
    by_host = {
        "type": "object",
        "description": "One for each host.",
        "minProperties": 1,
        "patternProperties": {f"^(?:{values.LABEL.pattern})$": schema},
        "additionalProperties": False,
    }
    return WithJsonSchema({"anyOf": [schema, by_host]})


_CIDR6: dict[str, Any] = {"type": "string", "pattern": "^[0-9a-fA-F:.]+/[0-9]{1,3}$"}
_INTERFACE: dict[str, Any] = {"type": "string", "pattern": f"^(?:{values.INTERFACE.pattern})$"}

Driver = Annotated[str, PlainValidator(network_values.driver), _string(network_values.DRIVER)]
Scope = Annotated[
    str,
    PlainValidator(values.one_of("local", "global")),
    WithJsonSchema({"type": "string", "enum": ["local", "global"]}),
]
Mode = Annotated[
    str,
    PlainValidator(values.one_of(*network_values.MODES)),
    WithJsonSchema({"type": "string", "enum": list(network_values.MODES)}),
]
Ranges = Annotated[
    Mapping[str, IPv4Network],
    PlainValidator(network_values.per_host(values.cidr)),
    _each(_CIDR_SCHEMA.json_schema or {}),
]
Subnet6 = Annotated[IPv6Network, PlainValidator(network_values.subnet6), WithJsonSchema(_CIDR6)]
Ranges6 = Annotated[
    Mapping[str, IPv6Network], PlainValidator(network_values.per_host(network_values.cidr6)), _each(_CIDR6)
]
Ipv6 = Annotated[IPv6Address, PlainValidator(network_values.ipv6), WithJsonSchema({"type": "string", "format": "ipv6"})]
Either = Annotated[IPv4Address | IPv6Address, PlainValidator(network_values.either), WithJsonSchema({"type": "string"})]
Parents = Annotated[
    Mapping[str, str], PlainValidator(network_values.per_host(network_values.interface)), _each(_INTERFACE)
]
OptionKey = Annotated[
    str,
    PlainValidator(
        values.matching(
            network_values.OPTION,
            "an option's name has letters, digits, `_`, `.`, `/` and `-`, begins with a letter or digit, and has at most 128 characters",
        )
    ),
    _string(network_values.OPTION),
]
OptionValue = Annotated[
    str,
    PlainValidator(network_values.option_value),
    WithJsonSchema(
        {"anyOf": [{"type": "string", "maxLength": values.LONGEST_LABEL}, {"type": "boolean"}, {"type": "integer"}]}
    ),
]
