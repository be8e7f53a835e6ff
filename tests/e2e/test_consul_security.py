"""Consul's security on real hosts: from the first run, added to a running cluster, without leaked secrets, and rotated."""

from __future__ import annotations

import contextlib
import json
import re
import uuid
from typing import TYPE_CHECKING

import pytest

from provisioner.stores import consul_security as security
from provisioner.system import certificates
from tests.e2e.cluster import Cluster
from tests.e2e.execs import execs
from tests.e2e.watch import PATIENCE, watching

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]

NODES = ("node1", "node2", "node3")
ROTATED = (["gossip-key"], ["certificates", "--ca"], ["tokens"])
KEEP = f"cp -a /etc/consul.d/provisioner-tls /root/old; cp -a /var/lib/consul/serf/local.keyring /root/old/keyring; cp -a {security.TOKENS} /root/old"
ELECTION = 30.0  # the most seconds that Consul may take to elect a leader on a busy machine
PLAIN = "{kind: consul, security: {gossip: false, tls: false, acls: false}}"
ASK = "curl -s -o /dev/null -w '%{http_code}' "
KV = "127.0.0.1:8500/v1/kv"


def secrets(cluster: Cluster) -> set[str]:
    """Every secret on the hosts, as a string to search for."""
    found = set[str]()
    for host in NODES:
        for path in (security.KEYRING, security.TOKENS, security.MANAGEMENT):
            text = cluster.file(host, path)
            found |= set(re.findall(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[A-Za-z0-9+/]{42,}=", text))
        for path in (security.KEY, security.AUTHORITY_KEY):
            found |= {line for line in cluster.file(host, path).splitlines() if len(line) == 64}
    return found


@contextlib.contextmanager
def traffic(cluster: Cluster) -> Iterator[None]:
    """Assert that no packet is lost between containers on two hosts during the block; five are sent each second."""
    cluster.sh(
        "node1", "docker exec app-node1 sh -c 'echo $$; exec ping -i 0.2 app-node3' >/tmp/ping 2>&1 </dev/null &"
    )
    try:
        yield
    finally:
        summary = cluster.sh(
            "node1", 'docker exec app-node1 sh -c "kill -INT $(head -n 1 /tmp/ping)"; sleep 1; tail -n 3 /tmp/ping'
        )
    sent, received = map(int, re.search(r"(\d+) packets transmitted, (\d+) received", summary).groups())
    assert sent > 20
    assert received >= sent - 1, summary  # the last one may still be in transit


def code(cluster: Cluster, host: str, words: str) -> str:
    return cluster.sh(host, ASK + words)


def test_a_new_cluster_is_secured_by_its_first_run(make_lab, tmp_path):
    cluster = Cluster(make_lab(hosts=3), tmp_path)
    with execs() as started:
        first = cluster.up()
    assert any("consul" in words for words in started.arguments)
    known = secrets(cluster)
    assert len(known) == 1 + 3 + 4 * 2, "a key, three tokens, two lines of each of four private keys"

    assert started.holding(known) == []
    outputs = [first.out, first.err]
    for command in ("plan", "verify", "status"):
        run = cluster.run(command, "-v") if command != "status" else cluster.run(command)
        assert run.code == 0
        outputs += [run.out, run.err]
    places = (
        "/etc/docker /etc/systemd/system/docker.service.d /etc/provisioner /run/provisioner* /run/log /var/log /tmp"
    )
    for host in NODES:
        outputs += [
            cluster.sh(host, "journalctl -q --no-pager"),
            cluster.sh(
                host,
                f"grep -rah --exclude={security.GOSSIP.rpartition('/')[2]} . {places} 2>/dev/null | strings",
                check=False,
            ),
        ]
    assert not [secret[:8] for secret in known if any(secret in text for text in outputs)]
    for host in NODES:
        modes = cluster.sh(host, f"stat -c '%a %U' {' '.join(security.FILES)}")
        assert set(modes.splitlines()) == {"600 consul", "600 root", "640 root"}

    # An engine sends no token, so its rights are those of the agent's default token.
    assert code(cluster, "node2", f"-X PUT -d x {KV}/docker/mine") == "200"
    assert code(cluster, "node2", f"-X PUT -d x {KV}/mine") == "403"
    assert code(cluster, "node2", f"{KV}/mine") == "403"
    assert code(cluster, "node2", "127.0.0.1:8500/v1/acl/tokens") == "403"
    assert "denied by ACLs" in cluster.sh("node2", "curl -s 127.0.0.1:8500/v1/operator/keyring")

    # An agent without key and certificate can't join, although the firewall allows it.
    cluster.sh("node3", "mkdir /tmp/o; consul agent -node outsider -data-dir /tmp/o -bind 192.168.56.13 -serf-lan-port 18301 -http-port 18500"
        " -dns-port -1 -retry-join 192.168.56.11:8301 -retry-interval 1s >/tmp/o/log 2>&1 & sleep 4; kill $!; cat /tmp/o/log", timeout=30)  # fmt: skip
    assert "outsider" not in cluster.sh("node1", "consul members")

    # A token that Consul does not know is reported, and replaced without a restart.
    other = json.dumps({"acl": {"tokens": {"agent": str(uuid.uuid4()), "default": str(uuid.uuid4())}}})
    cluster.sh(
        "node2",
        f"pid=$(systemctl show -p MainPID consul); echo '{other}' >{security.TOKENS}; systemctl reload consul; echo $pid",
    )
    pid = cluster.sh("node2", "sleep 1; systemctl show -p MainPID consul")
    run = cluster.run("verify")
    assert ("acl-denied", "node2") in {(f["check"], f["host"]) for f in run.report["findings"]}
    assert run.code == 1
    assert code(cluster, "node1", f"{KV}/hosts") == "403"
    # The engines must register at this path, where they have no right to write yet.
    cluster.store = "{kind: consul, discovery: {path: hosts}}"
    cluster.up()
    assert code(cluster, "node2", f"{KV}/hosts") != "403"
    shown = set(json.loads(cluster.sh("node2", f"curl -s '{KV}/hosts/?keys'")))
    assert shown >= {f"hosts/{cluster.lab.address(host)}:2376" for host in NODES}
    assert cluster.sh("node2", "systemctl show -p MainPID consul") == pid
    assert cluster.run("plan").code == 0


def test_a_running_cluster_is_secured_and_its_secrets_are_rotated(make_lab, tmp_path, record_property):
    cluster = Cluster(make_lab(hosts=3), tmp_path, store=PLAIN)
    cluster.up()
    assert secrets(cluster) == set()
    for host in NODES:
        cluster.box(host, f"app-{host}", network="demo")
    engines = {host: cluster.sh(host, "systemctl show -p MainPID docker") for host in NODES}
    cluster.store = "{kind: consul}"
    # The agents restart stage by stage and host by host. Meanwhile they refuse requests of engines.
    with traffic(cluster), watching(cluster, NODES, record_property, "securing Consul", attaching=False, makers=()):
        cluster.up()
    assert cluster.run("plan").code == 0
    old = secrets(cluster)
    cluster.sh("node3", KEEP)
    assert code(cluster, "node2", f"-X PUT -d x {KV}/mine") == "403"

    with traffic(cluster):
        # Killed when one of three hosts has a certificate of the new authority, which stays trusted until the next rotation ends.
        assert cluster.killed(4, "answered", "--ca", command="rotate certificates").code == -9
        cluster.up()
        for what, *options in ROTATED:
            patience = ELECTION if what == "tokens" else PATIENCE  # servers restart to load the new management token
            with watching(cluster, NODES, record_property, f"rotate {what}", patience=patience), execs() as started:
                run = cluster.run(f"rotate {what}", *options)
            assert run.code == 0, run.err
            assert run.proven
            said = run.err.partition("changed on node1, node2, node3\n")[2]
            assert f"rotate  Consul's {what.replace('-', ' ')} (rotation)" in said
            assert "store   /" in said
            assert not [secret[:8] for secret in old | secrets(cluster) if secret in run.out + run.err]
            assert started.holding(old | secrets(cluster)) == []
        certificates_that_end_soon_are_renewed(cluster, record_property)
    assert not old & secrets(cluster)
    assert len(secrets(cluster)) == len(old)
    assert cluster.run("plan").code == 0
    assert {host: cluster.sh(host, "systemctl show -p MainPID docker") for host in NODES} == engines

    # Old secrets are revoked.
    tokens = {secret for secret in old if secret.count("-") == 4}
    assert {
        code(cluster, "node1", f"-H 'X-Consul-Token: {token}' 127.0.0.1:8500/v1/acl/token/self") for token in tokens
    } == {"403"}
    now, old = "/var/lib/consul/serf/local.keyring", "/root/old"
    log = stranger(cluster, now, "/etc/consul.d/provisioner-tls")
    assert "(LAN) joined" in log
    assert "tls" not in log
    assert "(LAN) joined" not in stranger(cluster, f"{old}/keyring", "/etc/consul.d/provisioner-tls")
    log = stranger(cluster, now, old)
    assert "(LAN) joined" in log
    assert "tls: bad certificate" in log


def test_a_host_that_is_away_while_secrets_are_rotated_or_has_old_ones(settled):
    cluster = settled("consul")
    nothing_is_rotated_while_a_host_is_away(cluster)
    cluster.sh("node3", KEEP)
    for what, *options in ROTATED:
        assert cluster.run(f"rotate {what}", *options).code == 0
    a_host_with_old_secrets_is_reported_and_repaired(cluster)


def nothing_is_rotated_while_a_host_is_away(cluster: Cluster) -> None:
    """A host with old secrets would be shut out when it is back."""
    before = secrets(cluster)
    cluster.lab.stop("node3")
    cluster.ssh = ", connect_timeout: 3"
    for what, *options in ROTATED:
        run = cluster.run(f"rotate {what}", *options)
        assert (run.code, run.report["writes"]) == (1, 0)
        assert (
            f"nothing was changed: node3 would keep the old {what}, and be shut out of Consul when it is back"
            in run.err
        )
        assert (
            f"bring node3 back and run it again; or take it out of the cluster: provisioner remove node3 {cluster.inventory}"
            in run.err
        )
    cluster.lab.start("node3")
    cluster.up()
    assert secrets(cluster) == before


BACK = {  # path -> the old file that is restored there, and the reason that is reported
    security.TOKENS: ("provisioner-tokens.json", "Consul refuses this host's token"),
    security.CERTIFICATE: ("agent.pem", "its certificate is signed by an authority that the other agents do not trust"),
    security.KEYRING: ("keyring", "its gossip key differs from that of the other agents"),
}


def a_host_with_old_secrets_is_reported_and_repaired(cluster: Cluster) -> None:
    """One file after the other is restored from before the rotation. In the end the host has all old secrets."""
    for path, (old, why) in BACK.items():
        more = (
            f"cp -a /root/old/*.pem {security.CERTIFICATE.rpartition('/')[0]};" if path == security.CERTIFICATE else ""
        )
        cluster.sh(
            "node3", f"systemctl stop consul; {more} cp -a /root/old/{old} {path}; systemctl start consul; sleep 3"
        )
        run = cluster.run("verify")
        assert (run.code, run.report["writes"]) == (1, 0)
        assert f"no probe on node3: its engine can't use the store: {why}" in run.report["proofs"][0]["error"], run.err
        assert "node3  starting its probe" not in run.err, "no probe is started on an engine that can't query its store"
        assert {f["host"] for f in run.report["findings"] if f["check"] in {"acl-denied", "agent-shut-out"}} == {
            "node3"
        }
        assert "provisioner up" in run.err
    assert cluster.up().report["findings"] == [], "a repaired problem is not reported"
    assert cluster.run("plan").code == 0


def certificates_that_end_soon_are_renewed(cluster: Cluster, record_property) -> None:
    """The next `up` renews the certificates; containers notice nothing."""
    signer = certificates.Pair(
        cluster.file("node1", security.AUTHORITY) + "\n", cluster.file("node1", security.AUTHORITY_KEY) + "\n"
    )
    soon = {}
    for host in NODES:
        now = certificates.contents(cluster.file(host, security.CERTIFICATE) + "\n")
        pair = certificates.issue(
            signer, host, names=now.names, addresses=now.addresses, days=certificates.RENEW_DAYS - 1
        )
        for path, text in ((security.CERTIFICATE, pair.certificate), (security.KEY, pair.key)):
            cluster.lab.exec(host, f"cat >{path}", stdin=text)  # keeps the file's owner and mode
        cluster.sh(host, "systemctl reload consul")
        soon[host] = cluster.file(host, security.CERTIFICATE)
    with watching(cluster, NODES, record_property, "certificates renewed by up"):
        run = cluster.up()
    assert run.drifts("store").count(security.CERTIFICATE) == len(NODES), run.drifts("store")
    for host, before in soon.items():
        after = cluster.file(host, security.CERTIFICATE)
        assert certificates.contents(after + "\n").ends > certificates.contents(before + "\n").ends


def stranger(cluster: Cluster, keyring: str, certificate: str) -> str:
    """Start an agent with this gossip key and certificate, which joins and queries a server. Returns its log lines about both.

    Its authority is the present one.
    """
    return cluster.sh("node3", f"""key=$(tr -d '[]" \n' <{keyring}); mkdir /tmp/o
        printf '{{"encrypt": "%s", "verify_outgoing": true, "ca_file": "{security.AUTHORITY}",
            "cert_file": "{certificate}/agent.pem", "key_file": "{certificate}/agent-key.pem"}}' "$key" >/tmp/o/o.json
        consul agent -node stranger -data-dir /tmp/o -config-file /tmp/o/o.json -bind 192.168.56.13 -serf-lan-port 18301 -http-port 18500 \
            -dns-port -1 -retry-join 192.168.56.11:8301 -retry-interval 1s >/tmp/o/log 2>&1 &
        for n in $(seq 12); do sleep 0.5; grep -q '(LAN) joined' /tmp/o/log && break; done
        sleep 2; curl -s -m 5 127.0.0.1:18500/v1/catalog/nodes; kill $!; wait $!
        grep -e joined -e tls: /tmp/o/log; rm -rf /tmp/o""", timeout=40, check=False)  # fmt: skip
