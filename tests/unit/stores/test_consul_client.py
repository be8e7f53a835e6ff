"""A token is sent to Consul alone, and what Consul refuses is an error that names its cause."""

from types import SimpleNamespace
from unittest.mock import Mock

import consul
import pytest

from provisioner.errors import StoreError
from provisioner.inventory.store_models import Store
from provisioner.model import Result
from provisioner.stores.consul import Consul
from provisioner.stores.consul_client import client


class Connection:
    name = "node1"

    def read(self, _):
        return Result(0, "", "", raw=b"no facts")


def test_no_token_where_it_can_t_be_known_who_listens():
    with pytest.raises(StoreError, match="no token is sent") as caught:
        client(Connection(), "00000000-0000-4000-8000-000000000001")
    assert caught.value.cause == "store-port-foreign"


def test_a_member_that_consul_does_not_let_go(monkeypatch):
    api = Mock(**{"agent.force_leave.side_effect": consul.ConsulException("500 No cluster leader")})
    monkeypatch.setattr("provisioner.stores.consul.manager", lambda *_: api)
    with pytest.raises(StoreError, match="No cluster leader") as caught:
        Consul(Store(kind="consul")).leave(None, Connection(), SimpleNamespace(leaving="192.0.2.3"), "node3")
    assert (caught.value.cause, caught.value.host) == ("member-stays", "node1")
