"""A host's users, and which of them have connections to our ports."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from provisioner import render

if TYPE_CHECKING:
    from provisioner.system.facts import Facts

DYNAMIC = "61184-65519"  # the users that systemd allocates for units (DynamicUser=, systemd.exec(5))

_CLIENT = re.compile(r"(\d{1,10}) ([0-9A-F]{8}) (\d{1,5}) ([\w.-]{0,15})", re.ASCII)

# Section -> commands.
READS = {"passwd": 'while IFS=: read -r u _ n _; do echo "$u:$n"; done </etc/passwd'}
# Connections that belong neither to root nor to the store's user. Programs are looked up only for these. The kernel takes
# some milliseconds to list connections, so this section is read only on hosts whose rules will change.
CLIENTS = {"clients": render.program("read-clients.sh")}


@dataclass(frozen=True)
class Client:
    """A program with a connection to one of our ports that runs neither as root nor as the store's user."""

    uid: int
    address: IPv4Address
    port: int
    program: str


def uids(facts: Facts) -> dict[str, int]:
    """Return user -> number from /etc/passwd. Users that only a directory (LDAP) has are missing."""
    found = (line.rpartition(":")[::2] for line in facts.raw.get("passwd", "").splitlines())
    return {name: int(number) for name, number in found if number.isdecimal() and number.isascii()}


def clients(facts: Facts) -> tuple[Client, ...]:
    """Return the programs with connections to our ports. Malformed lines are ignored."""
    matches = (_CLIENT.fullmatch(line) for line in facts.raw.get("clients", "").splitlines())
    return tuple(
        Client(int(one[1]), IPv4Address(int.from_bytes(bytes.fromhex(one[2]), "little")), int(one[3]), one[4])
        for one in matches
        if one
    )
