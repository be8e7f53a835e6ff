"""Values of `dns:` that are refused and accepted."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from provisioner.inventory import Inventory

ROWS: dict[str, tuple[str, str]] = {
    "a name": ("servers: [dns.example.net]", "'dns.example.net' is not an IP address; a resolver must be given by address, because its name could not be resolved"),
    "a port": ("servers: ['192.0.2.53:5353']", "'192.0.2.53:5353' is not an IP address; a resolver must be given by address, because its name could not be resolved"),
    "loopback": ("servers: [127.0.0.53]", "127.0.0.53 is a loopback address, which in a container means the container itself; write the host's address"),
    "loopback, IPv6": ("servers: ['::1', 192.0.2.53]", "::1 is a loopback address, which in a container means the container itself; write the host's address"),
    "all addresses": ("servers: [0.0.0.0]", "'0.0.0.0' is not an address of a resolver that containers can reach"),
    "link-local": ("servers: ['fe80::1%eth0', 192.0.2.53]", "'fe80::1%eth0' is not an address of a resolver that containers can reach"),
    "IPv6 only": ("servers: ['2001:db8::53']", "has only IPv6 addresses: the engine forwards only to IPv4 resolvers, so at least one is needed"),
    "twice": ("servers: [192.0.2.53, 192.0.2.53]", "names `192.0.2.53` twice"),
    "four": ("servers: [192.0.2.1, 192.0.2.2, 192.0.2.3, 192.0.2.4]", "must be a list of 1 to 3 addresses: `[192.0.2.53]`, not a list"),
    "none": ("servers: []", "must be a list of 1 to 3 addresses: `[192.0.2.53]`, not a list"),
    "no list": ("servers: 192.0.2.53", "must be a list of 1 to 3 addresses: `[192.0.2.53]`, not '192.0.2.53'"),
    "a shell's words": ("search: ['a; reboot']", "'a; reboot' is not a DNS name: use letters, digits and `-`, with single dots between the parts"),
    "an address as domain": ("search: [192.0.2.1]", "'192.0.2.1' is not a DNS name: use letters, digits and `-`, with single dots between the parts"),
    "an unknown option": ("options: [timeuot:2]", "'timeuot:2' is not an option of resolv.conf; did you mean `timeout:N`?"),
    "an option without its number": ("options: [ndots]", "'ndots': write `ndots:N` with a number from 0 to 15"),
    "too large a number": ("options: ['attempts:6']", "'attempts:6': write `attempts:N` with a number from 0 to 5"),
    "a number too many": ("options: ['rotate:1']", "'rotate:1' is not an option of resolv.conf; did you mean `rotate`?"),
    "a name to check": ("check: 'www example', servers: [192.0.2.53]", "'www example' is not a DNS name: use letters, digits and `-`, with single dots between the parts"),
}  # fmt: skip
HEAD = """cluster: lab
hosts:
  node1: {address: 192.0.2.11}
store: {kind: consul}
networks:
  demo: {subnet: 10.99.0.0/24}
"""


@pytest.mark.parametrize(("value", "problem"), ROWS.values(), ids=ROWS)
def test_refused(problems: Callable[[str], list[str]], value, problem):
    key = value.partition(":")[0]
    (found,) = problems(f"{HEAD}dns: {{{value}}}\n")
    assert found.partition(" ")[2] == f"dns.{key}: {problem}"


def test_a_name_to_check_needs_a_resolver(problems):
    (found,) = problems(f"{HEAD}dns: {{check: www.example.net}}\n")
    assert found == "7:14: dns.check: there is no resolver to query: name the resolvers in dns.servers"


def test_accepted(inventory: Callable[..., Inventory]):
    found = inventory(
        more="dns: {servers: ['2001:db8::53', 192.0.2.53], search: [Example.Net], options: [rotate, 'ndots:2']}"
    ).dns
    assert found.servers == (ip_address("2001:db8::53"), ip_address("192.0.2.53"))
    assert (found.search, found.options, found.check) == (("example.net",), ("rotate", "ndots:2"), None)
