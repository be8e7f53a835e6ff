"""Waiting for a leader ends with an answer, with a lost connection, or after a minute."""

from __future__ import annotations

import pytest

from provisioner.errors import StoreError, Unreachable
from provisioner.stores import waiting


class Connection:
    name, lost = "node1", False


def wait(look, connection=None):
    return waiting.until_leader(look, title="Consul", connection=connection or Connection(), cure="look at it")


def test_the_leader_that_comes():
    answers = iter(["", "", "192.0.2.1"])
    assert wait(lambda seen: next(answers)) == "192.0.2.1"


def test_the_last_state_is_reported(monkeypatch):
    monkeypatch.setattr(waiting, "_PATIENCE", 0.3)
    with pytest.raises(StoreError) as caught:
        wait(lambda seen: seen.append("leader: none") or "")
    assert (caught.value.host, caught.value.answer) == ("node1", "leader: none")


def test_a_lost_connection_ends_the_wait():
    connection, calls = Connection(), []

    def look(_):
        calls.append("")
        connection.lost = len(calls) == 3
        raise Unreachable("the connection is lost", host="node1")

    with pytest.raises(StoreError, match="no leader after 0 s") as caught:
        wait(look, connection)
    assert len(calls) == 3
    assert "the connection is lost" in caught.value.answer
