"""The programs that watch packets leaving a host report the probes' packets and nothing else, even on a busy host."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from provisioner import render

pytestmark = pytest.mark.lab

TRIES = 60
# Runs in a network namespace. Connections never stop, while watchers, one after the other, look for those of another port.
BUSY = """
import socket, subprocess, sys, threading

subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
over = threading.Event()

def connect():
    while not over.is_set():
        with socket.socket() as client:
            client.connect_ex(("127.0.0.1", 2379))

threads = [threading.Thread(target=connect) for _ in range(2)]
for thread in threads:
    thread.start()
for _ in range(int(sys.argv[1])):
    watcher = subprocess.Popen(["perl", "-", "ab12cd", "7777", "2379", "5"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    watcher.stdin.write(sys.argv[2].encode())
    watcher.stdin.close()
    print(watcher.stdout.readline().decode(), end="")
    if sys.argv[3] == "ours":
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            client.bind(("127.0.0.1", 7777))
            client.connect_ex(("127.0.0.1", 2379))
    watcher.terminate()
    print(watcher.stdout.read().decode(), end="")
over.set()
"""


@pytest.mark.parametrize(("whose", "seen"), [("others", set()), ("ours", {"leaks 127.0.0.1 2379/tcp"})])
def test_a_connection_of_the_host_itself_is_no_leak(whose, seen):
    words = [
        "unshare",
        "--net",
        sys.executable,
        "-c",
        textwrap.dedent(BUSY),
        str(TRIES),
        render.text("leaks.pl"),
        whose,
    ]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=True)
    lines = done.stdout.splitlines()
    assert lines.count("watching leaks") == TRIES
    assert set(lines) - {"watching leaks"} == seen
