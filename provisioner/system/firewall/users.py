"""The users of a host, and which of them use our ports."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from provisioner.system.facts import Facts

DYNAMIC = "61184-65519"  # the users that systemd makes up for units (DynamicUser=, systemd.exec(5))

_CLIENT = re.compile(r"(\d{1,10}) ([0-9A-F]{8}) (\d{1,5}) ([\w.-]{0,15})", re.ASCII)

# Section -> commands.
READS = {
    "passwd": "cut -d: -f1,3 /etc/passwd",
    # Connections that are neither root's nor the store's own; the programs are looked for only where there are some.
    "clients": r"""
awk -v ports=PORTS -v user=OWNER '
BEGIN { n = split(ports, list, ","); while (n) { port[sprintf("%04X", list[n])] = list[n]; n-- } }
FILENAME == "/etc/passwd" { split($0, f, ":"); if (f[1] == user) own[f[3]] = 1; next }
$4 == "01" && $8 != 0 && !($8 in own) && !($8 >= 61184 && $8 <= 65519) {
  split($3, to, ":"); key = $8 " " substr(to[1], length(to[1]) - 7) " " port[to[2]]
  if (to[2] in port && !seen[key]++ && ++count <= 8) print key, $10
}' /etc/passwd /proc/net/tcp /proc/net/tcp6 | while read -r u a p i; do
  f=$(find /proc/[0-9]*/fd -lname "socket:\[$i\]" 2>/dev/null | head -n 1)
  echo "$u $a $p $(tr -cd 'A-Za-z0-9._-' <"${f%/fd/*}/comm")"
done
""",
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
