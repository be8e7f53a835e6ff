"""How a host's evidence is read and reduced; the program of the host runs here, with harmless pieces."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time

import pytest

from provisioner import render
from provisioner.collect import allowed, capture, host, pieces
from provisioner.collect.allowed import kept
from provisioner.collect.pieces import Piece
from provisioner.collect.scrub import REMOVED, Scrubber
from provisioner.errors import Malformed


def program(*found: Piece, text: str = "") -> list[host.Read]:
    done = subprocess.run(
        ["perl", "-e", text or render.text("collect.pl"), *map(str, found)],
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.stderr == b""
    return host.parsed("node1", found, done.stdout)


def test_each_piece_says_how_it_ended():
    found = program(
        Piece("a", "run echo one; echo two >&2"),
        Piece("b", "run exit 3"),
        Piece("c", "run no-such-program-here"),
        Piece("d", "run yes", limit=1000),
        Piece("e", "ask /no/such/socket /info"),
        Piece("f", "run true"),
    )
    assert [(read.piece.name, read.state) for read in found] == [
        ("a", "whole"), ("b", "failed:3"), ("c", "none"), ("d", "cut"), ("e", "none"), ("f", "whole"),
    ]  # fmt: skip
    assert (found[0].raw, len(found[3].raw)) == (b"one\ntwo\n", 1000)


def test_what_hangs_costs_its_time_and_no_more():
    quick = render.text("collect.pl").replace("(5, 45,", "(1, 3,")
    began = time.monotonic()
    found = program(
        *(Piece(f"p{n}", "run sleep 600 & sleep 600") for n in range(4)), Piece("last", "run echo x"), text=quick
    )
    assert [read.state for read in found] == ["late", "late", "late", "skipped", "skipped"]
    assert time.monotonic() - began < 8


class Engine:
    """Answers requests on a socket; `answers` is path -> (status, body), None: never."""

    def __init__(self, path, answers):
        self.answers, self.asked = answers, []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        held = []
        while True:
            sock, _ = self.listener.accept()
            path = sock.recv(4096).split()[1].decode()
            self.asked.append(path)
            if self.answers.get(path, "") is None:
                held.append(sock)
                continue
            code, body = self.answers.get(path, (404, "{}"))
            sock.sendall(f"HTTP/1.0 {code} X\r\nA: b\r\n\r\n{body}".encode())
            sock.close()


def test_an_engine_is_asked_for_each_item(tmp_path):
    one, two = "a" * 64, "b" * 64
    answers = {
        "/list": (200, json.dumps([{"Id": one}, {"Id": two}, {"Id": "../x"}], separators=(",", ":"))),
        f"/i/{one}/json": (200, '{"Id":1}'),
        f"/i/{two}/json": (404, "gone"),
    }
    engine = Engine(tmp_path / "s", answers)
    found = program(Piece("c", f"each {tmp_path}/s /list /i/{{}}/json"), Piece("n", f"ask {tmp_path}/s /nodes"))
    assert [(read.state, read.raw) for read in found] == [("whole", b'[{"Id":1}]'), ("refused:404", b"")]
    assert "../x" not in "".join(engine.asked)


def test_a_silent_engine_is_asked_once(tmp_path):
    engine = Engine(tmp_path / "s", {"/a": None})
    quick = render.text("collect.pl").replace("(5, 45,", "(1, 9,")
    found = program(*(Piece(name, f"ask {tmp_path}/s /{name}") for name in "abc"), text=quick)
    assert ([read.state for read in found], engine.asked) == (["late", "skipped", "skipped"], ["/a"])


@pytest.mark.parametrize("raw", [
    b"", b"a whole 5\nxx\n", b"b whole 0\n\n", b"../a whole 0\n\n", b"a whole 99999999\n", b"a odd 0\n\n", b"a whole 1\nxy", b"\xff\n",
])  # fmt: skip
def test_a_malformed_answer_is_an_error_of_the_host(raw):
    with pytest.raises(Malformed):
        host.parsed("node1", [Piece("a", "run x")], raw)


def test_what_can_not_be_reduced_is_left_out():
    piece = Piece("info.json", "ask x /info", allowed.INFO)
    for raw in (b'{"Name": "a", "Secret', b"NaN", b"[" * 5000, b'{"a":1,"a":2}'):
        files = dict(host.files([host.Read(piece, "whole", raw)], Scrubber()))
        assert list(files) == ["notes.txt"]
        assert "not valid JSON" in files["notes.txt"]


def test_a_secret_of_a_container_is_removed_from_the_journal_too():
    container = {"Id": "x", "Config": {"Env": ["DB_PASSWORD=planted-one", "MODE=planted-two"]}}
    found = [
        host.Read(Piece("journal.txt", "run x"), "whole", b"app: login with planted-one failed\x1b[31m\n"),
        host.Read(Piece("containers.json", "each x", allowed.CONTAINER), "whole", json.dumps([container]).encode()),
    ]
    files = dict(host.files(found, Scrubber()))
    assert files["journal.txt"] == f"app: login with {REMOVED} failed\n"
    assert json.loads(files["containers.json"]) == [
        {"Id": "x", "Config": {"Env": [f"DB_PASSWORD={REMOVED}", f"MODE={REMOVED}"]}}
    ]
    assert files["notes.txt"] == "everything was read\n"


def test_only_fields_that_are_known_are_kept():
    shape = {"a": allowed.ALL, "b": {"c": allowed.ALL}, "l": allowed.NAMES, "m": {"*": {"x": allowed.ALL}}}
    found = {"a": [1], "b": {"c": 2, "d": 3}, "l": {"n": "v"}, "m": {"any": {"x": 1, "y": 2}}, "z": 1}
    assert kept(found, shape) == {"a": [1], "b": {"c": 2}, "l": {"n": REMOVED}, "m": {"any": {"x": 1}}}
    assert kept({"b": "planted"}, shape) == {"b": REMOVED}
    assert kept(["A=planted", "B", "plan ted", 5], allowed.NAMES) == [
        f"A={REMOVED}",
        "B",
        REMOVED,
        "5",
    ]
    daemon = {"labels": ["a=planted"], "log-opts": {"splunk-token": "planted"}, "mtu": 1400, "new-key": "planted"}
    assert "planted" not in json.dumps(kept(daemon, allowed.DAEMON))


def test_names_of_pieces_are_unique_and_fit_the_answer():
    names = [piece.name for piece in pieces.pieces(("consul.service",), manager=True)]
    assert len(names) == len(set(names))
    for piece in pieces.pieces():
        assert host.parsed("a", [piece], f"{piece.name} whole 0\n\n".encode())


def test_packets_become_a_pcap_file():
    line = "packet 1796000000 123456 4 1 6 0242c0a8380b0000 134 45000086"
    found = capture.pcap([line], "node1")
    assert found[:4] == b"\xd4\xc3\xb2\xa1"
    assert found[-20:] == bytes.fromhex("0004 0001 0006 0242c0a8380b0000 0800 45000086")
    assert int.from_bytes(found[24 + 8 : 24 + 12], "little") == 20
    assert int.from_bytes(found[24 + 12 : 24 + 16], "little") == 16 + 134


@pytest.mark.parametrize(
    "line", ["", "packet", "packet 1 2 3 4 5 6 7 8", "packet 1 2 4 1 6 0242c0a8380b0000 134 4500008", "rm -rf /"]
)
def test_other_lines_are_an_error_of_the_host(line):
    with pytest.raises(Malformed):
        capture.pcap([line], "node1")
    with pytest.raises(Malformed):
        capture.pcap(["packet 1 2 4 1 6 0242c0a8380b0000 134 45"] * (capture.MOST + 1), "node1")
