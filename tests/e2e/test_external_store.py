"""A store that others manage, on a separate host: checked from every host before any change, used, and not changed itself."""

from __future__ import annotations

import json

import pytest

from provisioner.system import certificates
from tests.e2e.cluster import Cluster
from tests.e2e.test_inventories import EXAMPLES, Example
from tests.e2e.their_store import SERVER, certified, start_etcd

pytestmark = pytest.mark.lab

NODES = ("node1", "node2", "node3")
STORE = "192.168.56.14"
RUN = "systemd-run -q --collect --unit=theirs -p Restart=no {} && for n in $(seq 30); do curl -sf {} >/dev/null && exit 0; sleep 1; done; exit 1"
ETCD = RUN.format(
    f"/usr/bin/etcd --data-dir /var/lib/theirs --listen-client-urls http://0.0.0.0:2379 --advertise-client-urls http://{STORE}:2379"
    " --enable-v2={}",
    "localhost:2379/health",
)
CONSUL = RUN.format(
    f"/usr/bin/consul agent -server -bootstrap -bind {STORE} -client 0.0.0.0 -data-dir /var/lib/theirs {{}}",
    "localhost:8500/v1/status/leader | grep 8300",
)
CLOSED = """-hcl 'acl { enabled = true, default_policy = "deny", tokens { master = "all" } }'"""
# Clients without a token may only read all keys, or only write them.
ALLOWED = r"""ask() {{ curl -sf -X PUT -H 'X-Consul-Token: all' -d "$2" localhost:8500/v1/acl/$1; }}
ask policy '{{"Name": "{0}", "Rules": "{{\"key_prefix\": {{\"\": {{\"policy\": \"{0}\"}}}}}}"}}' &&
    ask token/00000000-0000-0000-0000-000000000002 '{{"Policies": [{{"Name": "{0}"}}]}}'"""
TLS = '-hcl \'ports {{ https = 8501 }} verify_incoming = true ca_file = "{}" cert_file = "{}" key_file = "{}"\''.format(
    *SERVER
)


@pytest.fixture
def lab(make_lab):
    return make_lab(hosts=4)


def checks(run) -> set[tuple[str, str]]:
    return {(f["check"], f["severity"]) for f in run.report["findings"]}


def refused(cluster: Cluster, check: str) -> str:
    """Run `up`: every host reports this finding, and no host is changed. Returns the output for people."""
    run = cluster.run("up")
    assert run.code == 1
    assert {(f["check"], f["host"]) for f in run.report["findings"]} == {(check, host) for host in cluster.hosts}, (
        run.err
    )
    assert run.report["writes"] == 0
    return run.err


def locked(cluster: Cluster) -> None:
    """`up` stops, because somebody else's run holds the store's lock."""
    run = cluster.run("up")
    assert (run.code, [o for o in run.report["outcomes"] if o["state"] == "converged"]) == (1, [])
    assert "another run is changing the same store: her" in run.report["errors"][0]
    assert [failure["check"] for failure in run.report["failures"]] == ["store-locked"]


def killed_with_the_lock(cluster: Cluster, shown: str, requests: int) -> None:
    """Kill the run at each request with which it takes the store's lock. The next run takes the lock over."""
    for request in range(1, requests + 1):
        assert cluster.killed(request, "requested").code == -9
    assert "hosts" in cluster.sh("node4", shown)


def proven_and_settled(cluster: Cluster, url: str) -> None:
    run = cluster.up()
    assert {o["state"] for o in run.report["outcomes"] if o["step"] == "store"} == {"settled"}
    assert cluster.engine("node2", "ClusterStore") == url
    assert cluster.run("plan").code == 0


def test_etcd(lab, tmp_path):
    cluster = Cluster(
        lab, tmp_path, hosts=NODES[:2], store=f"{{kind: etcd, endpoints: ['{STORE}:2379'], prefix: ours}}"
    )
    refused(cluster, "store-unreachable")
    cluster.sh(
        "node4",
        "apt-get -q update >/dev/null && apt-get install -q -y etcd-server >/dev/null && systemctl stop etcd",
        timeout=120,
    )
    cluster.sh("node4", ETCD.format("false"))
    refused(cluster, "store-without-v2")
    cluster.sh("node4", "systemctl stop theirs")
    cluster.sh("node4", ETCD.format("true"))
    cluster.store = f"{{kind: etcd, endpoints: ['{STORE}:2379', '{STORE}:2399'], prefix: ours, discovery: {{heartbeat: 5, ttl: 15}}}}"
    killed_with_the_lock(cluster, "curl -s localhost:2379/v2/keys/ours/docker/provisioner/lock", 1)
    run = cluster.run("up")
    assert run.code == 0, run.err  # one endpoint answers, the other one is reported
    assert checks(run) == {("store-unreachable", "warning")}
    cluster.store = cluster.store.replace(f", '{STORE}:2399'", "")
    proven_and_settled(cluster, f"etcd://{STORE}:2379/ours")
    assert cluster.sh("node1", "command -v etcd", check=False) == ""
    keys = json.loads(cluster.sh("node4", "curl -s localhost:2379/v2/keys/?recursive=true"))["node"]["nodes"]
    assert [node["key"] for node in keys] == ["/ours"]

    cluster.store = cluster.store.replace("ttl: 15", "ttl: 30")
    put = "curl -s -X PUT -d value='%s' localhost:2379/v2/keys/ours/docker/%s"
    cluster.sh("node4", put % ('{"owner": "her", "hosts": ["another"]}', "provisioner/lock?ttl=60"))
    cluster.sh("node4", put % ("192.0.2.9:2376", "nodes/192.0.2.9:2376"))
    locked(cluster)
    cluster.sh("node4", "curl -s -X DELETE localhost:2379/v2/keys/ours/docker/provisioner/lock")
    run = cluster.up()
    assert checks(run) == {("store-shared", "warning")}
    assert "lock" not in cluster.sh("node4", "curl -s localhost:2379/v2/keys/ours/docker?recursive=true")
    assert "the running engine's store options" in {d["what"] for d in run.outcome("daemon", "node1")["drifts"]}
    assert cluster.run("plan").code == 0
    opts = json.loads(cluster.file("node1", "/etc/docker/daemon.json"))["cluster-store-opts"]
    assert opts == {"discovery.heartbeat": "5", "discovery.ttl": "30"}


def test_etcd_over_tls(make_lab, tmp_path):
    """Files of a wrong authority are refused. With the right ones, engines move from plain etcd to TLS, one after the other."""
    cluster = Cluster(make_lab(hosts=4, images={"node4": "etcd-3.5"}), tmp_path, hosts=NODES[:2])
    cluster.sh("node4", "systemctl stop etcd")
    cluster.sh("node4", ETCD.format("true"))
    cluster.store = f"{{kind: etcd, endpoints: ['{STORE}:2379']}}"
    proven_and_settled(cluster, f"etcd://{STORE}:2379")
    other, files = certificates.authority("nobody's"), tmp_path / "files"
    start_etcd(cluster, "node4", files)
    right = (files / "ca.pem").read_text()
    (files / "ca.pem").write_text(other.certificate)
    tls = "{" + ", ".join(f"{name}: {files}/{name}.pem" for name in ("ca", "cert", "key")) + "}"
    cluster.store = f"{{kind: etcd, endpoints: ['{STORE}:2379'], tls: {tls}}}"
    refused(cluster, "store-unreachable")
    (files / "ca.pem").write_text(right)
    run = cluster.up()
    assert {
        d["note"] for host in cluster.hosts for d in run.outcome("daemon", host)["drifts"] if "TLS" in d["what"]
    } == {"restart"}
    assert cluster.sh("node2", "stat -c '%a %U' /etc/provisioner/tls/key.pem") == "600 root"
    assert "PRIVATE" not in run.out + run.err
    number = cluster.sh("node1", "docker network inspect -f '{{.Id}}' demo")
    value = json.dumps({"name": "web", "locator": "192.0.2.9"})
    words = "--cacert {} --cert {} --key {}".format(*SERVER)
    cluster.sh(
        "node4",
        f"curl -sf {words} -X PUT -d value='{value}' https://{STORE}:2379/v2/keys/docker/network/v1.0/endpoint/{number}/e1",
    )
    run = cluster.run("plan")
    assert (run.code, checks(run)) == (0, {("endpoint-left", "warning")})


def test_consul(lab, tmp_path):
    cluster = Cluster(lab, tmp_path, hosts=NODES, store=f"{{kind: consul, endpoints: ['{STORE}:8500']}}")
    cluster.sh("node4", CONSUL.format(CLOSED))
    for allowed, wanted in (("read", "write under docker/nodes"), ("write", "create sessions")):
        cluster.sh("node4", ALLOWED.format(allowed))
        assert f"does not allow this host to {wanted}" in refused(cluster, "store-forbidden")
    assert cluster.sh("node4", "curl -s -H 'X-Consul-Token: all' localhost:8500/v1/session/list") == "[]"
    cluster.sh("node4", "systemctl stop theirs; rm -rf /var/lib/theirs")
    cluster.sh("node4", CONSUL.format(""))
    made = cluster.sh("node4", """curl -s -X PUT -d '{"LockDelay": "0s"}' localhost:8500/v1/session/create""")
    session = json.loads(made)["ID"]
    lock = "localhost:8500/v1/kv/docker/provisioner/lock"
    cluster.sh("node4", f"""curl -s -X PUT -d '{{"owner": "her", "hosts": ["another"]}}' '{lock}?acquire={session}'""")
    locked(cluster)
    cluster.sh("node4", f"curl -s -X PUT localhost:8500/v1/session/destroy/{session}; curl -s -X DELETE {lock}")
    certified(cluster, "node4", tmp_path / "files")
    cluster.sh("node4", "systemctl stop theirs")
    cluster.sh("node4", CONSUL.format(TLS))
    cluster = Example(lab, tmp_path)
    cluster.adapt((EXAMPLES / "external-consul.yml").read_text().replace("172.31.9.14", STORE))
    killed_with_the_lock(cluster, f"curl -s '{lock}?raw'", 2)
    proven_and_settled(cluster, f"consul://{STORE}:8501")
    assert cluster.sh("node4", f"curl -s {lock}") == ""
    for host in NODES:
        assert cluster.sh(host, "systemctl is-active consul", check=False) == "inactive"
        cluster.lab.stop(host)
    for host in NODES:
        cluster.lab.start(host)
        cluster.sh(
            host,
            "for n in $(seq 60); do [ $(systemctl is-active docker) = active ] && exit 0; sleep 1; done; exit 1",
            timeout=90,
        )
        assert "demo" in cluster.sh(host, "docker network ls --format '{{.Name}}'").split()
    assert cluster.run("plan").code == 0
