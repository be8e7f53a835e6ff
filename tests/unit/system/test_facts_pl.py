"""templates/facts.pl: what does not answer costs seconds, once."""

from __future__ import annotations

import socket
import subprocess
import time
from contextlib import ExitStack

import pytest

from provisioner import render
from provisioner.system.facts import TOO_LATE


@pytest.fixture
def silent(tmp_path):
    """The paths of three sockets that accept connections and say nothing."""
    with ExitStack() as stack:
        paths = [str(tmp_path / f"silent{number}") for number in range(3)]
        for path in paths:
            server = stack.enter_context(socket.socket(socket.AF_UNIX))
            server.bind(path)
            server.listen()
        yield paths


def test_after_one_late_answer_the_next_get_less_time(silent):
    arguments = ["limit 3", *(f"ask {path[-1]}{name} {path} /x" for path in silent for name in "ab")]
    began = time.monotonic()
    said = subprocess.run(
        ["perl", "-e", render.text("facts.pl"), *arguments], check=True, capture_output=True, timeout=30
    ).stdout
    assert 5.5 < time.monotonic() - began < 10  # 3 + 2 + 1; the second request to each is not sent
    assert said.count(TOO_LATE) == len(silent) * 2
