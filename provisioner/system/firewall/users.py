"""The users of a host, and which of them use our ports."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from provisioner import render

if TYPE_CHECKING:
    from provisioner.system.facts import Facts

DYNAMIC = "61184-65519"  # the users that systemd makes up for units (DynamicUser=, systemd.exec(5))

_CLIENT = re.compile(r"(\d{1,10}) ([0-9A-F]{8}) (\d{1,5}) ([\w.-]{0,15})", re.ASCII)

# Section -> commands.
READS = {
    "passwd": "cut -d: -f1,3 /etc/passwd",
    # Connections that are neither root's nor the store's own; the programs are looked for only where there are some.
    "clients": render.program("read-clients.sh"),
}


@dataclass(frozen=True)
class Client:
    """A program that has a connection to one of our ports, and is neither root's nor the store's own."""

    uid: int
    address: IPv4Address
    port: int
    program: str


def uids(facts: Facts) -> dict[str, int]:
    """The users of /etc/passwd. Those that only a directory has (LDAP) are not among them."""
    found = (line.rpartition(":")[::2] for line in facts.raw.get("passwd", "").splitlines())
    return {name: int(number) for name, number in found if number.isdecimal() and number.isascii()}


def clients(facts: Facts) -> tuple[Client, ...]:
    """What the host told of programs at our ports; a line that is not understood is passed over."""
    told = (_CLIENT.fullmatch(line) for line in facts.raw.get("clients", "").splitlines())
    return tuple(
        Client(int(one[1]), IPv4Address(int.from_bytes(bytes.fromhex(one[2]), "little")), int(one[3]), one[4])
        for one in told
        if one
    )
