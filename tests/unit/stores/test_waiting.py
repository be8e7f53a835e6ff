"""Waiting for a leader ends with an answer, with the connection, or after a minute."""

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


def test_what_was_seen_last_is_told(monkeypatch):
    monkeypatch.setattr(waiting, "_PATIENCE", 0.3)
    with pytest.raises(StoreError) as caught:
        wait(lambda seen: seen.append("leader: none") or "")
    assert (caught.value.host, caught.value.answer) == ("node1", "leader: none")


def test_over_a_connection_that_is_lost_nothing_is_waited_for():
    connection, asked = Connection(), []

    def look(_):
        asked.append("")
        connection.lost = len(asked) == 3
        raise Unreachable("the connection is lost", host="node1")

    with pytest.raises(StoreError, match="no leader after 0 s") as caught:
        wait(look, connection)
    assert len(asked) == 3
    assert "the connection is lost" in caught.value.answer
