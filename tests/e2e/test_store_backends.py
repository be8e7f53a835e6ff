"""The contract of every backend, on real servers: three servers on three hosts lose one, then two, and recover.

It is not next to the other contracts, because it needs labs.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from provisioner import causes, inventory, render, stores, wording
from provisioner.errors import CommandFailed, Locked
from provisioner.model import Severity
from provisioner.runner import look
from provisioner.runner.run import Run
from provisioner.steps.store import Store
from provisioner.stores import authority, consul, etcd, zookeeper
from provisioner.stores.consul_security import KEYRING
from provisioner.stores.external import External
from provisioner.stores.lock import StoreLock
from provisioner.stores.lock import path as lock_path
from provisioner.stores.zookeeper_keys import ZooKeeperKeys
from provisioner.system import certificates
from tests.e2e.store_hosts import Quiet, set_up

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from provisioner.controlplane import Site
    from provisioner.stores.keys import Keys

pytestmark = pytest.mark.lab

NODES = ("node1", "node2", "node3")
STEP = Store()


@pytest.fixture(scope="module", params=["consul", "etcd", "zookeeper"])
def run(request, make_lab_for_all, tmp_path_factory) -> Iterator[Run]:
    """A run that has set the store up. etcd is 3.5, because the tests with engines use 3.3 and 3.4."""
    lab = make_lab_for_all(hosts=3, image="etcd-3.5" if request.param == "etcd" else "engine-20.10")
    with set_up(
        lab, tmp_path_factory.mktemp("store"), f"{{kind: {request.param}}}", packages=request.param != "etcd"
    ) as run:
        yield run
    lab.down()


def read(run: Run) -> Site:
    for name, facts in run.session.read(NODES).items():
        run.site = run.site.known(name, facts)
    return run.site


def sh(run: Run, host: str, script: str, accept=(0,)) -> int:
    return run.session.connections[host].write(script, deadline=60, accept=accept).code


def unit(run: Run) -> str:
    return run.site.backend.service(run.site, "node1").unit


def waits(run: Run, host: str) -> bool:
    """Whether the command that runs before the engine's start finds a leader."""
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


def test_a_store_that_was_set_up_has_no_drift(run):
    site = settled(run)
    assert {name: STEP.drift(site, name) for name in NODES} == dict.fromkeys(NODES, ())
    assert list(site.backend.findings(site)) == []
    assert stops(run) == set()


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


def as_external(run: Run) -> Path:
    """An inventory of the same hosts that treats this store as an external one, with a client certificate for all hosts."""
    kind, site, path = run.inventory.the_store.kind, run.site, run.inventory.path.with_name("theirs.yml")
    port = {"etcd": 2379, "zookeeper": 2181}.get(kind)
    store: dict[str, Any] = {
        "kind": kind,
        "endpoints": [f"{site.advertise[name]}:{port}" for name in NODES] if port else ["127.0.0.1:8500"],
    }
    if site.backend.credentials(site, "node1"):
        signer = authority.of(site, founded=True)
        client = certificates.issue(signer, "guest", names=[], addresses=site.advertise.values())
        for name, text in {"ca": signer.certificate, "cert": client.certificate, "key": client.key}.items():
            path.with_name(f"{name}.pem").write_text(text)
            store.setdefault("tls", {})[name] = f"{name}.pem"
    path.write_text(yaml.safe_dump(yaml.safe_load(run.inventory.path.read_text()) | {"store": store}))
    return path


def keys(run: Run, host: str, by: Run | None = None) -> Keys:
    """The keys of the store from a host's view, as an external store; over the connections of the run `by`, if given."""
    found = stores.of(inventory.load(as_external(run)).the_store).keys((by or run).session.connections[host])
    assert found is not None
    return found


def stops(run: Run) -> set[tuple[str, str]]:
    """The findings that would stop a run with this store as an external one: (check, host)."""
    with Run(inventory.load(as_external(run)), Quiet()) as other:
        look.look(other)
        assert isinstance(other.site.backend, External)
        return {
            (f.id, f.host) for f in other.findings if f.id.startswith("store-") and causes.severity(f) is Severity.STOP
        }


def test_only_one_of_two_holds_a_key_and_everyone_sees_it(run):
    settled(run)
    mine, other = keys(run, "node1"), keys(run, "node2")
    assert mine.hold("docker/lock", "me", seconds=60) == ""
    assert other.hold("docker/lock", "her", seconds=60) == "me"
    assert other.under("docker") == {"docker/lock": "me"}
    assert other.hold("docker/lock", "her", seconds=60, instead="nobody") == "me"
    mine.drop("docker/lock", "nobody")
    assert other.hold("docker/lock", "her", seconds=60, instead="me") == ""
    assert keys(run, "node3").under("docker") == {"docker/lock": "her"}
    other.drop("docker/lock", "her")
    assert keys(run, "node3").under("docker") == {}


def test_the_command_of_a_cure_sets_a_key(run):
    site = settled(run)
    key = "docker/count"
    stored = f"{key}/" if run.inventory.the_store.kind == "consul" else key  # engines name keys like this in Consul
    mine, text = keys(run, "node1"), '{"Count":0}'
    assert mine.hold(stored, "me", seconds=60) == ""
    (command,) = re.findall("`(.*)`", site.backend.setting(site, key, text))
    sh(run, "node1", command)
    assert keys(run, "node2").under("docker") == {stored: text}
    mine.drop(stored, text)


def test_one_run_holds_the_lock_and_a_run_on_the_same_hosts_takes_it_over(run):
    settled(run)
    mine, other, after = (
        StoreLock(keys(run, node), lock_path(None), owner, hosts)
        for node, owner, hosts in (("node1", "me", "ab"), ("node2", "her", "c"), ("node3", "the next", "bd"))
    )
    mine.take()
    with pytest.raises(Locked, match="changing the same store: me"):
        other.take()
    after.take()
    for dropped in (other, mine):
        dropped.give_back()
        with pytest.raises(Locked, match="changing the same store: the next"):
            other.take()
    after.give_back()
    other.take()
    assert keys(run, "node3").under("docker") == {lock_path(None): other.text}
    other.give_back()


def test_a_key_of_a_dead_run_expires(run):
    settled(run)
    with Run(inventory.load(as_external(run)), Quiet()) as gone:
        look.read(gone)
        held = keys(run, "node1", by=gone)
        assert held.hold("docker/lock", "gone", seconds=3) == ""
    mine = keys(run, "node2")
    assert mine.hold("docker/lock", "me", seconds=60) == "gone"
    # Consul needs longer: the shortest TTL of a session is ten seconds, and it may take twice the TTL.
    assert any(mine.hold("docker/lock", "me", seconds=60) == "" or time.sleep(0.5) for _ in range(80))
    mine.drop("docker/lock", "me")
    if isinstance(held, ZooKeeperKeys):
        held.close()  # ends its threads


def test_a_changed_configuration_is_seen_and_restarts_one_host_at_a_time(run):
    (loaded,) = (path for path in run.site.backend.sought.files if path.startswith("/run/"))
    sh(run, "node2", f"cp {loaded} /run/kept; echo other >{loaded}")
    drift = STEP.drift(read(run), "node2")
    sh(run, "node2", f"mv /run/kept {loaded}")
    assert [wording.note(d) for d in drift] == [f"restart of {run.site.backend.title}"]
    assert STEP.work(run.site, "node2", drift).alone


TRAP = "/etc/provisioner-trap"
REPLACEABLE = {  # paths that the store's user can replace with links, and whether the step writes there and reports the link
    "consul": {KEYRING.rpartition("/")[0]: True, KEYRING: True, consul.JSON: False},
    "etcd": {etcd.DATA: False},
    "zookeeper": {zookeeper.DATA: True, zookeeper.MYID: True},
}


def written(run: Run, host: str) -> str:
    """Make the store step write all its files again, with a changed unit. Returns its error output, "" if it succeeds."""
    sh(run, host, f"echo '# other' >>/etc/systemd/system/{unit(run)}")
    site = read(run)
    work = STEP.work(site, host, STEP.drift(site, host))
    assert work is not None
    try:
        run.session.connections[host].write(render.library() + work.script, deadline=60)
    except CommandFailed as error:
        return error.result.stderr
    return ""


def test_links_that_the_stores_user_creates_are_reported_and_not_followed(run):
    settled(run)
    user = run.site.backend.service(run.site, "node3").user
    sh(
        run,
        "node3",
        f"mkdir -m 755 {TRAP}; cd {TRAP}; for f in local.keyring myid provisioner.json; do echo root-s >$f; chmod 600 $f; done",
    )

    def trap() -> str:
        look = f"find {TRAP} -printf '%p %U %G %m %T@ %C@\\n' -type f -exec cat {{}} +"
        return str(run.session.connections["node3"].read(look).stdout)

    before = trap()
    assert before.count("root-s") == 3
    for path, refused in REPLACEABLE[run.site.backend.kind].items():
        if path == consul.JSON:
            sh(run, "node3", "chown consul:consul /etc/consul.d")  # HashiCorp's package does this, Debian's does not
        as_user = f"setpriv --reuid={user} --regid={user} --clear-groups sh -c"
        to = f"to={TRAP}; [ -d {path} ] || to=$to/${{0##*/}}"
        sh(run, "node3", f"systemctl stop {unit(run)}; {as_user} '{to}; mv $0 $0.own && ln -s $to $0' {path}")
        sh(run, "node3", f"systemctl restart {unit(run)}; sleep 0.5", accept=range(256))
        assert sh(run, "node3", "grep -qs root-s /run/provisioner-*.loaded", accept=(0, 1, 2)) != 0, (
            "its unit copied root's file to a place that everybody can read"
        )
        said = written(run, "node3")
        sh(
            run,
            "node3",
            f"systemctl stop {unit(run)}; rm -rf {path}; mv {path}.own {path}; systemctl reset-failed {unit(run)}",
            accept=range(256),
        )
        assert trap() == before, path
        if refused:
            assert f"{path} is a symbolic link in a folder that the user {user} can write" in said
            assert "\tfind out who created it, remove it" in said
        sh(run, "node3", f"systemctl start {unit(run)}")
        # Consul may take a minute, if it was stopped while it started.
        run.site.backend.wait_for_leader(run.session.connections["node3"], servers=3)
    sh(run, "node3", f"rm -r {TRAP}")
    assert written(run, "node3") == ""
    settled(run)


def test_one_server_lost_leaves_a_leader(run):
    settled(run)
    sh(run, "node3", f"systemctl stop {unit(run)}")
    assert run.site.backend.wait_for_leader(run.session.connections["node1"], servers=2)
    site = read(run)
    assert [wording.note(d) for d in STEP.drift(site, "node3")] == ["start"]
    # If node3 was the leader, the others name it for some more seconds. The engine's start also retries once a second.
    assert any(site.backend.formed(read(run)) or time.sleep(1) for _ in range(30))
    assert any(waits(run, "node1") or time.sleep(1) for _ in range(30))
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
    assert {wording.note(d) for d in drift} == {"wait"}
    assert not waits(run, "node1")
    assert {host for _, host in stops(run)} == set(NODES)
    for name in NODES[1:]:
        sh(run, name, f"systemctl start {unit(run)}")
    site = settled(run)
    assert site.backend.peers(site.facts) == {site.advertise[name] for name in NODES}
