"""Wrong names, hosts and SSH settings: a replaced part of a valid inventory, and all error lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS: dict[str, tuple[str, str, list[str]]] = {
    "cluster upper case": (
        "cluster",
        "cluster: Lab",
        [
            "1:10: cluster: 'Lab' is not allowed: a cluster name has lower-case letters, digits, `-` and `_`, begins with a letter or digit, and has at most 63 characters; did you mean `lab`?"
        ],
    ),
    "cluster a number": ("cluster", "cluster: 12", ['1:10: cluster: must be text; write it in quotes: `"12"`']),
    "cluster a list": ("cluster", "cluster: [lab]", ["1:10: cluster: must be text, not a list"]),
    "cluster hostile": (
        "cluster",
        'cluster: "x\'; rm -rf /"',
        [
            '1:10: cluster: "x\'; rm -rf /" is not allowed: a cluster name has lower-case letters, digits, `-` and `_`, begins with a letter or digit, and has at most 63 characters'
        ],
    ),
    "host name upper case": (
        "hosts",
        "hosts:\n  node1: {address: 192.168.56.11}\n  Node2: {address: 192.168.56.12}",
        [
            "5:3: hosts.Node2: 'Node2' is not allowed: a host name has lower-case letters and digits, `-` between them, and at most 63 characters; did you mean `node2`?"
        ],
    ),
    "host name underscore": (
        "hosts",
        "hosts:\n  node1: {address: 192.168.56.11}\n  node_2: {address: 192.168.56.12}",
        [
            "5:3: hosts.node_2: 'node_2' is not allowed: a host name has lower-case letters and digits, `-` between them, and at most 63 characters; did you mean `node-2`?"
        ],
    ),
    "host name dash in front": (
        "hosts",
        "hosts:\n  node1: {address: 192.168.56.11}\n  -node2: {address: 192.168.56.12}",
        [
            "5:3: hosts.-node2: '-node2' is not allowed: a host name has lower-case letters and digits, `-` between them, and at most 63 characters"
        ],
    ),
    "host name dots": (
        "hosts",
        "hosts:\n  node1: {address: 192.168.56.11}\n  ../etc: {address: 192.168.56.12}",
        [
            "5:3: hosts.../etc: '../etc' is not allowed: a host name has lower-case letters and digits, `-` between them, and at most 63 characters"
        ],
    ),
    "host name too long": (
        "hosts",
        "hosts:\n  node1: {address: 192.168.56.11}\n  nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn: {address: 192.168.56.12}",
        [
            "5:3: hosts.'nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn...': 'nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn...' is not allowed: a host name has lower-case letters and digits, `-` between them, and at most 63 characters"
        ],
    ),
    "user hostile": (
        "ssh",
        "ssh: {user: -oProxyCommand=id}",
        [
            "2:13: ssh.user: '-oProxyCommand=id' is not allowed: a user name has letters, digits, `_`, `.` and `-`, begins with a letter or `_`, and has at most 32 characters"
        ],
    ),
    "user a number": ("ssh", "ssh: {user: 1000}", ['2:13: ssh.user: must be text; write it in quotes: `"1000"`']),
    "user of a host": (
        "hosts",
        "hosts:\n  node1: {address: 192.168.56.11}\n  node2: {address: 192.168.56.12, user: 'a b'}",
        [
            "5:41: hosts.node2.user: 'a b' is not allowed: a user name has letters, digits, `_`, `.` and `-`, begins with a letter or `_`, and has at most 32 characters"
        ],
    ),
    "address with user": (
        "hosts",
        "hosts:\n  node1: {address: 192.168.56.11}\n  node2: {address: root@192.168.56.12}",
        [
            "5:20: hosts.node2.address: 'root@192.168.56.12' contains more than an address: write `address: 192.168.56.12`, `user: root`"
        ],
    ),
    "address with port": (
        "hosts",
        "hosts:\n  node1: {address: 192.168.56.11}\n  node2: {address: '192.168.56.12:2222'}",
        [
            "5:20: hosts.node2.address: '192.168.56.12:2222' contains more than an address: write `address: 192.168.56.12`, `port: 2222`"
        ],
    ),
    "address with both": (
        "hosts",
        "hosts:\n  node1: {address: 192.168.56.11}\n  node2: {address: 'root@node2.example:22'}",
        [
            "5:20: hosts.node2.address: 'root@node2.example:22' contains more than an address: write `address: node2.example`, `user: root`, `port: 22`"
        ],
    ),
    "address a URL": (
        "hosts",
        "hosts:\n  node1: {address: 192.168.56.11}\n  node2: {address: 'ssh://root@node2.example:22/'}",
        [
            "5:20: hosts.node2.address: 'ssh://root@node2.example:22/' contains more than an address: write `address: node2.example`, `user: root`, `port: 22`"
        ],
    ),
    "address in brackets": (
        "hosts",
        "hosts:\n  node1: {address: 192.168.56.11}\n  node2: {address: '[::1]:22'}",
        ["5:20: hosts.node2.address: '[::1]:22' contains more than an address: write `address: ::1`, `port: 22`"],
    ),
    "address out of range": (
        "hosts",
        "hosts:\n  node1: {address: 192.168.56.11}\n  node2: {address: 192.168.56.256}",
        [
            "5:20: hosts.node2.address: '192.168.56.256' is not an IPv4 address: four numbers from 0 to 255 without leading zeros"
        ],
    ),
    "address with leading zeros": (
        "hosts",
        "hosts:\n  node1: {address: 192.168.56.11}\n  node2: {address: 192.168.056.012}",
        [
            "5:20: hosts.node2.address: '192.168.056.012' is not an IPv4 address: four numbers from 0 to 255 without leading zeros"
        ],
    ),
    "address a float": (
        "hosts",
        "hosts:\n  node1: {address: 192.168.56.11}\n  node2: {address: 10.1}",
        ['5:20: hosts.node2.address: must be text; write it in quotes: `"10.1"`'],
    ),
    "address hostile": (
        "hosts",
        "hosts:\n  node1: {address: 192.168.56.11}\n  node2: {address: '-oProxyCommand=id'}",
        [
            "5:20: hosts.node2.address: '-oProxyCommand=id' is not an address: write an IP address or a host name (letters, digits, `-`, `_` and `.`)"
        ],
    ),
    "address with underscore at its end": (
        "hosts",
        "hosts:\n  node1: {address: 192.168.56.11}\n  node2: {address: my_host_}",
        [
            "5:20: hosts.node2.address: 'my_host_' is not an address: write an IP address or a host name (letters, digits, `-`, `_` and `.`)"
        ],
    ),
    "address with placeholders": (
        "hosts",
        "hosts:\n  node1: {address: 192.168.56.11}\n  node2: {address: 10.100.xx.xx}",
        ["5:20: hosts.node2.address: '10.100.xx.xx' is not an address: write the numbers in place of the placeholders"],
    ),
    "IPv6 address in brackets": (
        "hosts",
        "hosts:\n  node1: {address: 192.168.56.11}\n  node2: {address: '[2001:db8::5]'}",
        ["5:20: hosts.node2.address: '[2001:db8::5]': write the IPv6 address without brackets: `2001:db8::5`"],
    ),
    "no file of ssh": ("ssh", "ssh: {config: ''}", ["2:15: ssh.config: '' is not a path"]),
    "address unspecified": (
        "hosts",
        "hosts:\n  node1: {address: 192.168.56.11}\n  node2: {address: 0.0.0.0}",
        ["5:20: hosts.node2.address: 0.0.0.0 is not a host's address"],
    ),
    "address a template": (
        "hosts",
        "hosts:\n  node1: {address: 192.168.56.11}\n  node2: {address: {{ip}}}",
        ["5:21: a key must be a word; quote the text if it begins with { or ["],
    ),
    "address with a zone": (
        "hosts",
        "hosts:\n  node1: {address: 192.168.56.11}\n  node2: {address: 'fe80::1%eth0'}",
        ["5:20: hosts.node2.address: 'fe80::1%eth0' is not allowed: an address with a zone (`%`) is not supported"],
    ),
    "port 0": ("ssh", "ssh: {port: 0}", ["2:13: ssh.port: 0 is not a valid port: must be from 1 to 65535"]),
    "port too high": (
        "hosts",
        "hosts:\n  node1: {address: 192.168.56.11}\n  node2: {address: 192.168.56.12, port: 65536}",
        ["5:41: hosts.node2.port: 65536 is not a valid port: must be from 1 to 65535"],
    ),
    "port quoted": ("ssh", 'ssh: {port: "22"}', ["2:13: ssh.port: must be a number; write it without quotes: `22`"]),
    "port with leading zero": (
        "ssh",
        "ssh: {port: 022}",
        ["2:13: ssh.port: must be a number; write it without leading zeros: `22`"],
    ),
    "port octal": ("ssh", "ssh: {port: 0o26}", ["2:13: ssh.port: must be a whole number from 1 to 65535, not '0o26'"]),
    "port hexadecimal": (
        "ssh",
        "ssh: {port: 0x16}",
        ["2:13: ssh.port: must be a whole number from 1 to 65535, not '0x16'"],
    ),
    "port a truth": ("ssh", "ssh: {port: true}", ["2:13: ssh.port: must be a whole number from 1 to 65535, not true"]),
    "port sexagesimal": (
        "ssh",
        "ssh: {port: 22:22}",
        ["2:13: ssh.port: must be a whole number from 1 to 65535, not '22:22'"],
    ),
    "host_keys unknown": (
        "ssh",
        "ssh: {host_keys: acceptnew}",
        ["2:18: ssh.host_keys: must be `strict` or `accept-new`, not 'acceptnew'; did you mean `accept-new`?"],
    ),
    "host_keys off": (
        "ssh",
        "ssh: {host_keys: no}",
        ["2:18: ssh.host_keys: must be `strict` or `accept-new`, not 'no'"],
    ),
    "timeout 0": (
        "ssh",
        "ssh: {connect_timeout: 0}",
        ["2:24: ssh.connect_timeout: 0 seconds are not allowed: must be from 1 to 600"],
    ),
    "timeout not a number": (
        "ssh",
        "ssh: {connect_timeout: .nan}",
        ["2:24: ssh.connect_timeout: must be a number of seconds, not '.nan'"],
    ),
    "timeout text": (
        "ssh",
        "ssh: {connect_timeout: 10s}",
        ["2:24: ssh.connect_timeout: must be a number of seconds, not '10s'"],
    ),
    "key not there": ("ssh", "ssh: {key: /nonexistent/id}", ["2:12: ssh.key: '/nonexistent/id' does not exist"]),
    "key of a host not there": (
        "hosts",
        "hosts:\n  node1: {address: 192.168.56.11}\n  node2: {address: 192.168.56.12, key: /nonexistent/id}",
        ["5:40: hosts.node2.key: '/nonexistent/id' does not exist"],
    ),
    "key a folder": ("ssh", "ssh: {key: /}", ["2:12: ssh.key: '/' is a folder, not a file"]),
    "key of no such user": (
        "ssh",
        "ssh: {key: ~no.such.user/id}",
        ["2:12: ssh.key: '~no.such.user/id': this home folder does not exist"],
    ),
    "key with NUL": ("ssh", 'ssh: {key: "a\\0b"}', ["2:12: ssh.key: 'a\\x00b' is not a path"]),
    "advertise with scheme": (
        "hosts",
        "hosts:\n  node1: {address: 192.168.56.11}\n  node2: {address: 192.168.56.12, advertise: 'tcp://192.168.56.12:2376'}",
        [
            "5:46: hosts.node2.advertise: 'tcp://192.168.56.12:2376' is not allowed: a scheme like `tcp://` crashes the engine (moby/moby#19344); write only the interface or the IPv4 address"
        ],
    ),
    "advertise with port": (
        "hosts",
        "hosts:\n  node1: {address: 192.168.56.11}\n  node2: {address: 192.168.56.12, advertise: '192.168.56.12:2376'}",
        [
            "5:46: hosts.node2.advertise: '192.168.56.12:2376' is not allowed: write it without the port: `192.168.56.12`"
        ],
    ),
    "advertise interface with port": (
        "hosts",
        "hosts:\n  node1: {address: 192.168.56.11}\n  node2: {address: 192.168.56.12, advertise: 'eth1:2376'}",
        ["5:46: hosts.node2.advertise: 'eth1:2376' is not allowed: write it without the port: `eth1`"],
    ),
    "advertise loopback": (
        "hosts",
        "hosts:\n  node1: {address: 192.168.56.11}\n  node2: {address: 192.168.56.12, advertise: 127.0.0.1}",
        [
            "5:46: hosts.node2.advertise: 127.0.0.1 is a loopback address: no other host can reach it, and the engine accepts it silently"
        ],
    ),
    "advertise lo": (
        "hosts",
        "hosts:\n  node1: {address: 192.168.56.11}\n  node2: {address: 192.168.56.12, advertise: lo}",
        [
            "5:46: hosts.node2.advertise: `lo` is the loopback interface: no other host can reach it, and the engine accepts it silently"
        ],
    ),
    "advertise all": (
        "hosts",
        "hosts:\n  node1: {address: 192.168.56.11}\n  node2: {address: 192.168.56.12, advertise: 0.0.0.0}",
        [
            "5:46: hosts.node2.advertise: 0.0.0.0 means all addresses: name the one that other hosts reach, or its interface"
        ],
    ),
    "advertise IPv6": (
        "hosts",
        "hosts:\n  node1: {address: 192.168.56.11}\n  node2: {address: 192.168.56.12, advertise: 'fe80::1'}",
        ["5:46: hosts.node2.advertise: fe80::1 is IPv6: overlays use IPv4 between the engines"],
    ),
    "advertise IPv6 loopback": (
        "hosts",
        "hosts:\n  node1: {address: 192.168.56.11}\n  node2: {address: 192.168.56.12, advertise: '::1'}",
        ["5:46: hosts.node2.advertise: ::1 is IPv6: overlays use IPv4 between the engines"],
    ),
    "advertise multicast": (
        "hosts",
        "hosts:\n  node1: {address: 192.168.56.11}\n  node2: {address: 192.168.56.12, advertise: 224.0.0.1}",
        ["5:46: hosts.node2.advertise: 224.0.0.1 is not a host's address"],
    ),
    "advertise no address": (
        "hosts",
        "hosts:\n  node1: {address: 192.168.56.11}\n  node2: {address: 192.168.56.12, advertise: 192.168.56}",
        [
            "5:46: hosts.node2.advertise: '192.168.56' is not an IPv4 address: four numbers from 0 to 255 without leading zeros"
        ],
    ),
    "advertise docker0": (
        "hosts",
        "hosts:\n  node1: {address: 192.168.56.11}\n  node2: {address: 192.168.56.12, advertise: docker0}",
        [
            "5:46: hosts.node2.advertise: `docker0` is a built-in bridge of Docker: every host has it, with the same address"
        ],
    ),
    "advertise hostile": (
        "hosts",
        "hosts:\n  node1: {address: 192.168.56.11}\n  node2: {address: 192.168.56.12, advertise: '$(reboot)'}",
        [
            "5:46: hosts.node2.advertise: '$(reboot)' is neither an interface (`eth1`, at most 15 characters) nor an IPv4 address"
        ],
    ),
    "advertise too long": (
        "hosts",
        "hosts:\n  node1: {address: 192.168.56.11}\n  node2: {address: 192.168.56.12, advertise: interface0123456}",
        [
            "5:46: hosts.node2.advertise: 'interface0123456' is neither an interface (`eth1`, at most 15 characters) nor an IPv4 address"
        ],
    ),
    "advertise of another host": (
        "hosts",
        "hosts:\n  node1: {address: 192.168.56.11}\n  node2: {address: 192.168.56.12, advertise: 192.168.56.11}",
        ["5:46: hosts.node2.advertise: 192.168.56.11 is the address of `node1` (line 4)"],
    ),
    "advertise twice": (
        "hosts",
        "hosts:\n  node1: {address: 192.168.56.11, advertise: 10.1.1.1}\n  node2: {address: 192.168.56.12, advertise: 10.1.1.1}",
        ["5:46: hosts.node2.advertise: 10.1.1.1 is advertised by `node1` already (line 4)"],
    ),
    "advertise one address for all": (
        "more",
        "advertise: 192.168.56.11",
        [
            "10:12: advertise: 192.168.56.11 can belong to one host only; name an interface, or set `advertise` in that host"
        ],
    ),
}


@pytest.mark.parametrize(("part", "text", "expected"), ROWS.values(), ids=ROWS)
def test_refused_with_its_line_and_its_cure(
    problems: Callable[..., list[str]], part: str, text: str, expected: list[str]
) -> None:
    assert problems(**{part: text}) == expected
