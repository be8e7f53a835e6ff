"""Wrong keys and forms: a replaced part of a valid inventory, and all error lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS: dict[str, tuple[str, str, list[str]]] = {
    "unknown top key": ("more", "netwrks: {}", ["10:1: top level: unknown key `netwrks`; did you mean `networks`?"]),
    "unknown key far from all": (
        "more",
        "colour: red",
        [
            "10:1: top level: unknown key `colour`; known are `cluster`, `ssh`, `hosts`, `advertise`, `control_plane`, `store`, `swarm`, `dns`, `plugins`, `networks`"
        ],
    ),
    "key of another place": ("more", "user: root", ["10:1: top level: unknown key `user`; it belongs to `ssh`"]),
    "key of a host in ssh": (
        "ssh",
        "ssh: {address: 192.168.56.11}",
        ["2:7: ssh: unknown key `address`; it belongs to a host"],
    ),
    "unknown host key": (
        "hosts",
        "hosts:\n  node1: {address: 192.168.56.11}\n  node2: {adress: 192.168.56.12}",
        ["5:11: hosts.node2: unknown key `adress`; did you mean `address`?"],
    ),
    "other tools' word": (
        "hosts",
        "hosts:\n  node1: {address: 192.168.56.11}\n  node2: {ansible_host: 192.168.56.12}",
        ["5:11: hosts.node2: unknown key `ansible_host`; did you mean `address`?"],
    ),
    "unknown network key": (
        "networks",
        "networks:\n  demo: {subnet: 10.99.0.0/24, gatway: 10.99.0.1}",
        ["9:32: networks.demo: unknown key `gatway`; did you mean `gateway`?"],
    ),
    "unknown store key": (
        "store",
        "store: {kind: consul, token: x}",
        [
            "7:23: store: unknown key `token`; known are `kind`, `servers`, `endpoints`, `tls`, `binary`, `sha256`, `prefix`, `local_users`, `discovery`, `security`"
        ],
    ),
    "hostile key": (
        "more",
        '"\\e[31mred": 1',
        [
            "10:1: top level: unknown key '\\x1b[31mred'; known are `cluster`, `ssh`, `hosts`, `advertise`, `control_plane`, `store`, `swarm`, `dns`, `plugins`, `networks`"
        ],
    ),
    "case of a key": ("cluster", "Cluster: lab", ["1:1: top level: unknown key `Cluster`; did you mean `cluster`?"]),
    "cluster missing": ("cluster", "# nothing", ["2:1: `cluster` is missing: write `cluster: lab`"]),
    "hosts missing": (
        "hosts",
        "# nothing",
        ["1:1: `hosts` is missing: write `hosts:` and under it one line for each: `node1: {address: 192.168.56.11}`"],
    ),
    "networks missing": (
        "networks",
        "# nothing",
        [
            "1:1: `networks` is missing: write `networks:` and under it one line for each: `demo: {subnet: 10.99.0.0/24}`"
        ],
    ),
    "address missing": (
        "hosts",
        "hosts:\n  node1: {address: 192.168.56.11}\n  node2: {port: 22}",
        ["5:3: hosts.node2: `address` is missing: write `address: 192.168.56.11`"],
    ),
    "kind missing": ("store", "store: {}", ["7:1: store: `kind` is missing: write `kind: consul`"]),
    "subnet missing": (
        "networks",
        "networks:\n  demo: {}",
        [
            "9:3: networks.demo: `subnet` is missing: write `subnet: 10.99.0.0/24`; Docker can't choose it, because its choice may overlap networks that the hosts use"
        ],
    ),
    "no value": ("hosts", "hosts:", ["3:1: hosts: has no value; write one or remove the line"]),
    "no value of a key": (
        "hosts",
        "hosts:\n  node1: {address: 192.168.56.11}\n  node2: {address: }",
        ["5:11: hosts.node2.address: has no value; write one or remove the line"],
    ),
    "no hosts": ("hosts", "hosts: {}", ["3:8: hosts: names no host"]),
    "no networks": ("networks", "networks: {}", ["8:11: networks: names no network"]),
    "hosts as a list": (
        "hosts",
        "hosts: [192.168.56.11, 192.168.56.12]",
        [
            "3:8: hosts: must be a mapping, not a list: write `hosts:` and under it one line for each: `node1: {address: 192.168.56.11}`"
        ],
    ),
    "hosts as text": (
        "hosts",
        "hosts: node1",
        [
            "3:8: hosts: must be a mapping, not 'node1': write `hosts:` and under it one line for each: `node1: {address: 192.168.56.11}`"
        ],
    ),
    "bare address": (
        "hosts",
        "hosts:\n  node1: {address: 192.168.56.11}\n  node2: 192.168.56.12",
        ["5:10: hosts.node2: must be a mapping, not '192.168.56.12': write `{address: 192.168.56.12}`"],
    ),
    "host as a list": (
        "hosts",
        "hosts:\n  node1: {address: 192.168.56.11}\n  node2: [192.168.56.12]",
        ["5:10: hosts.node2: must be a mapping, not a list: write `{address: 192.168.56.11}`"],
    ),
    "bare subnet": (
        "networks",
        "networks: {demo: 10.99.0.0/24}",
        ["8:18: networks.demo: must be a mapping, not '10.99.0.0/24': write `{subnet: 10.99.0.0/24}`"],
    ),
    "networks as a list": (
        "networks",
        "networks:\n  - demo",
        [
            "9:3: networks: must be a mapping, not a list: write `networks:` and under it one line for each: `demo: {subnet: 10.99.0.0/24}`"
        ],
    ),
    "bare store": (
        "store",
        "store: consul",
        ["7:8: store: must be a mapping, not 'consul': write `store: {kind: consul}`"],
    ),
    "bare ssh": ("ssh", "ssh: root", ["2:6: ssh: must be a mapping, not 'root': write `ssh: {user: root}`"]),
    "labels as a list": (
        "networks",
        "networks:\n  demo: {subnet: 10.99.0.0/24, labels: [a]}",
        ["9:40: networks.demo.labels: must be a mapping, not a list: write `labels: {team: red}`"],
    ),
    "duplicate host": (
        "hosts",
        "hosts:\n  node1: {address: 192.168.56.11}\n  node1: {address: 192.168.56.12}",
        ["5:3: `node1` is a duplicate; the first is on line 4"],
    ),
    "duplicate top key": ("more", "cluster: other", ["10:1: `cluster` is a duplicate; the first is on line 1"]),
    "duplicate inner key": (
        "ssh",
        "ssh: {user: root, user: admin}",
        ["2:19: `user` is a duplicate; the first is on line 2"],
    ),
    "duplicate address": (
        "hosts",
        "hosts:\n  node1: {address: 192.168.56.11}\n  node2: {address: 192.168.56.11}",
        ["5:20: hosts.node2.address: 192.168.56.11, port 22, is `node1` already (line 4)"],
    ),
    "duplicate address with port of ssh": (
        "hosts",
        "hosts:\n  node1: {address: a.example, port: 22}\n  node2: {address: A.example}",
        ["5:20: hosts.node2.address: A.example, port 22, is `node1` already (line 4)"],
    ),
}


@pytest.mark.parametrize(("part", "text", "expected"), ROWS.values(), ids=ROWS)
def test_refused_with_its_line_and_its_cure(
    problems: Callable[..., list[str]], part: str, text: str, expected: list[str]
) -> None:
    assert problems(**{part: text}) == expected
