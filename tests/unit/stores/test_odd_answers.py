"""A malformed answer of a store becomes a StoreError. No traceback appears, not even from a library."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from types import SimpleNamespace

import pytest

from provisioner.errors import StoreError
from provisioner.stores import consul, consul_acl, waiting, zookeeper, zookeeper_keys
from provisioner.stores.asking import HttpClient
from provisioner.stores.keys import ConsulKeys, EtcdKeys
from provisioner.stores.lock import StoreLock

NONSENSE = (
    "",
    "<html>",
    "[",
    "{}x",
    "NaN",
    "1",
    "true",
    '"x"',
    "[1]",
    "[[]]",
    '[{"Key": 1}]',
    "9" * 10_000,
    "[" * 100_000,
)
IN_ETCD = (
    *NONSENSE,
    "[]",
    '{"node": 1}',
    '{"node": {"key": "a", "value": 1}}',
    '{"node": {"nodes": [{"key": [], "value": "x"}]}}',
)
IN_CONSUL = (*NONSENSE, "{}", '[{"Key": "a", "Value": "%%"}]', '[{"Key": "a", "Value": 1}]', '[{"Value": "YQ=="}]')


class Server:
    where = "192.0.2.1:2379"
    connection = SimpleNamespace(name="node1", changing=lambda **_: contextlib.nullcontext())

    def __init__(self, text):
        self.text = text

    def __call__(self, *_):
        return 200, self.text


@pytest.mark.parametrize(("kind", "text"), [*((EtcdKeys, t) for t in IN_ETCD), *((ConsulKeys, t) for t in IN_CONSUL)])
def test_keys(kind, text):
    with pytest.raises(StoreError, match="the store's answer can't be parsed: ") as caught:
        kind((Server(text),)).under("docker")
    assert caught.value.host == "node1"
    assert len(str(caught.value)) < 1000


def test_a_session_without_an_id():
    answers = iter([(404, ""), (200, '{"Name": "x"}')])
    server = Server("")
    server_call = lambda *_: next(answers)  # noqa: E731
    asked = type("Once", (Server,), {"__call__": staticmethod(server_call)})(server.text)
    with pytest.raises(StoreError, match="ID: Field required"):
        ConsulKeys((asked,)).hold("lock", "mine", seconds=10)


@pytest.mark.parametrize(
    "holder", ["9" * 10_000, '{"hosts": 1}', '{"hosts": [[1], {}]}', '{"hosts": "ab"}', "[" * 100_000]
)
def test_a_lock_that_somebody_else_has_written(holder):
    lock = StoreLock(SimpleNamespace(hold=lambda *_, **__: holder), "lock", "me", ["a", "b"])
    with pytest.raises(Exception, match="another run is changing") as caught:
        lock.take()
    assert len(str(caught.value)) < 600


def raising(error):
    def raises(*_, **__):
        raise error

    return raises


@pytest.mark.parametrize(
    "api",
    [
        SimpleNamespace(leader=lambda: {"a": 1}, peers=list),
        SimpleNamespace(leader=lambda: "192.0.2.1:8300", peers=lambda: [1, 2]),
        SimpleNamespace(leader=raising(json.JSONDecodeError("no", "", 0)), peers=list),
        SimpleNamespace(leader=raising(RecursionError()), peers=list),
    ],
)
def test_a_leader_of_consul(api, monkeypatch):
    monkeypatch.setattr(waiting, "_PATIENCE", 0.1)
    monkeypatch.setattr(consul, "client", lambda *_: SimpleNamespace(status=api))
    store = consul.Consul(SimpleNamespace(discovery=SimpleNamespace(path=""), prefix=""))
    with pytest.raises(StoreError, match="Consul has no leader"):
        store.wait_for_leader(SimpleNamespace(name="node1", lost=False), servers=1)


@pytest.mark.parametrize("rings", [{}, [1], [{"Keys": ["a"]}], [{"Keys": {"a": True}}]])
def test_a_keyring_of_consul(rings):
    operator = SimpleNamespace(keyring_install=str, keyring_use=str, keyring_list=lambda: rings)
    with pytest.raises(StoreError, match="changing Consul's keys or tokens failed"):
        consul_acl.rotate_gossip_key(SimpleNamespace(operator=operator), "node1", "key")


@pytest.mark.parametrize(
    "reply", [b"HTTP/1.0 200 OK\r\n\r\n", b"\0\0\0\0", b"\0\0\0\4abcd", b"\x7f\xff\xff\xff" + b"x" * 99], ids=repr
)
def test_what_is_no_zookeeper(reply, monkeypatch, capfd):
    monkeypatch.setattr(zookeeper_keys, "_PATIENCE", 0.5)

    def connected(*_, **__):
        ours, theirs = socket.socketpair()
        ours.settimeout(1)
        threading.Thread(target=lambda: (theirs.recv(4096), theirs.sendall(reply), theirs.close()), daemon=True).start()
        return ours

    connection = SimpleNamespace(name="node1", socket=connected)
    answer = zookeeper.rights((HttpClient(connection, "192.0.2.1:2181"),), ["docker/nodes"])
    assert answer.startswith("000 no server of the store answers")
    assert capfd.readouterr() == ("", "")
