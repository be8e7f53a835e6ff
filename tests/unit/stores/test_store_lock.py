"""The lock of an external store, and the keys of etcd and Consul. The fake servers know only the requests used here."""

from __future__ import annotations

import base64
import contextlib
import json
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from provisioner.errors import Locked, StoreError
from provisioner.stores.keys import ConsulKeys, EtcdKeys
from provisioner.stores.lock import StoreLock, path


class Connection:
    name = "node1"

    def __init__(self):
        self.changes = 0

    @contextlib.contextmanager
    def changing(self, *, lock):
        assert lock, "a run takes and releases it when it may have no lock of a host"
        self.changes += 1
        yield


class Server:
    where = "192.0.2.1:2379"

    def __init__(self, *, forbidden=False):
        self.connection = Connection()
        self.there: dict[str, str] = {}
        self.forbidden = forbidden

    def __call__(self, target, method="GET", body=""):
        url = urlsplit(target)
        words = {key: found[0] for key, found in parse_qs(url.query, keep_blank_values=True).items()}
        return (403, "Permission denied") if self.forbidden else self.answer(method, unquote(url.path), words, body)


class Etcd(Server):
    def answer(self, method, path, words, body):
        key = path.removeprefix("/v2/keys/")
        if method == "GET":
            found = [{"key": f"/{k}", "value": v} for k, v in self.there.items() if k == key or k.startswith(f"{key}/")]
            if not found:
                return 404, json.dumps({"errorCode": 100})
            return 200, json.dumps(
                {"node": found[0] if found[0]["key"] == f"/{key}" else {"dir": True, "nodes": found}}
            )
        if words.get("prevExist") == "false" and key in self.there:
            return 412, json.dumps({"errorCode": 105})
        if "prevValue" in words and self.there.get(key) != words["prevValue"]:
            return (412, "{}") if key in self.there else (404, "{}")
        if method == "DELETE":
            del self.there[key]
            return 200, "{}"
        form = {name: found[0] for name, found in parse_qs(body).items()}
        assert int(form["ttl"]) > 0
        self.there[key] = form["value"]
        return 201, "{}"


class Consul(Server):
    def __init__(self, *, forbidden=False):
        super().__init__(forbidden=forbidden)
        self.sessions: dict[str, str] = {}

    def answer(self, method, path, words, body):
        if path == "/v1/session/create":
            assert json.loads(body)["Behavior"] == "delete"
            self.sessions[f"s{len(self.sessions)}"] = ""
            return 200, json.dumps({"ID": f"s{len(self.sessions) - 1}"})
        if path.startswith("/v1/session/destroy/"):
            self.there.pop(self.sessions[path.rpartition("/")[2]], None)
            return 200, "true"
        key = path.removeprefix("/v1/kv/")
        if method == "DELETE":
            assert words["cas"] == "7"
            del self.there[key]
            return 200, "true"
        if method == "PUT":
            if key in self.there:
                return 200, "false"
            self.there[key], self.sessions[words["acquire"]] = body, key
            return 200, "true"
        found = [k for k in self.there if k == key or ("recurse" in words and k.startswith(key))]
        holders = {held: {"Session": session} for session, held in self.sessions.items()}
        entries = [
            {
                "Key": k,
                "Value": base64.b64encode(self.there[k].encode()).decode(),
                "ModifyIndex": 7,
                **holders.get(k, {}),
            }
            for k in found
        ]
        return (200, json.dumps(entries)) if entries else (404, "")


KINDS = [(Etcd, EtcdKeys), (Consul, ConsulKeys)]


@pytest.fixture(params=KINDS, ids=["etcd", "consul"])
def kind(request):
    return request.param


def lock(server, keys, owner="me", hosts=("a", "b")):
    return StoreLock(keys((server,)), path("lab"), owner, hosts)


def test_one_at_a_time(kind):
    server = kind[0]()
    mine, other = lock(server, kind[1]), lock(server, kind[1], "her", ("c",))
    mine.take()
    assert set(server.there) == {"lab/docker/provisioner/lock"}
    with pytest.raises(Locked, match="me") as caught:
        other.take()
    assert caught.value.cause == "store-locked"
    other.give_back()
    assert server.there
    before = server.connection.changes
    mine.give_back()
    assert not server.there
    assert server.connection.changes == before + 1
    other.take()


def test_a_lock_of_a_run_on_the_same_hosts_is_known_to_be_stale(kind):
    server = kind[0]()
    lock(server, kind[1], "killed", ("b", "x")).take()
    mine = lock(server, kind[1])
    mine.take()
    assert list(server.there.values()) == [mine.text]


def test_a_lock_restored_from_a_backup_is_taken_over_and_given_back(kind):
    """In Consul, a restored key has no session."""
    server = kind[0]()
    mine = lock(server, kind[1])
    server.there[mine.path] = lock(server, kind[1], "of yesterday").text
    mine.take()
    assert server.there == {mine.path: mine.text}
    server.there[mine.path] = mine.text
    mine.give_back()
    assert not server.there


def test_what_is_below_a_folder(kind):
    server = kind[0]()
    keys = kind[1]((server,))
    assert keys.under("docker/nodes") == {}
    keys.hold("docker/nodes/192.0.2.1:2376", "one", seconds=60)
    keys.hold("other", "two", seconds=60)
    assert keys.under("docker/nodes") == {"docker/nodes/192.0.2.1:2376": "one"}


def test_no_right_to_write(kind):
    with pytest.raises(StoreError, match="denies this host's engine write access under docker/") as caught:
        lock(kind[0](forbidden=True), kind[1]).take()
    assert caught.value.cause == "store-forbidden"


def test_an_answer_of_another_kind(kind):
    class Broken(kind[0]):
        def answer(self, *_):
            return 500, "no cluster leader"

    with pytest.raises(StoreError, match="the store answers with HTTP status 500") as caught:
        lock(Broken(), kind[1]).take()
    assert caught.value.cause == "store-refuses"


def test_no_server_answers(kind):
    def silent(*_):
        raise OSError("Connection refused")

    silent.where = "192.0.2.1:2379"
    with pytest.raises(StoreError, match="no server of the store answers"):
        kind[1]((silent,)).under("docker")
