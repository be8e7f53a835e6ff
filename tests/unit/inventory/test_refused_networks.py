"""Wrong networks and stores: a replaced part of a valid inventory, and all error lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

MANY = " (an odd number, so that a majority is left if one is lost); without this key, the present servers stay"
ROWS: dict[str, tuple[str, str, list[str]]] = {
    "network reserved": (
        "networks",
        "networks:\n  bridge: {subnet: 10.99.0.0/24}",
        ["9:3: networks.bridge: `bridge` is one of Docker's own networks; choose another name"],
    ),
    "network name hostile": (
        "networks",
        "networks:\n  $(id): {subnet: 10.99.0.0/24}",
        [
            "9:3: networks.'$(id)': '$(id)' is not allowed: a network name has letters, digits, `_`, `.` and `-`, begins with a letter or digit, and has at most 63 characters"
        ],
    ),
    "network name with space": (
        "networks",
        "networks:\n  my net: {subnet: 10.99.0.0/24}",
        [
            "9:3: networks.my net: 'my net' is not allowed: a network name has letters, digits, `_`, `.` and `-`, begins with a letter or digit, and has at most 63 characters; did you mean `my-net`?"
        ],
    ),
    "subnet with host bits": (
        "networks",
        "networks:\n  demo: {subnet: 10.99.0.1/24}",
        [
            "9:18: networks.demo.subnet: '10.99.0.1/24' has bits set behind its prefix length; did you mean `10.99.0.0/24`?"
        ],
    ),
    "subnet IPv6": (
        "networks",
        "networks:\n  demo: {subnet: 'fd00::/64'}",
        [
            "9:18: networks.demo.subnet: 'fd00::/64' is IPv6, which has its own key (`subnet6`); write an IPv4 subnet like `10.99.0.0/24`"
        ],
    ),
    "subnet without length": (
        "networks",
        "networks:\n  demo: {subnet: 10.99.0.0}",
        ["9:18: networks.demo.subnet: '10.99.0.0' has no prefix length; write it as `10.99.0.0/24`"],
    ),
    "subnet with netmask": (
        "networks",
        "networks:\n  demo: {subnet: 10.99.0.0/255.255.255.0}",
        ["9:18: networks.demo.subnet: '10.99.0.0/255.255.255.0' is not an IPv4 subnet; write it like `10.99.0.0/24`"],
    ),
    "subnet nonsense": (
        "networks",
        "networks:\n  demo: {subnet: 10.99.0.300/24}",
        [
            "9:18: networks.demo.subnet: '10.99.0.300/24' is not an IPv4 subnet: four numbers from 0 to 255 without leading zeros, `/` and 0 to 32"
        ],
    ),
    "subnet hostile": (
        "networks",
        "networks:\n  demo: {subnet: '10.99.0.0/24; id'}",
        ["9:18: networks.demo.subnet: '10.99.0.0/24; id' is not an IPv4 subnet; write it like `10.99.0.0/24`"],
    ),
    "subnet loopback": (
        "networks",
        "networks:\n  demo: {subnet: 127.1.0.0/16}",
        [
            "9:18: networks.demo.subnet: 127.1.0.0/16 can't be a subnet: 127.0.0.0/8 is loopback; private ranges are 10.0.0.0/8, 172.16.0.0/12 and 192.168.0.0/16"
        ],
    ),
    "subnet multicast": (
        "networks",
        "networks:\n  demo: {subnet: 239.0.0.0/24}",
        [
            "9:18: networks.demo.subnet: 239.0.0.0/24 can't be a subnet: 224.0.0.0/4 is multicast; private ranges are 10.0.0.0/8, 172.16.0.0/12 and 192.168.0.0/16"
        ],
    ),
    "subnet link-local": (
        "networks",
        "networks:\n  demo: {subnet: 169.254.7.0/24}",
        [
            "9:18: networks.demo.subnet: 169.254.7.0/24 can't be a subnet: 169.254.0.0/16 is link-local; private ranges are 10.0.0.0/8, 172.16.0.0/12 and 192.168.0.0/16"
        ],
    ),
    "subnet of everything": (
        "networks",
        "networks:\n  demo: {subnet: 0.0.0.0/0}",
        [
            "9:18: networks.demo.subnet: 0.0.0.0/0 can't be a subnet: 127.0.0.0/8 is loopback; private ranges are 10.0.0.0/8, 172.16.0.0/12 and 192.168.0.0/16"
        ],
    ),
    "subnet too small": (
        "networks",
        "networks:\n  demo: {subnet: 10.99.0.0/30}",
        [
            "9:18: networks.demo.subnet: 10.99.0.0/30 has 4 addresses, and 3 hosts need 6 (one each, the gateway's, the network's and the last): take a /29 or larger"
        ],
    ),
    "subnet holds hosts": (
        "networks",
        "networks:\n  demo: {subnet: 192.168.56.0/24}",
        [
            "9:18: networks.demo.subnet: 192.168.56.0/24 contains the hosts' own addresses: node1 (192.168.56.11), node2 (192.168.56.12), node3 (192.168.56.13)"
        ],
    ),
    "subnet holds what is advertised": (
        "hosts",
        "hosts:\n  node1: {address: 192.168.56.11}\n  node2: {address: node2.example, advertise: 10.99.0.7}",
        ["8:18: networks.demo.subnet: 10.99.0.0/24 contains the hosts' own addresses: node2 (10.99.0.7)"],
    ),
    "subnets overlap": (
        "networks",
        "networks:\n  one: {subnet: 10.0.0.0/8}\n  two: {subnet: 10.1.0.0/16}\n  three: {subnet: 10.1.2.0/24}",
        [
            "10:17: networks.two.subnet: 10.1.0.0/16 overlaps 10.0.0.0/8 of `one` (line 9)",
            "11:19: networks.three.subnet: 10.1.2.0/24 overlaps 10.0.0.0/8 of `one` (line 9)",
        ],
    ),
    "subnets equal": (
        "networks",
        "networks:\n  one: {subnet: 10.1.0.0/16}\n  two: {subnet: 10.1.0.0/16}",
        ["10:17: networks.two.subnet: 10.1.0.0/16 overlaps 10.1.0.0/16 of `one` (line 9)"],
    ),
    "gateway outside": (
        "networks",
        "networks:\n  demo: {subnet: 10.99.0.0/24, gateway: 10.98.0.1}",
        ["9:41: networks.demo.gateway: 10.98.0.1 is outside the subnet 10.99.0.0/24"],
    ),
    "gateway first": (
        "networks",
        "networks:\n  demo: {subnet: 10.99.0.0/24, gateway: 10.99.0.0}",
        ["9:41: networks.demo.gateway: 10.99.0.0 is the subnet's first or last address, which no interface can use"],
    ),
    "gateway last": (
        "networks",
        "networks:\n  demo: {subnet: 10.99.0.0/24, gateway: 10.99.0.255}",
        ["9:41: networks.demo.gateway: 10.99.0.255 is the subnet's first or last address, which no interface can use"],
    ),
    "gateway nonsense": (
        "networks",
        "networks:\n  demo: {subnet: 10.99.0.0/24, gateway: first}",
        [
            "9:41: networks.demo.gateway: 'first' is not an IPv4 address: four numbers from 0 to 255 without leading zeros"
        ],
    ),
    "ip_range outside": (
        "networks",
        "networks:\n  demo: {subnet: 10.99.0.0/24, ip_range: 10.98.0.0/25}",
        ["9:42: networks.demo.ip_range: 10.98.0.0/25 is outside the subnet 10.99.0.0/24"],
    ),
    "ip_range larger": (
        "networks",
        "networks:\n  demo: {subnet: 10.99.0.0/24, ip_range: 10.99.0.0/23}",
        ["9:42: networks.demo.ip_range: 10.99.0.0/23 is outside the subnet 10.99.0.0/24"],
    ),
    "ip_range too small": (
        "networks",
        "networks:\n  demo: {subnet: 10.99.0.0/24, ip_range: 10.99.0.0/30}",
        ["9:42: networks.demo.ip_range: 10.99.0.0/30 has 2 addresses for containers, and 3 hosts need 3"],
    ),
    "mtu too small": (
        "networks",
        "networks:\n  demo: {subnet: 10.99.0.0/24, mtu: 575}",
        ["9:37: networks.demo.mtu: 575 is not a valid MTU: must be from 576 to 65535"],
    ),
    "mtu too large": (
        "networks",
        "networks:\n  demo: {subnet: 10.99.0.0/24, mtu: 65536}",
        ["9:37: networks.demo.mtu: 65536 is not a valid MTU: must be from 576 to 65535"],
    ),
    "internal yes": (
        "networks",
        "networks:\n  demo: {subnet: 10.99.0.0/24, internal: yes}",
        [
            "9:42: networks.demo.internal: must be `true` or `false`, not 'yes' (in YAML 1.2: yes, no, on and off are plain words)"
        ],
    ),
    "driver misspelt": (
        "networks",
        "networks:\n  demo: {subnet: 10.99.0.0/24, driver: overlays}",
        [
            "9:40: networks.demo.driver: `overlays` is not one of the engine's own drivers; did you mean `overlay`? For a plugin's driver, say where its networks are created: `scope: local`, on each host, or `scope: global`, once"
        ],
    ),
    "label a number": (
        "networks",
        "networks:\n  demo: {subnet: 10.99.0.0/24, labels: {a: 5}}",
        ['9:44: networks.demo.labels.a: must be text; write it in quotes: `"5"`'],
    ),
    "label too long": (
        "networks",
        "networks:\n  demo: {subnet: 10.99.0.0/24, labels: {a: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx}}",
        [
            "9:44: networks.demo.labels.a: 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...' is not a label: use printable characters, at most 256"
        ],
    ),
    "label with newline": (
        "networks",
        'networks:\n  demo: {subnet: 10.99.0.0/24, labels: {a: "x\\ny"}}',
        ["9:44: networks.demo.labels.a: 'x\\ny' is not a label: use printable characters, at most 256"],
    ),
    "label name hostile": (
        "networks",
        'networks:\n  demo: {subnet: 10.99.0.0/24, labels: {"a=b": x}}',
        [
            "9:41: networks.demo.labels.'a=b': 'a=b' is not allowed: a label's name has letters and digits, single `.`, `_`, `/` and `-` between them, and at most 128 characters"
        ],
    ),
    "store unknown": (
        "store",
        "store: {kind: redis}",
        ["7:15: store.kind: must be `consul` or `etcd` or `zookeeper`, not 'redis'"],
    ),
    "store misspelt": (
        "store",
        "store: {kind: Consul}",
        ["7:15: store.kind: must be `consul` or `etcd` or `zookeeper`, not 'Consul'; did you mean `consul`?"],
    ),
    "servers two": (
        "store",
        "store: {kind: consul, servers: [node1, node2]}",
        [f"7:32: store.servers: names 2 servers; there must be 1, 3 or 5{MANY}"],
    ),
    "servers none": (
        "store",
        "store: {kind: consul, servers: []}",
        [f"7:32: store.servers: names 0 servers; there must be 1, 3 or 5{MANY}"],
    ),
    "servers more than hosts": (
        "store",
        "store: {kind: consul, servers: [node1, node2, node3, node1, node2]}",
        [
            "7:32: store.servers: 5 servers are more than the 3 hosts",
            "7:54: store.servers: 'node1' is named twice",
            "7:61: store.servers: 'node2' is named twice",
        ],
    ),
    "server misspelt": (
        "store",
        "store: {kind: consul, servers: [nod2]}",
        ["7:33: store.servers: 'nod2' is not one of the hosts; did you mean `node2`?"],
    ),
    "server hostile": (
        "store",
        'store: {kind: consul, servers: ["\\e[2J"]}',
        ["7:33: store.servers: '\\x1b[2J' is not one of the hosts"],
    ),
    "servers a number": (
        "store",
        "store: {kind: consul, servers: 3}",
        ["7:32: store.servers: must be a list of host names: `[node1, node2, node3]`, not 3"],
    ),
    "servers of numbers": (
        "store",
        "store: {kind: consul, servers: [1, 2, 3]}",
        ["7:32: store.servers: must be a list of host names: `[node1, node2, node3]`"],
    ),
    "binary not there": (
        "store",
        "store: {kind: consul, binary: /nonexistent/consul.zip}",
        ["7:31: store.binary: '/nonexistent/consul.zip' does not exist"],
    ),
    "sha256 short": (
        "store",
        "store: {kind: consul, binary: lab.yml, sha256: abc}",
        [
            "7:48: store.sha256: 'abc' is not a SHA-256 checksum: 64 characters of 0-9 and a-f, as printed by `sha256sum FILE`"
        ],
    ),
    "sha256 alone": (
        "store",
        "store: {kind: consul, sha256: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}",
        ["7:23: store.sha256: is the checksum of `binary`, which is missing"],
    ),
    "prefix with slashes": (
        "store",
        "store: {kind: consul, prefix: /lab/}",
        [
            "7:31: store.prefix: '/lab/' is not allowed: a prefix has letters, digits, `-` and `_`, begins with one of the first two, and has single `/` between its at most 8 parts; did you mean `lab`?"
        ],
    ),
    "prefix climbing": (
        "store",
        "store: {kind: consul, prefix: ../lab}",
        [
            "7:31: store.prefix: '../lab' is not allowed: a prefix has letters, digits, `-` and `_`, begins with one of the first two, and has single `/` between its at most 8 parts"
        ],
    ),
}


@pytest.mark.parametrize(("part", "text", "expected"), ROWS.values(), ids=ROWS)
def test_refused_with_its_line_and_its_cure(
    problems: Callable[..., list[str]], part: str, text: str, expected: list[str]
) -> None:
    assert problems(**{part: text}) == expected
