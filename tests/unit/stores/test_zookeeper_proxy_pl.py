"""templates/zookeeper-proxy.pl, run with this machine's Perl. The test plays both the engine and the server.

Frames have the format of ZooKeeper's zookeeper.jute. The e2e tests use real engines and servers.
"""

from __future__ import annotations

import socket
import struct
import subprocess
import time
from pathlib import Path

import pytest

from tests.ports import free_port

PROGRAM = Path(__file__).parents[3] / "templates" / "zookeeper-proxy.pl"
COUNTS = "/docker/network/v1.0/endpoint_count"
NETWORKS = "/docker/network/v1.0/network"
DELETE, GET, SET, LIST = 2, 4, 5, 12
NEVER = 0x3FFFFFFF
DATA_CHANGED, CHILDREN_CHANGED = 3, 4


def text(word: bytes) -> bytes:
    return struct.pack(">i", len(word)) + word


def stat(version: int) -> bytes:
    return struct.pack(">qqqqiiiqiiq", 1, 2, 3, 4, version, 5, 6, 7, 8, 9, 10)


class Ways:
    """Both ends of the proxy: the engine's connection and the server's."""

    def __init__(self, engine: socket.socket, server: socket.socket) -> None:
        self.engine, self.server, self.xid = engine, server, 0

    @staticmethod
    def take(end: socket.socket) -> bytes:
        def exactly(count: int) -> bytes:
            found = b""
            while len(found) < count:
                part = end.recv(count - len(found))
                assert part, "closed"
                found += part
            return found

        return exactly(*struct.unpack(">i", exactly(4)))

    def ask(self, kind: int, path: str, rest: bytes = b"\0") -> tuple[str, bytes]:
        """Send a request as the engine. Returns the path and the rest, as the server receives them."""
        self.xid += 1
        self.engine.sendall(text(struct.pack(">ii", self.xid, kind) + text(path.encode()) + rest))
        frame = self.take(self.server)
        assert struct.unpack(">ii", frame[:8]) == (self.xid, kind)
        (length,) = struct.unpack(">i", frame[8:12])
        return frame[12 : 12 + length].decode(), frame[12 + length :]

    def tell(self, body: bytes, error: int = 0) -> bytes:
        """Answer the last request as the server. Returns the body that the engine receives."""
        self.server.sendall(text(struct.pack(">iqi", self.xid, 77, error) + body))
        frame = self.take(self.engine)
        assert struct.unpack(">iqi", frame[:16]) == (self.xid, 77, error)
        return frame[16:]

    def get(self, path: str, version: int, data: bytes = b"{}", *, watch: bool = False) -> str:
        seen, rest = self.ask(GET, path, bytes([watch]))
        assert rest == bytes([watch])
        answer = text(data) + stat(version)
        assert self.tell(answer) == answer
        return seen

    def list(self, path: str, *names: str, watch: bool = False) -> tuple[list[str], int]:
        """List a folder. Returns the names and the folder's version, as the engine receives them."""
        assert self.ask(LIST, path, bytes([watch])) == (path, bytes([watch]))
        body = self.tell(struct.pack(">i", len(names)) + b"".join(text(name.encode()) for name in names) + stat(0))
        (count,), body, found = struct.unpack(">i", body[:4]), body[4:], []
        for _ in range(count):
            (length,) = struct.unpack(">i", body[:4])
            found.append(body[4 : 4 + length].decode())
            body = body[4 + length :]
        assert len(body) == len(stat(0))
        return found, struct.unpack(">i", body[32:36])[0]

    def change(self, kind: int, path: str, version: int) -> int:
        """Send a change as the engine. Returns the version that the server receives."""
        data = text(b"{}") if kind == SET else b""
        seen, rest = self.ask(kind, path, data + struct.pack(">i", version))
        assert (seen, rest[:-4]) == (path, data)
        self.tell(stat(0) if kind == SET else b"")
        return int(struct.unpack(">i", rest[-4:])[0])

    def event(self, within: float = 3.0) -> tuple[int, str] | None:
        """Return the next event that the engine receives; None if there is none within so many seconds."""
        self.engine.settimeout(within)
        try:
            frame = self.take(self.engine)
        except TimeoutError:
            return None
        finally:
            self.engine.settimeout(5)
        assert frame[:16] == struct.pack(">iqi", -1, -1, 0)
        kind, state = struct.unpack(">ii", frame[16:24])
        assert state == 3
        return kind, frame[28:].decode()


@pytest.fixture
def ways():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = free_port()
        where = f"127.0.0.1:{listener.getsockname()[1]}"
        proxy = subprocess.Popen(["perl", str(PROGRAM), str(port), "127.0.0.1:1", where], stdout=subprocess.DEVNULL)
        try:
            yield from _met(port, listener)
        finally:
            proxy.kill()
            proxy.wait()


def _met(port: int, listener: socket.socket):
    until = time.monotonic() + 10
    while True:
        try:
            engine = socket.create_connection(("127.0.0.1", port), timeout=5)
            break
        except OSError:
            assert time.monotonic() < until
            time.sleep(0.02)
    listener.settimeout(10)
    server, _ = listener.accept()
    server.settimeout(5)
    with engine, server:
        met = Ways(engine, server)
        session = (
            struct.pack(">ii", 1, LIST) + text(COUNTS.encode()) + b"\1"
        )  # the proxy forwards the first frames unchanged, because they set up the session
        engine.sendall(text(session))
        assert met.take(server) == session
        server.sendall(text(session))
        assert met.take(engine) == session
        yield met


def test_children_of_endpoint_count_are_listed_with_their_paths_and_read_at_their_place(ways):
    found, _ = ways.list(COUNTS, "ab", "cd")
    assert found == [f"{COUNTS[1:]}/ab", f"{COUNTS[1:]}/cd"]
    assert ways.get(f"{COUNTS}{COUNTS}/ab", 0) == f"{COUNTS}/ab"
    assert ways.get(f"/pre{COUNTS}/pre{COUNTS}/ab", 0) == f"/pre{COUNTS}/ab"


def test_other_children_are_listed_unchanged(ways):
    assert ways.list(NETWORKS, "ab", "cd")[0] == ["ab", "cd"]
    assert ways.get(f"{NETWORKS}/ab", 0) == f"{NETWORKS}/ab"


@pytest.mark.parametrize("kind", [SET, DELETE])
def test_a_change_after_a_listing_is_made_with_the_version_of_the_key(ways, kind):
    _, ticket = ways.list(NETWORKS, "ab", "cd")
    ways.get(f"{NETWORKS}/ab", 3)
    ways.get(f"{NETWORKS}/cd", 5)
    assert ways.change(kind, f"{NETWORKS}/ab", ticket) == 3
    assert ways.change(kind, f"{NETWORKS}/cd", ticket) == 5
    assert [ways.change(kind, f"{NETWORKS}/ab", version) for version in (7, -1)] == [7, -1]


def test_an_older_ticket_stands_for_the_older_version(ways):
    """A second listing has read a newer version, but the first ticket still stands for the older one."""
    _, ticket = ways.list(NETWORKS, "ab")
    ways.get(f"{NETWORKS}/ab", 3)
    _, later = ways.list(NETWORKS, "ab")
    ways.get(f"{NETWORKS}/ab", 4)
    assert (ways.change(SET, f"{NETWORKS}/ab", ticket), ways.change(SET, f"{NETWORKS}/ab", later)) == (3, 4)


def test_a_ticket_of_a_version_that_is_forgotten_changes_nothing(ways):
    tickets = []
    for version in range(12):
        tickets.append(ways.list(NETWORKS, "ab")[1])
        ways.get(f"{NETWORKS}/ab", version)
    assert [ways.change(SET, f"{NETWORKS}/ab", ticket) for ticket in tickets] == [NEVER] * 5 + list(range(5, 12))
    assert ways.change(SET, f"{NETWORKS}/never-read", tickets[-1]) == NEVER
    assert ways.change(SET, f"{NETWORKS}/ab", tickets[0] - 1) == NEVER  # a ticket from an earlier connection


def test_a_key_that_has_changed_before_it_was_watched(ways):
    ways.get(f"{COUNTS}/ab", 1)
    ways.get(f"{COUNTS}/ab", 2, watch=True)
    assert ways.event() == (DATA_CHANGED, f"{COUNTS}/ab")
    ways.get(f"{COUNTS}/ab", 2)
    ways.get(f"{COUNTS}/ab", 2, watch=True)
    assert ways.event(0.5) is None


def test_a_key_of_which_two_states_were_read_before_it_was_watched(ways):
    """The proxy can't know which of the two states the watcher has read."""
    ways.get(f"{COUNTS}/ab", 1)
    ways.get(f"{COUNTS}/ab", 2)
    ways.get(f"{COUNTS}/ab", 2, watch=True)
    assert ways.event() == (DATA_CHANGED, f"{COUNTS}/ab")


def test_a_folder_that_has_changed_before_it_was_watched(ways):
    ways.list("/docker/nodes", "b", "a")
    ways.list("/docker/nodes", "a", "b", watch=True)
    assert ways.event(0.5) is None
    ways.list("/docker/nodes", "a", "b")
    ways.list("/docker/nodes", "a", "b", "c", watch=True)
    assert ways.event() == (CHILDREN_CHANGED, "/docker/nodes")


@pytest.mark.parametrize("empty", [b"", b"\1"])
def test_a_key_that_is_still_empty_is_reported_again(ways, empty):
    ways.list("/docker/nodes", "a")
    ways.get("/docker/nodes/a", 0, empty)
    ways.list("/docker/nodes", "a", watch=True)
    assert ways.event() == (CHILDREN_CHANGED, "/docker/nodes")
    ways.list("/docker/nodes", "a")
    ways.get("/docker/nodes/a", 1, b"192.0.2.1:2376")
    ways.list("/docker/nodes", "a", watch=True)
    assert ways.event(0.5) is None
