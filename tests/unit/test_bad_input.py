"""Incompatible settings are refused with a reason and a remedy: offline if possible, else before any change."""

from __future__ import annotations

import json

import pytest
from captured import HOSTS, capture, with_file, with_http, with_system, with_unit

from provisioner import causes, preflight
from provisioner.controlplane import resolve
from provisioner.errors import InventoryError
from provisioner.inventory import load
from provisioner.stores import etcd
from provisioner.system.reading import DAEMON_JSON

THEIRS = "endpoints: ['192.0.2.1:2379']"
TLS = "tls: {ca: lab.yml, cert: lab.yml, key: lab.yml}"
OPEN = "security: {gossip: false, tls: false, acls: false}"  # of Consul, as the captured hosts have it
CAPTURED = {"consul": "settled"}  # kind of store -> name of its captures, if it is another one

# the text under `store:`, the reason of the refusal, and the remedy
OFFLINE = {
    "two TLS files": (f"kind: etcd, {THEIRS}, tls: {{ca: lab.yml, key: lab.yml}}", "would silently connect without TLS", "write `cert: files/cert.pem`"),
    "one TLS file": (f"kind: etcd, {THEIRS}, tls: {{ca: lab.yml}}", "would silently connect without TLS", "write `key: files/key.pem`"),
    "TLS files of a store that is set up here": (f"kind: etcd, {TLS}", "has its own files", "remove it, or add `endpoints`"),
    "ZooKeeper with TLS": (f"kind: zookeeper, {THEIRS}, {TLS}", "have no TLS for ZooKeeper", "remove it, or use etcd or Consul"),
    "ttl not above heartbeat": ("kind: etcd, discovery: {heartbeat: 20, ttl: 20}", "every engine would count as gone", "three times the heartbeat"),
    "ttl below heartbeat": ("kind: consul, discovery: {heartbeat: 40, ttl: 30}", "every engine would count as gone", "three times the heartbeat"),
    "ttl too short for Consul": ("kind: consul, discovery: {heartbeat: 5, ttl: 15}", "its sessions last half of it", "needs at least 20 s"),
    "ZooKeeper that is secured": ("kind: zookeeper, security: {tls: true}", "have no TLS for ZooKeeper", "remove it, or use etcd or Consul"),
    "gossip of ZooKeeper": ("kind: zookeeper, security: {gossip: true}", "only Consul has this setting", "remove it"),
    "two servers": ("kind: etcd, servers: [node1, node2]", "a majority is left", "must be 1, 3 or 5"),
    "two servers of ZooKeeper": ("kind: zookeeper, servers: [node1, node2]", "a majority is left", "must be 1, 3 or 5"),
    "two endpoints of Consul": ("kind: consul, endpoints: ['192.0.2.1:8500', '192.0.2.2:8500']", "supports one endpoint", "name the agent on every host"),
    "security of their store": (f"kind: etcd, {THEIRS}, security: {{tls: false}}", "not for `endpoints`", "remove it"),
}  # fmt: skip


@pytest.mark.parametrize(("words", "reason", "remedy"), OFFLINE.values(), ids=OFFLINE)
def test_offline(tmp_path, words, reason, remedy):
    file = tmp_path / "lab.yml"
    hosts = "".join(f"  node{n}: {{address: 192.168.56.1{n}}}\n" for n in (1, 2, 3))
    file.write_text(f"cluster: lab\nhosts:\n{hosts}store: {{{words}}}\nnetworks: {{demo: {{subnet: 10.99.0.0/24}}}}\n")
    with pytest.raises(InventoryError) as caught:
        load(file)
    assert any(reason in text and remedy in text for text in caught.value.problems), caught.value.problems


def their_etcd(facts, **answers):
    replies = {
        "version": {"etcdserver": "3.6.1"},
        "leader": {"health": "true"},
        "keys": "404 404 page not found",
        **answers,
    }
    for what, answer in replies.items():
        facts = with_http(facts, f"{what}@192.0.2.1:2379", answer)
    return facts


def bare_with_etcd(version):
    facts = with_unit(capture("etcd-node2"), etcd.UNIT, ActiveState="inactive")
    for path in (etcd.JSON, etcd.LOADED, etcd.UNIT_FILE):
        facts = with_file(facts, path, "")
    return with_system(with_system(facts, "etcd-data=", None), "etcd-version=", version)


def with_options(*names):
    return with_file(
        capture("etcd-node2"), DAEMON_JSON, json.dumps({"cluster-store-opts": dict.fromkeys(names, "/x.pem")}) + "\n"
    )


def with_times(kind, **times):
    """A host with these discovery times in its daemon.json."""
    options = {f"discovery.{key}": word for key, word in times.items()}
    return with_file(
        capture(f"{CAPTURED.get(kind, kind)}-node2"), DAEMON_JSON, json.dumps({"cluster-store-opts": options}) + "\n"
    )


# the text under `store:`, node2's facts, the cause, its evidence, and its cure
BEFORE_ANY_CHANGE = {
    "their etcd serves no v2": (
        f"kind: etcd, {THEIRS}", their_etcd(capture("etcd-node2")), "store-without-v2", "the only one that engines use", "--enable-v2=true"),
    "their etcd is down": (
        f"kind: etcd, {THEIRS}", their_etcd(capture("etcd-node2"), leader="000 Connection refused"), "store-unreachable", "Connection refused", "open 192.0.2.1:2379"),
    "its etcd has no v2 any more": (
        "kind: etcd", bare_with_etcd("3.6.1"), "store-without-v2", "engines need the v2 API", "use etcd 3.3, 3.4 or 3.5"),
    "two TLS files in daemon.json": (
        "kind: etcd, security: {tls: false}", with_options("kv.cacertfile", "kv.keyfile"), "store-tls", "silently not use TLS", "all three files, or none"),
    "a ttl in daemon.json below the heartbeat": (
        "kind: etcd, security: {tls: false}, discovery: {heartbeat: 40}", with_times("etcd", ttl="30"), "store-options",
        "discovery.heartbeat '40' of the inventory, discovery.ttl '30' of /etc/docker/daemon.json: 30 s is not greater than the heartbeat of 40 s",
        "remove discovery.ttl from cluster-store-opts in /etc/docker/daemon.json, or set both in store.discovery"),
    "a heartbeat in daemon.json above the ttl": (
        "kind: etcd, security: {tls: false}, discovery: {ttl: 30}", with_times("etcd", heartbeat="30"), "store-options",
        "every engine would count as gone", "remove discovery.heartbeat from"),
    "a ttl in daemon.json too short for Consul": (
        f"kind: consul, {OPEN}", with_times("consul", ttl="15"), "store-options", "ttl is 15 s; Consul needs at least 20 s", "remove discovery.ttl from"),
    "a ttl in daemon.json of 5000 digits": (
        "kind: etcd, security: {tls: false}", with_times("etcd", ttl="9" * 5000), "store-options", "whole seconds there, as a string", "remove discovery.ttl from"),
    "a ttl in daemon.json that no engine reads": (
        "kind: etcd, security: {tls: false}", with_times("etcd", ttl=60), "store-options", "whole seconds there, as a string", "remove discovery.ttl from"),
}  # fmt: skip


@pytest.mark.parametrize("row", BEFORE_ANY_CHANGE.values(), ids=BEFORE_ANY_CHANGE)
def test_before_any_change(inventory, row):
    words, facts, check, reason, remedy = row
    kind, _, more = words.removeprefix("kind: ").partition(",")
    hosts = {**{name: capture(f"{CAPTURED.get(kind, kind)}-{name}") for name in HOSTS}, "node2": facts}
    site, _ = resolve(inventory(kind=kind, store=f",{more}" if more else ""), hosts)
    found = [f for f in preflight.run(site) if (f.id, f.host) == (check, "node2")]
    assert [causes.severity(f).value for f in found] == ["stop"]
    assert reason in found[0].evidence
    assert remedy in causes.cure(found[0])


def test_times_of_daemon_json_that_are_compatible_with_the_inventory(inventory):
    found = {name: capture(f"etcd-{name}") for name in HOSTS}
    for words, facts in (
        ("heartbeat: 10", with_times("etcd", ttl="30")),
        ("heartbeat: 40, ttl: 120", with_times("etcd", ttl="30", heartbeat="x")),
    ):
        site, _ = resolve(
            inventory(kind="etcd", store=f", security: {{tls: false}}, discovery: {{{words}}}"),
            {**found, "node2": facts},
        )
        assert "store-options" not in {f.id for f in preflight.run(site)}
