"""Streams, forwarded sockets, and the number of round trips of a script."""

import contextlib
import http.client
import http.server
import os
import queue
import select
import shutil
import socket
import threading
import time
from pathlib import Path

import pytest

from provisioner.errors import Refused, TimedOut, TransportError, Unreachable
from provisioner.transport import connect
from provisioner.transport.process import Process
from tests.contract.transport.conftest import ROOT


def test_a_stream_talks_both_ways(connection):
    with connection.stream("while read -r x; do echo got $x; echo err $x >&2; done; echo bye; exit 4") as stream:
        stream.send("a")
        assert stream.readline(5) == "got a"
        stream.send("b")
        assert stream.readline(5) == "got b"
        stream.close_stdin()
        assert list(stream.lines(5)) == ["bye"]
        result = stream.finish(5)
    assert (result.code, result.stdout, result.stderr) == (4, "", "err a\nerr b\n")


def test_a_missing_line_times_out_and_can_be_read_later(connection):
    with connection.stream("sleep 0.6; echo late") as stream:
        with pytest.raises(TimedOut):
            stream.readline(0.2)
        assert stream.readline(5) == "late"
        assert stream.readline(5) is None


def test_an_error_shows_nothing_of_a_host_s_facts(connection):
    """The facts contain secrets."""
    with pytest.raises(TimedOut) as caught:
        connection.read(
            "echo before; echo provisioner-facts 0123456789abcdef; echo secret-word; sleep 30", deadline=1.0
        )
    assert "before" in str(caught.value)
    assert "secret-word" not in str(caught.value)


def test_the_last_line_needs_no_end(connection):
    with connection.stream("printf 'one\\ntwo'") as stream:
        assert list(stream.lines(5)) == ["one", "two"]


def test_leaving_a_stream_ends_its_script(connection, tmp_path, wait_for):
    with connection.stream(f"trap 'touch {tmp_path}/ended; exit' TERM; echo on; sleep 30 & wait") as stream:
        assert stream.readline(5) == "on"
    wait_for((tmp_path / "ended").exists)


@pytest.mark.parametrize("message", ["signal", "end of input"])
def test_a_message_that_crosses_the_end_of_its_script_does_not_end_the_connection(
    connection, tmp_path, monkeypatch, message
):
    tell = Process._tell

    def late(process, request):
        (tmp_path / "end").touch()
        time.sleep(0.5)
        tell(process, request)

    with connection.stream(f"echo on; while [ ! -e {tmp_path}/end ]; do sleep 0.02; done") as stream:
        assert stream.readline(5) == "on"
        monkeypatch.setattr(Process, "_tell", late)
        if message == "end of input":
            stream.finish(5)
    monkeypatch.undo()
    assert connection.read("echo still").stdout == "still\n"


def test_a_stream_that_ended_takes_no_lines(connection):
    with connection.stream("exec <&-; echo over") as stream:
        assert list(stream.lines(5)) == ["over"]
        with pytest.raises(TransportError, match="accepts no more lines"):
            stream.send("x")


def test_a_stream_runs_beside_reads(connection):
    with connection.stream("cat") as stream:
        stream.send("a")
        assert connection.read("echo beside").stdout == "beside\n"
        assert stream.readline(5) == "a"


def test_a_stream_over_a_dying_connection(sshd, connection):
    with connection.stream("cat") as stream:
        stream.send("a")
        assert stream.readline(5) == "a"
        sshd.cut()
        with pytest.raises(Unreachable):
            stream.readline(5)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        if self.path == "/close":
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def port():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@pytest.fixture(params=["root", "u-bash", "u-fish"])
def connection_of(request, sshd):
    """A connection of the user who runs the tests, or of a user with sudo, for whom root opens the sockets."""
    if request.param == "root":
        return sshd.connect()
    if not ROOT or not shutil.which("sudo"):
        pytest.skip("needs root, to create users, and sudo")
    return sshd.connect(request.param)


def test_who_opens_a_forwarded_socket(connection_of):
    """Root opens it, because the hosts' firewall rules give only root access to the store."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        own = listener.getsockname()[1]
        sock = connection_of.socket(own)
        peer, (_, port) = listener.accept()
        # Another connection, to another port, may have had the same port of its own a moment ago.
        ends = [f"0100007F:{port:04X}", f"0100007F:{own:04X}"]
        lines = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines())
        owners = [words[7] for words in lines if words[1:3] == ends]
        assert owners == [str(os.geteuid())]
        sock.close()
        peer.settimeout(15)
        assert peer.recv(1) == b""  # the other end is closed
        peer.close()


def test_sent_data_arrives_after_a_shutdown(connection_of):
    with socket.create_server(("127.0.0.1", 0)) as listener, connection_of.socket(listener.getsockname()[1]) as sock:
        peer, _ = listener.accept()
        sock.sendall(b"x" * 200_000)
        sock.shutdown(socket.SHUT_WR)
        with peer, peer.makefile("rb") as file:
            assert len(file.read()) == 200_000
            peer.sendall(b"all of it")
        with sock.makefile("rb") as answer:
            assert answer.read() == b"all of it"


def test_http_through_a_forwarded_socket(connection_of, port):
    connection = connection_of
    client = http.client.HTTPConnection("host")
    client.sock = connection.socket(port)
    body = b"x" * 300_000
    for path in ("/a", "/b", "/close"):  # /close: the client drops the socket before it reads the body
        client.request("POST", path, body)
        assert client.getresponse().read() == body
    assert client.sock is None


def test_a_forwarded_socket_times_out_polls_and_ends_as_a_socket(connection_of):
    connection = connection_of
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sock = connection.socket(listener.getsockname()[1])
        peer, _ = listener.accept()
        sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            sock.recv(1)
        assert select.select([sock], [], [], 0)[0] == []
        peer.sendall(b"line\n")
        assert select.select([sock], [], [], 5)[0] == [sock]
        assert sock.makefile("r", encoding="utf-8").readline() == "line\n"
        peer.close()
        assert sock.recv(1) == b""
        sock.close()


def test_a_forwarded_socket_fails_as_a_socket_while_the_connection_is_being_lost(connection, monkeypatch):
    """paramiko raises EOFError in this case, and click would treat that as the end of terminal input."""

    def lost(_):
        raise EOFError

    with socket.create_server(("127.0.0.1", 0)) as listener:
        sock = connection.socket(listener.getsockname()[1])
        peer, _ = listener.accept()
        threading.Thread(target=peer.sendall, args=(b"x" * 500_000,), daemon=True).start()
        assert sock.recv(1) == b"x"
        monkeypatch.setattr(connection._channels.transport.packetizer, "write_all", lost)
        with pytest.raises(ConnectionResetError):
            sock.send(b"x")
        with pytest.raises(ConnectionResetError):  # paramiko can't acknowledge the received data any more
            b"".join(iter(lambda: sock.recv(65536), b""))
        with pytest.raises(ConnectionResetError):
            sock.shutdown(socket.SHUT_RDWR)
        with pytest.raises(ConnectionResetError):
            sock.close()


def test_a_port_where_nothing_listens(connection_of):
    with pytest.raises(Unreachable, match=r"nothing answers on 127\.0\.0\.1:1 of the host") as caught:
        connection_of.socket(1)
    assert caught.value.answer


def test_a_name_that_leads_nowhere(connection_of):
    with pytest.raises(Unreachable, match=r"nothing answers on nowhere\.invalid:1 of the host"):
        connection_of.socket(1, "nowhere.invalid")


def test_forbidden_forwarding_is_reported_with_its_cure(sshd, port):
    sshd.start("AllowTcpForwarding no")
    with pytest.raises(Refused, match="forbids forwarding") as caught:
        sshd.connect().socket(port)
    assert "AllowTcpForwarding local" in caught.value.cure


def delayed(port: int, seconds: float) -> int:
    """Start a proxy that delays all data in both directions by `seconds`. Returns its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def deliver(late, drain):
        while True:
            due, data = late.get()
            time.sleep(max(0.0, due - time.monotonic()))
            with contextlib.suppress(OSError):
                drain.sendall(data)

    def pipe(source, drain):
        late = queue.Queue()
        threading.Thread(target=deliver, args=(late, drain), daemon=True).start()
        while data := source.recv(65536):
            late.put((time.monotonic() + seconds, data))

    def run():
        while True:
            client, _ = listener.accept()
            server = socket.create_connection(("127.0.0.1", port))
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for ends in ((client, server), (server, client)):
                threading.Thread(target=pipe, args=ends, daemon=True).start()

    threading.Thread(target=run, daemon=True).start()
    return listener.getsockname()[1]


def test_a_script_costs_two_round_trips(sshd):
    connection = connect(sshd.target(port=delayed(sshd.port, 0.2)))
    connection.read("true")
    began = time.monotonic()
    connection.read("true")
    connection.read("true")
    # A round trip takes 0.4 s: these four take 1.6 s. Opening each channel on demand would add two more: 2.4 s.
    assert time.monotonic() - began < 2.2
    connection.close()
