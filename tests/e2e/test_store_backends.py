"""The contract of every backend, on the real thing: three servers on three hosts, that lose one, then two, and come back.

Here and not beside the other contracts, because all tests with labs share them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from provisioner.steps.store import Store
from tests.e2e.store_hosts import set_up

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provisioner.controlplane import Site
    from provisioner.engine import Run

pytestmark = pytest.mark.lab

NODES = ("node1", "node2", "node3")
STEP = Store()


@pytest.fixture(scope="module", params=["consul", "etcd", "zookeeper"])
def run(request, labs, tmp_path_factory) -> Iterator[Run]:
    with set_up(
        labs.make(hosts=3, key="stores"), tmp_path_factory.mktemp("store"), f"{{kind: {request.param}}}"
    ) as run:
        yield run


def read(run: Run) -> Site:
    for name, facts in run.session.read(NODES).items():
        run.site = run.site.known(name, facts)
    return run.site


def sh(run: Run, host: str, script: str, accept=(0,)) -> int:
    return run.session.connections[host].write(script, deadline=60, accept=accept).code


def unit(run: Run) -> str:
    return run.site.backend.service(run.site, "node1").unit


def waits(run: Run, host: str) -> bool:
    """Whether the command before the engine's start says that there is a leader."""
    waiting = run.site.backend.waiting(run.site, host)
    for path, text in waiting.files.items():
        sh(run, host, f"mkdir -p {path.rpartition('/')[0]}; cat >{path} <<'END'\n{text}END\n")
    return sh(run, host, f"{waiting.command} >/dev/null 2>&1", accept=range(256)) == 0


def settled(run: Run) -> Site:
    for name in NODES:
        run.site.backend.wait_for_leader(run.session.connections[name], servers=3)
    for _ in range(60):
        site = read(run)
        if not any(STEP.drift(site, name) for name in NODES):
            return site
    raise AssertionError([STEP.drift(site, name) for name in NODES])


def test_set_up_it_differs_nowhere(run):
    site = settled(run)
    assert {name: STEP.drift(site, name) for name in NODES} == dict.fromkeys(NODES, ())
    assert list(site.backend.findings(site)) == []


def test_it_knows_its_servers_and_its_leader(run):
    site = settled(run)
    addresses = {site.advertise[name] for name in NODES}
    assert site.backend.peers(site.facts) == addresses
    assert site.backend.formed(site)
    assert all(site.backend.was_server(facts) and site.backend.has_data(facts) for facts in site.facts.values())
    (leader,) = {found for facts in site.facts.values() if (found := site.backend.leader(facts))}
    assert leader in {str(address) for address in addresses}


def test_engines_wait_for_its_leader(run):
    settled(run)
    assert all(waits(run, name) for name in NODES)


def test_another_configuration_is_seen_and_takes_a_restart_alone(run):
    (loaded,) = (path for path in run.site.backend.sought.files if path.startswith("/run/"))
    sh(run, "node2", f"cp {loaded} /run/kept; echo other >{loaded}")
    drift = STEP.drift(read(run), "node2")
    sh(run, "node2", f"mv /run/kept {loaded}")
    assert [d.note for d in drift] == [f"restart of {run.site.backend.title}"]
    assert STEP.work(run.site, "node2", drift).alone


def test_one_server_lost_leaves_a_leader(run):
    settled(run)
    sh(run, "node3", f"systemctl stop {unit(run)}")
    assert run.site.backend.wait_for_leader(run.session.connections["node1"], servers=2)
    site = read(run)
    assert [d.note for d in STEP.drift(site, "node3")] == ["start"]
    assert site.backend.formed(site)
    assert waits(run, "node1")
    sh(run, "node3", f"systemctl start {unit(run)}")
    settled(run)


def test_without_a_majority_there_is_no_leader_and_it_comes_back_with_its_data(run):
    settled(run)
    for name in NODES[1:]:
        sh(run, name, f"systemctl stop {unit(run)}")
    for _ in range(30):
        drift = STEP.drift(read(run), "node1")
        if drift and not waits(run, "node1"):
            break
    assert {d.note for d in drift} == {"waits"}
    assert not waits(run, "node1")
    for name in NODES[1:]:
        sh(run, name, f"systemctl start {unit(run)}")
    site = settled(run)
    assert site.backend.peers(site.facts) == {site.advertise[name] for name in NODES}
