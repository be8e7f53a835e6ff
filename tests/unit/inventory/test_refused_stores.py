"""Settings of a store that do not fit together: its kind, who manages it, and the times of discovery."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

MANY = " (an odd number, so that a majority is left if one is lost); without this key, the present servers stay"
ROWS: dict[str, tuple[str, list[str]]] = {
    "two endpoints of consul": (
        "kind: consul, endpoints: ['192.0.2.1:8500', '192.0.2.2:8500']",
        [
            "7:34: store.endpoints: the engine supports one endpoint of Consul: name the agent on every host, `[127.0.0.1:8500]`"
        ],
    ),
    "an endpoint twice": (
        "kind: etcd, endpoints: ['192.0.2.1:2379', '192.0.2.1:2379']",
        ["7:51: store.endpoints: '192.0.2.1:2379' is named twice"],
    ),
    "servers of an external store": (
        "kind: etcd, endpoints: ['192.0.2.1:2379'], servers: [node1]",
        ["7:52: store.servers: is for a store that provisioner sets up, not for `endpoints`: remove one of the two"],
    ),
    "a scheme": (
        "kind: etcd, endpoints: ['http://192.0.2.1:2379/']",
        [
            "7:32: store.endpoints: 'http://192.0.2.1:2379/' is not allowed: write it without the scheme: `192.0.2.1:2379`"
        ],
    ),
    "no port": (
        "kind: zookeeper, endpoints: [192.0.2.1]",
        [
            "7:37: store.endpoints: '192.0.2.1' is not an address with a port from 1 to 65535: write `[192.0.2.21:2379, 192.0.2.22:2379]`"
        ],
    ),
    "a shell's words": (
        "kind: etcd, endpoints: ['$(id):2379']",
        ["7:32: store.endpoints: '$(id):2379' is not an address: write an IPv4 address or a host name, and the port"],
    ),
    "no list": (
        "kind: etcd, endpoints: '192.0.2.1:2379'",
        [
            "7:32: store.endpoints: must be a list of 1 to 9 addresses with ports: `[192.0.2.21:2379, 192.0.2.22:2379]`, not '192.0.2.1:2379'"
        ],
    ),
    "etcd uploaded": (
        "kind: etcd, binary: lab.yml",
        ["7:21: store.binary: only Consul can be uploaded; etcd and ZooKeeper come from the hosts' package sources"],
    ),
    "what etcd has not": (
        "kind: etcd, security: {tls: true, acls: true}",
        ["7:43: store.security.acls: only Consul has this setting: remove it"],
    ),
    "even servers of etcd": (
        "kind: etcd, servers: [node1, node2]",
        [f"7:30: store.servers: names 2 servers; there must be 1, 3 or 5{MANY}"],
    ),
    "ttl not above heartbeat": (
        "kind: etcd, discovery: {heartbeat: 20, ttl: 20}",
        [
            "7:53: store.discovery.ttl: 20 s is not greater than the heartbeat of 20 s: every engine would count as gone; three times the heartbeat is usual"
        ],
    ),
    "ttl alone and tiny": (
        "kind: etcd, discovery: {ttl: 1}",
        [
            "7:38: store.discovery.ttl: 1 s is not greater than the heartbeat of 0 s: every engine would count as gone; three times the heartbeat is usual"
        ],
    ),
    "ttl too short for consul": (
        "kind: consul, discovery: {heartbeat: 5, ttl: 19}",
        [
            "7:54: store.discovery.ttl: ttl is 19 s; Consul needs at least 20 s (its sessions last half of it, but at least 10 s)"
        ],
    ),
    "heartbeat too short for consul": (
        "kind: consul, discovery: {heartbeat: 6}",
        [
            "7:46: store.discovery.heartbeat: the ttl, three times the heartbeat, is 18 s; Consul needs at least 20 s (its sessions last half of it, but at least 10 s)"
        ],
    ),
    "two TLS files of three": (
        "kind: etcd, endpoints: ['192.0.2.1:2379'], tls: {ca: lab.yml, key: lab.yml}",
        [
            "7:52: store.tls: `cert` is missing: write `cert: files/cert.pem`; all three files are required; otherwise the engine would silently connect without TLS"
        ],
    ),
    "TLS of a store that is set up": (
        "kind: etcd, tls: {ca: lab.yml, cert: lab.yml, key: lab.yml}",
        [
            "7:21: store.tls: is for an existing store; a store that provisioner sets up has its own files: remove it, or add `endpoints`"
        ],
    ),
    "ZooKeeper with TLS": (
        "kind: zookeeper, endpoints: ['192.0.2.1:2181'], tls: {ca: lab.yml, cert: lab.yml, key: lab.yml}",
        ["7:57: store.tls: engines have no TLS for ZooKeeper: remove it, or use etcd or Consul"],
    ),
    "security of an external store": (
        "kind: etcd, endpoints: ['192.0.2.1:2379'], security: {tls: false}",
        [
            "7:52: store.security: is for a store that provisioner sets up, not for `endpoints`: remove it; for TLS, use `store.tls`"
        ],
    ),
    "local users of an external store": (
        "kind: consul, endpoints: ['127.0.0.1:8500'], local_users: [prometheus]",
        [
            "7:54: store.local_users: is for a store that provisioner sets up; access to `endpoints` is not restricted: remove it"
        ],
    ),
    "a local user alone": (
        "kind: consul, local_users: prometheus",
        ["7:36: store.local_users: must be a list of users of the hosts: `[prometheus]`, not 'prometheus'"],
    ),
    "a local user that can't be one": (
        "kind: consul, local_users: [prometheus, 'x; reboot']",
        [
            "7:36: store.local_users: must be a list of users of the hosts: `[prometheus]`; 'x; reboot' is not a user: a name has lower-case letters, digits, `_` and `-`; write other users as numbers"
        ],
    ),
    "half seconds": (
        "kind: etcd, discovery: {ttl: 30.5}",
        ["7:38: store.discovery.ttl: must be a whole number from 1 to 86400, not 30.5"],
    ),
    "an option's own name": (
        "kind: etcd, discovery: {kv.path: docker/nodes}",
        ["7:33: store.discovery: unknown key `kv.path`; did you mean `path`?"],
    ),
    "a number for discovery": (
        "kind: etcd, discovery: 60",
        ["7:32: store.discovery: must be a mapping, not 60: write `discovery: {heartbeat: 20, ttl: 60}`"],
    ),
}


@pytest.mark.parametrize(("words", "expected"), ROWS.values(), ids=ROWS)
def test_refused_with_its_line_and_its_cure(
    problems: Callable[..., list[str]], words: str, expected: list[str]
) -> None:
    assert problems(store=f"store: {{{words}}}") == expected


@pytest.mark.parametrize(
    "words",
    [
        "kind: etcd",
        "kind: zookeeper, servers: [node1]",
        "kind: consul, endpoints: ['127.0.0.1:8500']",
        "kind: etcd, endpoints: ['192.0.2.1:2379', 'etcd.example.net:2379'], prefix: lab",
        "kind: consul, discovery: {heartbeat: 7}",
        "kind: etcd, discovery: {heartbeat: 5, ttl: 15, path: docker/nodes}",
        "kind: etcd, security: {tls: false}",
        "kind: consul, local_users: [prometheus, _exporter, 1001]",
        "kind: consul, endpoints: ['127.0.0.1:8501'], tls: {ca: lab.yml, cert: lab.yml, key: lab.yml}",
    ],
)
def test_accepted(loaded: Callable[..., object], words: str) -> None:
    loaded(store=f"store: {{{words}}}")


def test_a_tls_file_that_does_not_exist(problems: Callable[..., list[str]]) -> None:
    (found,) = problems(
        store="store: {kind: etcd, endpoints: ['192.0.2.1:2379'], tls: {ca: lab.yml, cert: gone.pem, key: lab.yml}}"
    )
    assert found.startswith("7:77: store.tls.cert: ")
    assert found.endswith("gone.pem' does not exist")


def test_external_values_are_not_shown(problems: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHERE", "192.0.2.7:2379")
    monkeypatch.setenv("TTL", "17")
    store = "store: {kind: etcd, endpoints: [!env WHERE, !env WHERE], discovery: {heartbeat: 18, ttl: !env TTL}}"
    found = problems(store=store)
    assert len(found) == 2
    assert not any("192.0.2.7" in line or "17" in line.partition(": ")[2] for line in found)
