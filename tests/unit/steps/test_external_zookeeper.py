"""An external ZooKeeper as hosts see it, and how their engines reach it."""

from __future__ import annotations

import pytest
from captured import HOSTS, capture, with_info, with_raw

from provisioner import causes, preflight
from provisioner.controlplane import resolve
from provisioner.stores import proxy

WHERE = ("192.0.2.1:2181", "192.0.2.2:2181")
GOOD = "Zookeeper version: 3.4.13\nMode: follower\nNode count: 4\n"
NONE = "This ZooKeeper instance is not currently serving requests\n"


@pytest.fixture
def found(inventory):
    """Return a function that runs the checks. node2 gets the given answers from the first server; all others are healthy."""

    def make(answer: str = GOOD, rights: str = "200 {}"):
        facts = {}
        for name in HOSTS:
            said = {f"http:leader@{where}": GOOD for where in WHERE}
            if name == "node2":
                said |= {f"http:leader@{WHERE[0]}": answer, f"http:rights@{WHERE[0]}": rights}
            facts[name] = with_raw(capture(f"installed-{name}"), driver="zookeeper\n", **said)
        site, _ = resolve(inventory(kind="zookeeper", store=f", endpoints: {list(WHERE)}"), facts)
        return site, [
            (f.id, f.host, causes.severity(f).value) for f in preflight.run(site) if f.id.startswith("store-")
        ]

    return make


def test_all_is_well(found):
    site, told = found()
    assert told == []
    assert site.servers == ()
    assert site.backend.url(site) == "zk://127.0.0.1:2182"


def test_engines_reach_its_servers_through_their_proxies(found):
    site, _ = found()
    for name in HOSTS:
        waiting = site.backend.waiting(site, name)
        assert waiting.through == {proxy.UNIT: proxy.FILES}
        assert "After=network-online.target" in waiting.files[proxy.UNIT_FILE]
        assert proxy.behind("zk://127.0.0.1:2182", waiting.files[proxy.UNIT_FILE]) == f"zk://{','.join(WHERE)}"


def test_hosts_whose_engine_does_not_use_the_store_yet_check_their_permissions(found):
    site, _ = found()
    assert site.backend.asks(site, "node1")
    facts = with_info(site.facts["node1"], ClusterStore=site.backend.url(site))
    assert not site.backend.asks(site.known("node1", facts), "node1")


def test_one_host_may_not_write(found):
    assert found(rights="403 docker/nodes")[1] == [("store-forbidden", "node2", "warning")]


@pytest.mark.parametrize(
    ("answer", "check"), [("000 Connection refused", "store-unreachable"), (NONE, "store-no-leader")]
)
def test_a_server_that_one_host_can_t_use(found, answer, check):
    assert found(answer)[1] == [(check, "node2", "warning")]
