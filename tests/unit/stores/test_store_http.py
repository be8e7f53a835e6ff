"""py-consul's requests over a connection: requests that change the store count as writes, others do not."""

from __future__ import annotations

import contextlib
import http.server
import socket
import threading

import pytest

from provisioner.errors import Locked
from provisioner.stores.consul_client import HTTP_PORT, client
from provisioner.transport import Reader


class Answering(http.server.BaseHTTPRequestHandler):
    def answer(self):
        self.server.asked.append(self.command)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"[]")

    do_GET = do_PUT = do_POST = do_DELETE = answer  # noqa: N815  names from http.server

    def log_message(self, *_):
        pass


class Connection:
    """A connection to a host whose agent is this module's server."""

    def __init__(self, port, *, locked=True):
        self.port, self.locked, self.changes = port, locked, 0

    name = "node1"

    def socket(self, port, host="127.0.0.1", *, timeout=10.0):
        assert port == HTTP_PORT
        return socket.create_connection(("127.0.0.1", self.port))

    @contextlib.contextmanager
    def changing(self):
        if not self.locked:
            raise Locked("this run's lock on the host is lost", host="node1")
        self.changes += 1
        yield


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering) as made:
        made.asked = []
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def test_a_request_that_changes_the_store_is_a_write(server):
    connection = Connection(server.server_port)
    api = client(connection)
    api.status.peers()
    assert (server.asked, connection.changes) == (["GET"], 0)
    for number, change in enumerate((api.agent.leave, lambda: api.operator.raft_remove_peer(address="192.0.2.1:8300"),
                                     lambda: api.operator.keyring_install("key"), lambda: api.kv.delete("x")), 1):  # fmt: skip
        change()
        assert connection.changes == number
    assert set(server.asked[1:]) == {"PUT", "POST", "DELETE"}


def test_a_reader_can_not_change_the_store(server):
    connection = Connection(server.server_port)
    api = client(Reader(connection))
    api.status.peers()
    for change in (api.agent.leave, lambda: api.kv.put("x", "y"), lambda: api.acl.policy.create("x")):
        with pytest.raises(AssertionError, match="only read"):
            change()
    assert (server.asked, connection.changes) == (["GET"], 0)


def test_no_change_is_sent_once_the_lock_is_lost(server):
    with pytest.raises(Locked):
        client(Connection(server.server_port, locked=False)).agent.leave()
    assert server.asked == []
