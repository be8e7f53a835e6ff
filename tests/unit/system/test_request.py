from __future__ import annotations

import pytest

from provisioner import render
from provisioner.stores.consul import Consul
from provisioner.system import attached, reading
from provisioner.system.request import ENGINE, Request


@pytest.mark.parametrize(
    ("request_", "argument"),
    [
        (Request("info", ENGINE, "/info"), "info /var/run/docker.sock /info"),
        (Request("srvr", "2181", "srvr"), "srvr 2181 srvr"),
        (Request("rights@a:1", "a:1", "/v1/kv/x?cas=1", "PUT"), "rights@a:1 a:1 /v1/kv/x?cas=1 PUT"),
        (Request("sessions", "8500", "/v1/session", "PUT", '{"a":1}'), 'sessions 8500 /v1/session PUT {"a":1}'),
        (Request("through", "a:1", "folder", through=True), "through a:1 folder"),
    ],
)
def test_a_request_as_an_argument_of_facts_pl(request_, argument):
    assert str(request_) == argument


def test_what_an_engine_answers_without_its_store_is_requested_first():
    """A server that has kept one request waiting is sent nothing more in this reading."""
    requests = [Request("late", ENGINE, "/late"), attached.CONTAINERS]
    script = reading.script(Consul.sought, ("http",), requests)
    assert {"'first containers ", "'ask late "} == {
        words for words in ("'first containers ", "'ask late ") if words in script
    }
    assert "@{ $wanted{first} }, @engine, @{ $wanted{ask} }" in render.text("facts.pl")
