"""The types of the inventory's fields: each is a check and its JSON Schema, for editors."""

import re
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Annotated, Any

from pydantic import PlainValidator, WithJsonSchema

from provisioner.inventory import values


def _string(pattern: re.Pattern[str], longest: int = 0) -> WithJsonSchema:
    schema: dict[str, Any] = {"type": "string", "pattern": f"^(?:{pattern.pattern})$".replace(r"\Z", "$")}
    return WithJsonSchema(schema | ({"maxLength": longest} if longest else {}))


def _number(lowest: int, highest: int, kind: str = "integer") -> WithJsonSchema:
    return WithJsonSchema({"type": kind, "minimum": lowest, "maximum": highest})


_RULE_LABEL = "lower-case letters, digits and `-`, at most 63, not at the ends a `-`"
_CIDR_SCHEMA = WithJsonSchema({"type": "string", "pattern": r"^[0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2}$"})

HostName = Annotated[
    str, PlainValidator(values.matching(values.LABEL, f"a host name has {_RULE_LABEL}")), _string(values.LABEL)
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
    tuple[values.Hop, ...], PlainValidator(values.jump), WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 1024})
]
Port = Annotated[int, PlainValidator(values.whole("port", 1, 65535)), _number(1, 65535)]
Mtu = Annotated[int, PlainValidator(values.whole("MTU", 576, 65535)), _number(576, 65535)]
Seconds = Annotated[float, PlainValidator(values.seconds), _number(1, 600, "number")]
Truth = Annotated[bool, PlainValidator(values.truth), WithJsonSchema({"type": "boolean"})]
Advertise = Annotated[str, PlainValidator(values.advertise), _string(values.INTERFACE)]
Subnet = Annotated[IPv4Network, PlainValidator(values.subnet), _CIDR_SCHEMA]
Range = Annotated[IPv4Network, PlainValidator(values.cidr), _CIDR_SCHEMA]
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
Sha256 = Annotated[str, PlainValidator(values.sha256), _string(values.SHA256)]
Heartbeat = Annotated[int, PlainValidator(values.whole("number of seconds", 1, 86400)), _number(1, 86400)]
Endpoints = Annotated[
    tuple[str, ...],
    PlainValidator(values.endpoints),
    WithJsonSchema({"type": "array", "items": {"type": "string"}, "uniqueItems": True, "minItems": 1, "maxItems": 9}),
]
Servers = Annotated[
    tuple[str, ...],
    PlainValidator(values.listed),
    WithJsonSchema({"type": "array", "items": {"type": "string"}, "uniqueItems": True, "minItems": 1, "maxItems": 5}),
]
