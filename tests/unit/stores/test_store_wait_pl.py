"""templates/store-wait.pl, run with this machine's Perl against servers that answer as the stores do."""

from __future__ import annotations

import socket
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[3] / "templates" / "store-wait.pl"
HTTP = "HTTP/1.0 {} X\r\nContent-Type: text/plain\r\n\r\n{}"


@contextmanager
def server(answer: str):
    """Start a server that reads one request and answers. Yields its ADDRESS:PORT."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer.encode())

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def code(kind: str, *servers: str) -> int:
    return subprocess.run(
        ["perl", str(PROGRAM), kind, *servers], check=False, capture_output=True, timeout=30
    ).returncode


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        ("etcd", HTTP.format(200, '{"health":"true"}')),
        ("etcd", HTTP.format(200, '{"health":"true","reason":""}')),
        ("consul", HTTP.format(200, '"192.0.2.1:8300"')),
        ("zookeeper", "Zookeeper version: 3.4.13\nMode: follower\nNode count: 4\n"),
        ("zookeeper", "Zookeeper version: 3.4.13\nMode: standalone\n"),
    ],
)
def test_a_leader(kind, answer):
    with server(answer) as where:
        assert code(kind, where) == 0


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        ("etcd", HTTP.format(503, '{"health":"false"}')),
        ("etcd", ""),
        ("consul", HTTP.format(200, '""')),
        ("consul", HTTP.format(500, "No cluster leader")),
        ("zookeeper", "This ZooKeeper instance is not currently serving requests\n"),
    ],
)
def test_no_leader(kind, answer):
    with server(answer) as where:
        assert code(kind, where) == 1


def test_one_of_several_is_enough():
    with server(HTTP.format(200, '{"health":"true"}')) as where:
        assert code("etcd", "127.0.0.1:1", where) == 0


def test_no_server_answers():
    assert code("etcd", "127.0.0.1:1", "no-such-host.invalid:2379") == 1
