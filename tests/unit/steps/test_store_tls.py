"""An external store over TLS: the three files on hosts, the engine's settings, and what the engine has loaded."""

from __future__ import annotations

import json
from dataclasses import dataclass
from ipaddress import IPv4Address
from types import SimpleNamespace

import pytest
from captured import HOSTS, capture, with_file, with_info, with_sum

from provisioner import causes, preflight, wording
from provisioner.controlplane import networks, resolve
from provisioner.inventory import Store, Tls
from provisioner.model import Result
from provisioner.runner.session import Session
from provisioner.steps.daemon import Daemon
from provisioner.steps.leaving import Endpoints
from provisioner.stores.base import TLS_FILES, TLS_OPTIONS
from provisioner.stores.external_kinds import ExternalEtcd
from provisioner.stores.values import sums
from provisioner.system.reading import DAEMON_JSON, ENGINE_DROPIN, ENGINE_LOADED, ENGINE_TLS
from provisioner.system.request import Request

DAEMON = Daemon()
WHERE = "192.168.56.99:2379"
GOOD = {"version": '200 {"etcdserver": "3.5.16"}', "leader": '200 {"health": "true"}', "keys": "200 {}"}


@pytest.fixture
def tls(tmp_path):
    """Return three files without valid certificates: the tests only check where their contents go."""
    paths = {name: tmp_path / f"{name}.pem" for name in ("ca", "cert", "key")}
    for name, path in paths.items():
        path.write_text(f"hushed {name}\n")
    return Tls.model_construct(**paths)


@pytest.fixture
def site(inventory, tls):
    def make(*, secured=True, **hosts):
        facts = {name: hosts.get(name) or capture(f"etcd-{name}") for name in HOSTS}
        named = inventory(kind="etcd")
        store = Store.model_construct(
            kind="etcd", endpoints=(WHERE,), tls=tls if secured else None, discovery=named.store.discovery
        )
        return resolve(named.model_copy(update={"store": store}), facts)[0]

    return make


def asked(facts, **answers):
    return facts.answered({f"{what}@{WHERE}": text for what, text in {**GOOD, **answers}.items()})


def written(site, *, loaded=True):
    """Return node2 with all files written. loaded: whether its engine was started with them."""
    whole = site()
    facts = with_info(capture("etcd-node2"), ClusterStore=f"etcd://{WHERE}")
    wanted = {wording.what(d): d.wanted for d in DAEMON.drift(whole, "node2")}
    for path in (DAEMON_JSON, ENGINE_DROPIN):
        facts = with_file(facts, path, wanted[path])
    credentials = whole.backend.credentials(whole, "node2")
    for line in sums(credentials).splitlines():
        digest, path = line.split()
        facts = with_sum(facts, path, digest)
    if loaded:
        facts = with_file(facts, ENGINE_LOADED, wanted[DAEMON_JSON])
        facts = with_file(facts, ENGINE_TLS, sums(credentials))
    return facts


def differs(whole, host="node2"):
    return {wording.what(d): wording.note(d) for d in DAEMON.drift(whole, host)}


def test_what_is_written(site, tls):
    whole = site()
    drift = DAEMON.drift(whole, "node2")
    assert set(TLS_FILES) <= {wording.what(d) for d in drift}
    opts = json.loads(next(d.wanted for d in drift if wording.what(d) == DAEMON_JSON))["cluster-store-opts"]
    assert opts == dict(zip(TLS_OPTIONS, TLS_FILES, strict=True))
    files = whole.backend.credentials(whole, "node2")
    assert [(file.path, file.mode, file.text) for file in files][2] == (TLS_FILES[2], "0600", "hushed key\n")
    assert "hushed" not in repr(drift) + repr(files)
    assert "cat /etc" in next(d.wanted for d in drift if wording.what(d) == ENGINE_DROPIN)


def test_settled(site):
    facts = written(site)
    whole = site(node2=facts)
    assert DAEMON.drift(whole, "node2") == ()
    assert not whole.backend.asks(whole, "node2")
    assert whole.backend.asks(whole, "node1")


def test_files_were_written_and_the_engine_was_not_restarted(site):
    assert differs(site(node2=written(site, loaded=False))) == {"the running engine's TLS": "restart"}


def test_another_key_is_written_and_the_engine_restarted_alone(site, tls):
    facts = written(site)
    tls.key.write_text("renewed\n")
    whole = site(node2=facts)
    drift = DAEMON.drift(whole, "node2")
    assert {wording.what(d): wording.note(d) for d in drift} == {
        TLS_FILES[2]: "",
        "the running engine's TLS": "restart",
    }
    assert DAEMON.work(whole, "node2", drift).alone


def test_a_store_that_has_no_tls_any_more(site):
    whole = site(secured=False, node2=written(site))
    drift = {wording.what(d): d for d in DAEMON.drift(whole, "node2")}
    assert wording.note(drift["the running engine's TLS"]) == "restart"
    assert json.loads(drift[DAEMON_JSON].wanted)["cluster-store-opts"] == {}
    assert "store-tls" not in {f.id for f in preflight.run(whole)}


@pytest.mark.parametrize(
    ("answers", "check"),
    [
        ({"leader": "000 its certificate is rejected: certificate has expired"}, "store-unreachable"),
        ({"leader": '503 {"health":"false"}'}, "store-no-leader"),
        ({"keys": "404 404 page not found"}, "store-without-v2"),
        ({"keys": "401 insufficient credentials"}, "store-forbidden"),
        ({"rights": "401 insufficient credentials"}, "store-forbidden"),
    ],
)
def test_problems_that_the_controller_finds_through_the_connection(site, monkeypatch, answers, check):
    monkeypatch.setattr("provisioner.stores.asking.context", lambda _: None)
    whole = site(node1=asked(capture("etcd-node1")), node2=asked(capture("etcd-node2"), **answers))
    found = {(f.id, f.host) for f in preflight.run(whole) if f.id.startswith("store-")}
    assert found == {(check, "node2")}


class TestEndpoints:
    """Hosts can't query a store over TLS. The controller does, through their connections, whenever a reading queries it."""

    def test_endpoints_of_a_lost_host_are_freed(self, site):
        value = json.dumps({"name": "web", "locator": "192.168.56.13"})
        facts = {name: capture(f"etcd-{name}") for name in ("node1", "node2")}
        network = facts["node1"].networks["demo"]["Id"]
        tree = {"node": {"nodes": [{"key": f"/docker/network/v1.0/endpoint/{network}/e1", "value": value}]}}
        told = {name: of.answered({f"endpoints@{WHERE}": f"200 {json.dumps(tree)}"}) for name, of in facts.items()}
        step, whole = Endpoints("node3", IPv4Address("192.168.56.13")), site(**told).without(frozenset({"node3"}))
        assert [wording.what(d) for d in step.drift(whole, "node1")] == ["web on demo"]
        assert networks.asker(whole) == "node1"

    @pytest.mark.parametrize("only", [("http",), ("asked",), ("units",)])
    def test_the_controller_queries_the_store(self, site, monkeypatch, only):
        whole, asked, scripts = site(), [], []
        monkeypatch.setattr("provisioner.stores.asking.context", lambda _: "tls")
        monkeypatch.setattr(
            "provisioner.stores.asking.HttpClient",
            lambda connection, where, tls: asked.append((connection.name, where, tls)) or Told,
        )
        monkeypatch.setattr("provisioner.runner.session.Session.parsed", lambda _, name, text, before, between: before)
        requests = (Request("containers", WHERE, "/c"), *whole.backend.asks_attached)
        session = Session(whole.inventory, None, requests)
        session.connections["node1"] = Connection("node1", scripts)
        facts = session.read(["node1"], only, whole.facts)["node1"]
        by_me = only != ("units",)
        assert asked == [("node1", WHERE, "tls")] * by_me
        assert (facts.http(f"endpoints@{WHERE}").body == {"asked": True}) is by_me
        assert len(scripts) == 1
        assert [str(request) in scripts[0] for request in requests] == [by_me, False]
        session.read(["node1"], ("asked",), whole.facts, whole.backend.asks_attached)
        assert len(scripts) == 1, "the host itself is not read again"

    def test_one_server_that_answers_is_enough(self, tls, monkeypatch):
        said = {"a:1": "000 timeout", "b:1": "200 {}", "c:1": "200 {}"}
        monkeypatch.setattr("provisioner.stores.asking.context", lambda _: None)
        monkeypatch.setattr(
            "provisioner.stores.asking.HttpClient", lambda _, where, tls: SimpleNamespace(report=lambda _: said[where])
        )
        store = ExternalEtcd(Store.model_construct(kind="etcd", endpoints=tuple(said), tls=tls))
        assert store.ask(None, store.asks_attached) == {"endpoints@a:1": "000 timeout", "endpoints@b:1": "200 {}"}


class Told:
    @staticmethod
    def report(request):
        assert request.what == "/v2/keys/docker/network/v1.0/endpoint?recursive=true"
        return '200 {"asked": true}'


@dataclass
class Connection:
    name: str
    scripts: list[str]

    def read(self, script, *, deadline):
        self.scripts.append(script)
        return Result(0, "", "")


def test_unusable_files(site, tls):
    found = [f for f in preflight.run(site()) if f.id == "store-tls"]
    assert [(f.host, causes.severity(f).value) for f in found] == [("", "stop")]
    assert "ca.pem contains no usable certificate" in found[0].evidence
    assert "hushed" not in found[0].evidence
