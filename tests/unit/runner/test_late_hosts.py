"""When hosts are read: at once when they are connected. A run that changes nothing gives late ones less time, and then stops reading them."""

from __future__ import annotations

from threading import Event
from types import SimpleNamespace

import pytest

from provisioner.errors import Unreachable
from provisioner.model import Result
from provisioner.runner import session as runner_session
from provisioner.runner.session import Session
from provisioner.system.facts import TOO_LATE
from provisioner.system.request import ENGINE, Request

LIMIT = "'limit 2'"  # as an argument of facts.pl


class Connection:
    """One host; `raw` is its next answer."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.scripts: list[str] = []

    def read(self, script, deadline):
        assert deadline.left
        self.scripts.append(script)
        return Result(0, "", "", self.raw)


@pytest.fixture
def session(site, monkeypatch):
    inventory = site().inventory
    monkeypatch.setattr(Session, "parsed", lambda *_: SimpleNamespace())
    session = Session(inventory, None, (Request("containers", ENGINE, "/c"),))
    session.connections |= {"node1": Connection(b""), "node2": Connection(b"x" + TOO_LATE)}
    return session


def test_a_late_host_gets_less_time_and_is_then_not_read_again(session):
    read = [set(session.read(session.connections)) for _ in range(3)]
    assert read == [{"node1", "node2"}, {"node1", "node2"}, {"node1"}]
    first, second = session.connections["node2"].scripts
    assert (LIMIT in first, LIMIT in second) == (False, True)
    assert LIMIT not in "".join(session.connections["node1"].scripts)


def test_a_host_that_answers_again_gets_the_full_time(session):
    session.read(session.connections)
    session.connections["node2"].raw = b""
    for _ in range(3):
        assert set(session.read(session.connections)) == {"node1", "node2"}
    assert LIMIT not in session.connections["node2"].scripts[-1]


def test_a_run_that_changes_hosts_has_patience(session):
    session.patient = True
    for _ in range(3):
        assert set(session.read(session.connections)) == {"node1", "node2"}
    assert LIMIT not in session.connections["node2"].scripts[-1]


@pytest.mark.parametrize(
    ("fresh", "raw", "readings"),
    [(1.0, b"", 1), (-60.0, b"", 2), (-60.0, b"x" + TOO_LATE, 1)],
    ids=["at once", "the other host took long", "it took long, but this one was late"],
)
def test_a_host_is_read_while_another_one_is_not_connected_yet(session, monkeypatch, fresh, raw, readings):
    """fresh: seconds before the end of all connections, from which on a reading counts."""
    read, silent = Event(), Unreachable("no answer", host="node2")
    fast = Connection(raw)
    fast.name, answer = "node1", fast.read
    fast.read = lambda *args, **more: (read.set(), answer(*args, **more))[1]

    def connect_all(targets, *, on_connected, **_):
        on_connected(fast)
        assert read.wait(10), "node1 is read before node2 has ended"
        session._begun["node1"].result(10)
        return {target.name: fast if target.name == "node1" else silent for target in targets}

    monkeypatch.setattr(runner_session, "connect_all", connect_all)
    monkeypatch.setattr(runner_session, "_FRESH", fresh)
    session.observer = SimpleNamespace(event=lambda _: None)
    session.connections.clear()
    session.connect(("node1", "node2"))
    assert (list(session.connections), list(session.lost)) == (["node1"], ["node2"])
    assert set(session.read(session.connections)) == {"node1"}
    assert len(fast.scripts) == readings
