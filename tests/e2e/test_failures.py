"""Failures of hosts: each gives a clear message and exit code 1, leaves nothing half-written, and does not stop the other hosts."""

from __future__ import annotations

import re
import shlex
import socket
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.e2e.cluster import Cluster

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.lab

NODES = ("node1", "node2", "node3")
OURS = "find /etc -newer /etc/hostname \\( -path '*provisioner*' -o -path '/etc/consul.d/*' -o -path '/etc/docker/*' -o -name consul.service \\) -type f ! -name key.json"


@pytest.fixture
def cluster(make_lab, tmp_path: Path) -> Cluster:
    return Cluster(make_lab(hosts=3), tmp_path)


def pairs(run) -> set[tuple[str, str]]:
    assert run.report["proofs"], run.err
    return {(p["source"], p["target"]) for p in run.report["proofs"][0]["pairs"] if p["proven"]}


def causes(run) -> dict[str, str]:
    """The id of each host's error; that of the whole run is at "". People see each once, as an error, a finding or a cause."""
    found = {failure["host"]: failure["check"] for failure in run.report["failures"]}
    for name in found.values():
        assert len(re.findall(rf"(?m)^ +(?:check:|id) +{name}$", run.err)) == 1, run.err
    return found


def rest_is_done(run, bad: str) -> None:
    """The two other hosts form a proven network, and the bad one is reported."""
    good = [name for name in NODES if name != bad]
    assert run.code == 1, run.err
    assert bad in run.report["lost"], run.err
    assert pairs(run) == {(good[0], good[1]), (good[1], good[0])}, run.err


def test_six_faulty_hosts_are_reported_and_two_become_a_network(make_lab, tmp_path):
    """The two have shells that print noise, and one needs sudo. The six are not changed; repaired hosts join later."""
    cluster = Cluster(make_lab(hosts=8, images={"node8": "engine-26"}), tmp_path, ssh=", connect_timeout: 3")
    cluster.store, cluster.extra = "{kind: consul, servers: [node1]}", "control_plane: kv\n"
    cluster.sh("node1", "printf 'echo welcome to node1; echo noise >&2\\n' | tee /root/.profile >/root/.bashrc")
    for host in ("node2", "node7"):
        cluster.per_host[host] = ", user: ops"
        cluster.sh(
            host,
            "useradd -m -s /bin/bash ops; install -d -o ops -m 700 ~ops/.ssh; install -o ops -m 600 /root/.ssh/authorized_keys ~ops/.ssh/",
        )
    cluster.sh(
        "node2", "echo 'ops ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/ops; echo 'echo hello; exec 2>&1' >~ops/.bashrc"
    )
    cluster.sh("node3", "mv /root/.ssh/authorized_keys /root/.ssh/away")
    cluster.lab.cut("node4")
    cluster.sh("node5", 'mkdir -p /etc/docker; echo \'{"debug": "yes"}\' >/etc/docker/daemon.json')
    cluster.sh("node6", "mkdir -p /var/lib/consul; mount -t tmpfs -o size=1m none /var/lib/consul")

    plan = cluster.run("plan")
    found = {(f["host"], f["check"]) for f in plan.report["findings"]}
    assert found == {
        ("node5", "daemon-json-refused"),
        ("node6", "disk-full"),
        ("node7", "no-root"),
        ("node8", "engine-too-new"),
    }
    assert "of type bool" in plan.err
    cluster.sh("node5", "printf '{\"debug\": true,}' >/etc/docker/daemon.json")
    began = time.monotonic()
    run = cluster.run("up")
    assert time.monotonic() - began < 60
    assert (run.code, pairs(run)) == (1, {("node1", "node2"), ("node2", "node1")}), run.err
    reasons = {
        "node3": "key", "node4": "192.168.56.14", "node5": "/etc/docker/daemon.json is not valid JSON", "node6": "/var/lib/consul has 1 MB free",
        "node7": "ops is not root and can't use sudo without a password", "node8": "engine 26.1.5",
    }  # fmt: skip
    assert run.report["lost"].keys() == reasons.keys()
    matches = {host: words in run.report["lost"][host] for host, words in reasons.items()}
    assert matches == dict.fromkeys(reasons, True), run.err
    assert causes(run) == {
        "node3": "login-refused", "node4": "host-unreachable", "node5": "daemon-json-broken", "node6": "disk-full", "node7": "no-root",
        "node8": "engine-too-new",
    }  # fmt: skip
    assert "line 1 column 16" in run.err or "char 15" in run.err
    assert cluster.file("node5", "/etc/docker/daemon.json") == '{"debug": true,}'
    ours = {host: cluster.sh(host, OURS) for host in reasons}
    assert ours == dict.fromkeys(reasons, "") | {"node5": "/etc/docker/daemon.json"}
    assert cluster.sh("node8", "systemctl is-active docker") == "active"

    cluster.sh("node3", "mv /root/.ssh/away /root/.ssh/authorized_keys")
    cluster.lab.uncut("node4")
    cluster.hosts = ("node1", "node2", "node3", "node4")
    assert len(pairs(cluster.up())) == 12
    assert cluster.run("plan").code == 0


def test_without_a_quorum_nothing_is_changed(cluster):
    for host in ("node2", "node3"):
        cluster.sh(host, "mv /root/.ssh/authorized_keys /root/.ssh/away")
    run = cluster.run("up")
    assert run.code == 1
    assert run.report["writes"] == 0
    assert "missing: node2, node3 (2 of 3 servers are needed)" in run.err
    assert causes(run) == {"": "quorum-lost", "node2": "login-refused", "node3": "login-refused"}


def test_a_full_disk(cluster):
    """A disk that fills up during a write leaves nothing half-written."""
    cluster.sh(
        "node3",
        "cp /etc/docker/key.json /run; mount -t tmpfs -o size=64k none /etc/docker; cp /run/key.json /etc/docker",
    )
    cluster.sh(
        "node3",
        "echo '{}' >/etc/docker/daemon.json; dd if=/dev/zero of=/etc/docker/filler bs=1k count=1000 2>/dev/null; true",
    )
    run = cluster.run("up")
    assert run.code == 1
    assert "node3" in run.report["lost"]
    assert "df /etc/docker" in run.err
    assert causes(run) == {"node3": "file-failed"}
    assert cluster.file("node3", "/etc/docker/daemon.json") == "{}"
    assert sorted(cluster.sh("node3", "ls -A /etc/docker").split()) == ["daemon.json", "filler", "key.json"]
    assert cluster.sh("node3", "systemctl restart docker && systemctl is-active docker", timeout=150) == "active"
    assert pairs(run) == {("node1", "node2"), ("node2", "node1")}
    cluster.sh("node3", "rm /etc/docker/filler")
    cluster.up()
    says_nonsense(cluster, "node3")


# Listens in place of the engine. Arguments: the socket's path, the answer to a request for the networks.
LIAR = r"""
use Socket; my ($path, $networks) = @ARGV; socket S, PF_UNIX, SOCK_STREAM, 0; bind S, sockaddr_un $path or die; listen S, 9;
while (accept C, S) { sysread C, my $asked, 4096; syswrite C, $asked =~ m{^GET /networks } ? $networks : "HTTP/1.0 200 OK\r\n\r\n{}"; close C }
"""


def says_nonsense(cluster: Cluster, odd: str) -> None:
    """An engine gives malformed answers. Only its host fails and is reported; the others are settled and proven."""
    arabic = '[{"Name":"bridge","Id":"1","Driver":"bridge","IPAM":{"Config":[{"Subnet":"\u0661\u0660.0.0.0/24"}]}}]'
    networks = {
        "SSH-2.0-OpenSSH_9.2\r\n": "it is not HTTP",
        "HTTP/1.0 200 OK\r\n\r\n[{'Name'": "Expecting property name",
        f"HTTP/1.0 200 OK\r\n\r\n{arabic}": "[0].IPAM.Config[0].Subnet: ",
    }
    cluster.sh(odd, "mv /run/docker.sock /run/away.sock")
    for at, (answer, why) in enumerate(networks.items()):
        argv = shlex.join(["perl", "-e", LIAR, "/run/docker.sock", answer])
        cluster.sh(
            odd,
            f"systemd-run --quiet --unit=liar {argv}; for n in $(seq 100); do [ -S /run/docker.sock ] && exit; sleep 0.1; done; exit 1",
        )
        run = cluster.run("up" if at == 0 else "status")
        cluster.sh(odd, "systemctl stop liar; rm /run/docker.sock")
        assert (run.code, [*run.report["lost"]], run.report["writes"]) == (1, [odd], 0), run.err
        assert run.report["lost"][odd].startswith(f"{odd}: the engine's answer (networks) can't be understood: "), (
            run.err
        )
        assert why in run.report["lost"][odd], run.err
        assert "Traceback" not in run.err
        assert at or not {o["state"] for o in run.report["outcomes"] if o["host"] != odd} - {"settled"}, run.err
        assert at or pairs(run) == {("node1", "node2"), ("node2", "node1")}, run.err
    cluster.sh(odd, "mv /run/away.sock /run/docker.sock")
    assert cluster.run("plan").code == 0


def test_apt_is_locked_by_another_program(make_lab, tmp_path):
    cluster = Cluster(make_lab(hosts=3, images={"node3": "bare"}), tmp_path)
    holder = cluster.lab.enter_command(
        "node3",
        [
            "perl",
            "-e",
            "use Fcntl; open F, '+>', '/var/lib/dpkg/lock-frontend'; $l = pack('s s x4 q q i x4', F_WRLCK, 0, 0, 0, 0); fcntl(F, F_SETLK, $l) or die; sleep 300",
        ],
    )
    process = subprocess.Popen(holder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(1)
        run = cluster.run("up", timeout=280)
    finally:
        process.kill()
        process.wait()
    rest_is_done(run, "node3")
    assert "apt's lock is held by another program" in run.err
    assert cluster.sh("node3", "command -v dockerd", check=False) == ""
    cluster.sh("node3", "pkill perl", check=False)
    assert len(pairs(cluster.up())) == 6


def test_a_host_that_is_cut_off_in_the_middle_of_a_command(cluster):
    """A host loses its network while it starts Consul. It drops out, the others continue, and it has no half-written file."""
    cluster.sh(
        "node3",
        "mkdir -p /etc/systemd/system/consul.service.d; printf '[Service]\\nExecStartPre=/bin/sleep 600\\nTimeoutStartSec=900\\n' >/etc/systemd/system/consul.service.d/slow.conf; systemctl daemon-reload",
    )
    process = cluster.begin("up")
    cluster.sh("node3", "for n in $(seq 600); do pgrep -f '[s]leep 600' && exit; sleep 0.1; done; exit 1", timeout=70)
    cluster.lab.cut("node3")
    began = time.monotonic()
    run = cluster.ended(process)
    assert time.monotonic() - began < 120
    rest_is_done(run, "node3")
    assert "connection lost after" in run.report["lost"]["node3"], run.err
    assert causes(run) == {"node3": "connection-lost"}
    cut_off = digests(cluster, "node3")
    assert {
        "/etc/provisioner/firewall.sh",
        "/etc/consul.d/provisioner.json",
        "/etc/systemd/system/consul.service",
    } <= set(cut_off)
    assert not [path for path in cut_off if "/." in path or path.startswith("/etc/docker")]
    cluster.sh(
        "node3",
        "rm /etc/systemd/system/consul.service.d/slow.conf; systemctl daemon-reload; systemctl stop consul; pkill sleep",
        check=False,
    )
    cluster.lab.uncut("node3")
    assert len(pairs(cluster.up())) == 6
    assert cut_off.items() <= digests(cluster, "node3").items(), "each file was complete, so none is written again"


def digests(cluster: Cluster, host: str) -> dict[str, str]:
    """Our files on a host, with their checksums."""
    lines = cluster.sh(host, f"{OURS} -exec sha256sum {{}} +").splitlines()
    return {path: digest for digest, path in (line.split("  ") for line in lines)}


def test_sshd_refuses_bursts(cluster):
    """Each sshd has its maximum of visitors until it has refused a connection of ours. Each host is retried, and none is lost."""
    visitors = []
    for host in NODES:
        cluster.sh(host, "echo 'MaxStartups 1' >>/etc/ssh/sshd_config; systemctl restart ssh")
        with cluster.lab.enter():
            visitors.append(socket.create_connection((cluster.lab.address(host), 22), timeout=20))
        assert visitors[-1].recv(4) == b"SSH-"
    process = cluster.begin("up")
    for host in NODES:
        cluster.sh(
            host,
            "for n in $(seq 300); do journalctl -u ssh | grep -q 'MaxStartups throttling' && exit; sleep 0.1; done; exit 1",
        )
    for visitor in visitors:
        visitor.close()
    run = cluster.ended(process)
    assert (run.code, run.proven) == (0, True), run.err
    again = re.findall(
        r"^connect +(node[123]) +the SSH server at \S+ closes the connection at once; trying again$",
        run.err,
        re.MULTILINE,
    )
    assert sorted(again) == sorted(NODES), run.err


def test_all_findings_are_reported_together_before_any_change(cluster):
    """Equal hostnames, cloned engines, addresses, subnets and ports."""
    cluster.sh("node3", "hostname node1; cat /proc/sys/kernel/hostname")
    key = cluster.sh("node1", "systemctl start docker; cat /etc/docker/key.json")
    cluster.sh(
        "node2",
        f"systemctl stop docker.socket docker; mkdir -p /etc/docker; cat >/etc/docker/key.json <<'X'\n{key}\nX\nsystemctl start docker",
    )
    cluster.per_host = {"node1": ", advertise: 192.168.56.99"}
    cluster.networks = "{demo: {subnet: 10.99.0.0/24}, other: {subnet: 172.17.0.0/24}}"
    cluster.sh("node2", "ip link add d0 type bridge; ip address add 10.99.0.77/25 dev d0; ip link set d0 up")
    squat = "socket(S, PF_INET, SOCK_STREAM, 0); bind(S, sockaddr_in(8301, INADDR_ANY)) or die; listen(S, 1); sleep 600"
    cluster.sh(
        "node3",
        f"systemd-run --unit=squatter perl -MSocket -e '{squat}'; for n in $(seq 100); do ss -Hlnt | grep -q :8301 && exit; sleep 0.1; done; exit 1",
    )
    run = cluster.run("up")
    assert (run.code, run.report["writes"]) == (1, 0)
    found = {(f["check"], f["host"]) for f in run.report["findings"] if f["severity"] == "stop"}
    assert {("wrong-interface", "node1"), ("subnet-overlap", "node2"), ("port-taken", "node3")} <= found
    assert {check for check, _ in found} >= {"duplicate-hostname", "cloned-engine-id"}
    assert "node1, node3 have the same hostname" in run.err
    assert "node1, node2 have the same ID" in run.err
    assert "8301/tcp, which Consul needs, is held by perl" in run.err


def test_a_machine_that_is_named_twice_stops_the_run_before_any_change(make_lab, tmp_path):
    """The two hosts are clones with one machine ID, which is harmless: only the boot IDs show which entries are one machine."""
    cluster = Cluster(make_lab(hosts=2), tmp_path)
    cluster.sh("node2", f"echo {cluster.sh('node1', 'cat /etc/machine-id')} >/etc/machine-id")
    assert cluster.run("plan").report["findings"] == []
    cluster.sh("node2", "ip address add 192.168.56.77/24 dev eth0")
    cluster.per_host = {"node2": "}\n  twin: {address: 192.168.56.77"}
    for command in ("up", "doctor"):
        run = cluster.run(command)
        assert (run.code, run.report["writes"]) == (1, 0)
        assert [finding["check"] for finding in run.report["findings"]] == ["same-machine"], run.err
        assert "node2, twin have the same boot ID and the same machine ID" in run.err
    assert [cause["id"] for cause in run.report["causes"]] == ["same-machine"]


def test_two_operators_at_once(make_lab, tmp_path):
    """One operator wins. The other one is told who holds the lock, or finds the work done. One network exists."""
    cluster = Cluster(make_lab(hosts=2), tmp_path)
    first, second = cluster.begin("up"), cluster.begin("up")
    ended = [(p.communicate(timeout=240), p.returncode) for p in (first, second)]
    codes = sorted(code for _, code in ended)
    assert codes[0] == 0, ended
    loser = next((err for (_, err), code in ended if code), "")
    assert codes[1] == 0 or "lock" in loser, ended
    ids = {
        cluster.sh(h, "docker network ls --no-trunc --filter name=demo --format '{{.ID}}'") for h in cluster.lab.hosts
    }
    assert len(ids) == 1
    assert len(next(iter(ids)).split()) == 1
    assert cluster.run("plan").code == 0
