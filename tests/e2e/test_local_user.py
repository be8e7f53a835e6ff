"""An unprivileged local user of a host tries to plant secrets in the cluster, or to get the cluster's secrets."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from provisioner.stores import consul_security as security
from tests.e2e.captures import look_as_today
from tests.e2e.cluster import Cluster

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]

NODES = ("node1", "node2", "node3")
TOKEN = "5c0e2c4a-3a0e-4f0e-9a44-0f5a7c1f6d0b"
KEY = "uDBV4e+LbFW3019YKPxIrLYFyPjaBFJlm1nA+rAYF1U="
SECRETS = {
    security.KEYRING: json.dumps([KEY]),
    security.GOSSIP: json.dumps([KEY]),
    security.MANAGEMENT: json.dumps({"acl": {"tokens": {"master": TOKEN}}}),
    security.TOKENS: json.dumps({"acl": {"tokens": {"agent": TOKEN, "default": TOKEN}}}),
}
FORGED = {
    "secrets": "".join(f"{path}:{text}\n=600 root:root {path}\n" for path, text in SECRETS.items()),
    "guarded": "".join(f"{path}\n" for path in SECRETS),
    "ports": "tcp 22 1\n",
}
PROGRAM = (Path(__file__).parent / "stranger.pl").read_text()
HEARD = "/tmp/heard"  # the requests that the stranger got


@contextlib.contextmanager
def stranger(cluster: Cluster, host: str, after: str = "/") -> Iterator[None]:
    """Run a process as nobody that takes Consul's port as soon as the port is free and the file `after` exists."""
    forged = " ".join(f"'{name}={body}'" for name, body in FORGED.items()).replace("\n", "\\n")
    cluster.sh(host, f"rm -f {HEARD}; cat >/tmp/stranger.pl <<'END'\n{PROGRAM}\nEND\n"
               f"setpriv --reuid nobody --regid nogroup --clear-groups perl /tmp/stranger.pl {after} {HEARD} {forged} >/dev/null 2>&1 & echo $! >/tmp/stranger.pid")  # fmt: skip
    try:
        yield
    finally:
        cluster.sh(host, "kill $(cat /tmp/stranger.pid)", check=False)


def deceived(cluster: Cluster) -> list[str]:
    """The hosts that have accepted a secret of the stranger."""
    return [
        host
        for host in NODES
        if re.search(f"{TOKEN}|{re.escape(KEY)}", "".join(cluster.file(host, path) for path in SECRETS))
    ]


@pytest.fixture(scope="module")
def cluster(make_lab_for_all, tmp_path_factory):
    return Cluster(make_lab_for_all(hosts=3), tmp_path_factory.mktemp("local"))


def test_on_consul_s_port_before_consul_starts(cluster):
    """The finding names the port and the program. That host is left out, and the others create their own secrets."""
    with stranger(cluster, "node1"):
        cluster.sh("node1", "until ss -ltn | grep -q 127.0.0.1:8500; do sleep 0.1; done")
        for command in ("plan", "up"):
            run = cluster.run(command)
            assert run.code == 1
            (taken,) = [f for f in run.report["findings"] if f["check"] == "port-taken"]
            assert taken["host"] == "node1"
            assert "8500/tcp" in taken["what"]
            assert "perl" in taken["what"]
            assert deceived(cluster) == []
    look_as_today(cluster, "node2", "secured-node2")
    assert json.loads(cluster.file("node2", security.GOSSIP)) == json.loads(cluster.file("node3", security.GOSSIP))
    assert cluster.file("node1", "/etc/consul.d/provisioner.json") == ""
    cluster.up()
    assert deceived(cluster) == []


def test_while_consul_is_down(cluster):
    """Only this host fails, and the finding names the stranger's program."""
    before = {host: cluster.file(host, security.MANAGEMENT) for host in NODES}
    with stranger(cluster, "node1"):
        cluster.sh(
            "node1", "systemctl stop consul; until ss -ltnp | grep 127.0.0.1:8500 | grep -q perl; do sleep 0.1; done"
        )
        for command in ("plan", "rotate tokens"):
            run = cluster.run(command)
            assert run.code != 0
            assert [
                f["host"] for f in run.report["findings"] if f["check"] == "port-taken" and "perl" in f["what"]
            ] == ["node1"]
    assert deceived(cluster) == []
    assert {host: cluster.file(host, security.MANAGEMENT) for host in ("node1",)} == {"node1": before["node1"]}


def test_between_the_reading_and_consul_s_start(cluster):
    """Consul fails on that host, and its token is sent to nobody."""
    cluster.sh("node1", f"rm {security.TOKENS}; systemctl stop consul")
    with stranger(cluster, "node1", after=security.TOKENS):
        run = cluster.run("up")
        assert run.code != 0
        assert "port 8500 is held by the user nobody" in json.dumps(run.report)
        heard = cluster.file("node1", HEARD)
        assert "GET /v1/status/leader HTTP/1.1" in heard
        assert "x-consul-token" not in heard.lower()
    assert deceived(cluster) == []
    cluster.up()


def test_consul_s_own_user(cluster):
    """Consul's user can change its keyring, but no other host adopts it. Its links are not followed, its pipe blocks nobody."""
    denied = 'setpriv --reuid consul --regid consul --init-groups sh -c \'for f in "$@"; do echo x >>"$f" || touch "${f%/*}/x" || mv "$f" "$f.x" || echo no; done\' x'
    paths = " ".join(path for path in security.FILES if path != security.KEYRING)
    assert cluster.sh("node2", f"{denied} {paths} 2>/dev/null").split() == ["no"] * (len(security.FILES) - 1)
    for link in ("ln -s /etc/shadow", "mkfifo"):
        name = security.KEYRING.rpartition("/")[2]
        cluster.sh(
            "node2",
            f"cd {security.KEYRING.removesuffix(name)}; rm -f {name}; setpriv --reuid consul --regid consul --init-groups {link} {name}",
        )
        plan = cluster.run("plan", "-v", timeout=60)
        assert [(o["host"], [d["what"] for d in o["drifts"]]) for o in plan.report["outcomes"] if o["drifts"]] == [
            ("node2", [security.KEYRING])
        ]
        assert "root:" not in plan.out + plan.err
    cluster.sh(
        "node2",
        f"rm {security.KEYRING}; echo '[\"{KEY}\"]' >{security.KEYRING}; chown consul:consul {security.KEYRING}; chmod 600 {security.KEYRING}",
    )
    plan = cluster.run("plan")
    assert [o["host"] for o in plan.report["outcomes"] if o["drifts"]] == ["node2"]
    cluster.up()
    assert KEY not in cluster.file("node1", security.KEYRING) + cluster.file("node3", security.KEYRING)


def test_files_of_an_earlier_release_are_given_to_root_without_a_restart(cluster):
    assert cluster.run("rotate gossip-key").code == 0
    before = {host: cluster.sh(host, "systemctl show -p MainPID consul docker") for host in NODES}
    paths = " ".join(path for path in security.FILES if path not in (security.GOSSIP, security.AUTHORITY_KEY))
    for host in NODES:
        cluster.sh(
            host,
            f"rm {security.GOSSIP}; chown consul:consul {paths} {security.FOLDERS[1]}; chmod 600 {paths}; chmod 700 {security.FOLDERS[1]}",
        )
    kept = {
        (host, path): cluster.file(host, path)
        for host in NODES
        for path in (security.KEYRING, security.TOKENS, security.AUTHORITY)
    }
    cluster.up()
    assert {(host, path): cluster.file(host, path) for host, path in kept} == kept
    assert {host: cluster.sh(host, "systemctl show -p MainPID consul docker") for host in NODES} == before
    assert cluster.run("plan").code == 0


TRAP = "/etc/trap"  # a folder of root; its files have the names of those that root writes below Consul's folder
OF_TRAP = f"find {TRAP} -printf '%p %y %m %u:%g\\n' | sort; cat {TRAP}/*"
AS_CONSUL = "setpriv --reuid consul --regid consul --init-groups sh -ec"


def test_rotation_and_removal_follow_no_links_of_consul_s_user(cluster):
    """Root writes, moves and removes files in folders of that user without following links there."""
    data, keyring = "/var/lib/consul", security.KEYRING
    serf, name = keyring.rsplit("/", 1)
    cluster.sh(
        "node2",
        f"mkdir -m 700 {TRAP}; for f in {name} local.snapshot; do echo kept >{TRAP}/$f; done; chmod 600 {TRAP}/*",
    )
    before = cluster.sh("node2", OF_TRAP)
    cluster.sh(
        "node2",
        f"{AS_CONSUL} 'cd {serf}; for n in abcdefghijkl aB3dE6gH; do ln -s {TRAP}/{name} .provisioner.$n; done'",
    )
    rotated = cluster.run("rotate gossip-key")
    assert rotated.code == 0, rotated.err
    assert cluster.sh("node2", OF_TRAP) == before

    cluster.sh("node2", f"{AS_CONSUL} 'cd {data}; mv serf moved; ln -s {TRAP} serf; ln -s {TRAP} raft/trap'")
    rotated = cluster.run("rotate gossip-key")
    assert rotated.code != 0
    assert serf in json.dumps(rotated.report)
    assert cluster.sh("node2", OF_TRAP) == before

    removed = cluster.run("remove node2")
    assert removed.code == 0, removed.err
    assert cluster.sh("node2", OF_TRAP) == before
    assert cluster.sh("node2", f"readlink {data}.*.bak/serf; ls {data}") == TRAP, "the links were moved away unchanged"
