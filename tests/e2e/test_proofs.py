"""The proof of an overlay on real engines: it passes on a working network, and fails for each fault that it must find.

The cluster is set up by hand, so that only the test breaks anything.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from provisioner import causes
from provisioner.controlplane import Site
from provisioner.inventory import load
from provisioner.lab.faults import FAULTS
from provisioner.model import Report, State
from provisioner.proofs import overlay
from provisioner.report import show
from provisioner.transport import Connection, connect_all
from tests.e2e.slow_path import slow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from provisioner.inventory import Inventory
    from provisioner.lab import Lab
    from provisioner.model import Pair, ProofResult

pytestmark = pytest.mark.lab

PROVER = Path(__file__).with_name("prover.py")
STORE = """set -e
mkdir -p /etc/docker
printf '%s' '{config}' >/etc/docker/daemon.json
systemctl stop docker.socket docker
{agent}"""
AGENT = """systemd-run --quiet --unit store consul agent {role} -node={name} -data-dir=/var/lib/store -bind={address} \
    -client=127.0.0.1 -retry-interval=1s
for i in $(seq 300); do curl -sf http://127.0.0.1:8500/v1/status/leader | grep -q : && break; sleep 0.1; done
"""
# One engine after the other: engines that start together find one another's gossip port closed, and try only once.
ENGINE = "systemctl start docker.socket docker; for i in $(seq 300); do ss -lnt | grep -q :7946 && exit; sleep 0.1; done; exit 1"
# This runs often, so it uses curl instead of starting `docker`.
LEFT = """ask() { curl -s --unix-socket /var/run/docker.sock "http://docker$1"; }
ask '/containers/json?all=1' | grep -o '"Id":"[0-9a-f]*"'; ask /images/json | grep -o 'provisioner/probe:[^"]*'
ask /networks/demo | grep -o '"EndpointID":"[^"]*"'
ps -eo args | grep -E '^(timeout .*)?docker (run|rm|import)'; true"""
# docs/decisions/lost-threads.md: without containers, no thread of the engine may be in another network namespace.
LOST = """for thread in /proc/$(cat /run/docker.pid)/task/*; do
    [ "$(readlink "$thread/ns/net")" = "$(readlink /proc/1/ns/net)" ] || echo "$thread"
done
ip neighbour show nud all dev lo | grep -v NOARP; true"""


@dataclass
class Hosts:
    lab: Lab
    inventory: Inventory
    path: Path

    @contextmanager
    def connected(self) -> Iterator[dict[str, Connection]]:
        with self.lab.enter():
            found = connect_all([self.inventory.target(name) for name in self.inventory.hosts])
        connections = {name: each for name, each in found.items() if isinstance(each, Connection)}
        assert set(connections) == set(self.lab.hosts)
        try:
            yield connections
        finally:
            for connection in connections.values():
                connection.close()

    @property
    def site(self) -> Site:
        return Site(self.inventory, {}, {}, (), tuple(self.inventory.hosts))

    def prove(
        self,
        *,
        deadline: float | None = None,
        start: float = 120.0,
        hold: float = 0.0,
        observer: Callable[[str, str], None] = lambda *_: None,
    ) -> ProofResult:
        with self.connected() as connections:
            (result,) = overlay.prove(
                self.site, connections, {"demo": secrets.token_hex(3)},
                observer=observer, deadline=deadline, start=start, hold=hold,
            )  # fmt: skip
            return result

    def left(self) -> dict[str, str]:
        """Host -> traces of probes: containers, images, endpoints, running commands."""
        found = {name: self.sh(name, LEFT) for name in self.lab.hosts}
        return {name: text for name, text in found.items() if text}

    def clean_within(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (found := self.left()) and time.monotonic() < until:
            time.sleep(0.3)
        assert not found

    def sh(self, host: str, script: str) -> str:
        return self.lab.exec(host, script, check=False, timeout=120).stdout.strip()

    @contextmanager
    def controller(self, deadline: float = 60) -> Iterator[subprocess.Popen[str]]:
        """Run a proof in a separate process, so that a test can kill it."""
        argv = [sys.executable, str(PROVER), str(self.path), secrets.token_hex(3), str(deadline)]
        process = subprocess.Popen(
            ["nsenter", f"--net={self.lab.folder / 'switch'}", *argv],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(PROVER.parents[2])},
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    @contextmanager
    def broken(self, host: str, break_it: str, repair: str) -> Iterator[None]:
        self.lab.exec(host, break_it)
        try:
            yield
        finally:
            self.lab.exec(host, repair)


@pytest.fixture(scope="module")
def hosts(make_lab_for_all, tmp_path_factory) -> Hosts:
    lab = make_lab_for_all(hosts=3)
    first = lab.address("node1")

    def store(name: str) -> None:
        address = lab.address(name)
        config = {"cluster-store": "consul://127.0.0.1:8500", "cluster-advertise": f"{address}:2376"}
        role = "-server -bootstrap-expect=1" if name == "node1" else f"-retry-join={first}"
        agent = AGENT.format(role=role, name=name, address=address)
        lab.exec(name, STORE.format(config=json.dumps(config), agent=agent), timeout=120)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(store, lab.hosts))
    for name in lab.hosts:
        lab.exec(name, ENGINE, timeout=120)
    lab.exec("node1", "docker network create -d overlay --subnet 10.99.0.0/24 demo")
    path = tmp_path_factory.mktemp("proofs") / "inventory.yml"
    path.write_text(lab.inventory())
    return Hosts(lab, load(path), path)


@pytest.fixture(autouse=True)
def nothing_left(hosts) -> Iterator[None]:
    yield
    hosts.clean_within(30)


def failed(result: ProofResult) -> set[tuple[str, str]]:
    return {(pair.source, pair.target) for pair in result.pairs if not pair.proven}


def pair(result: ProofResult, source: str, target: str) -> Pair:
    return next(p for p in result.pairs if (p.source, p.target) == (source, target))


def test_every_pair_is_proven_and_soon(hosts):
    result = hosts.prove()
    assert (result.state, result.error) == (State.SETTLED, "")
    assert len(result.pairs) == 6
    assert not failed(result)
    assert result.mtu == 1450
    assert {each.transfer for each in result.pairs} == {"passed"}
    assert all(each.throughput > 1 and 0 < each.longest_gap < 3 for each in result.pairs), result.pairs
    assert 0 < result.seconds < 15  # usually 0.3 s; a container that missed the names is replaced after 3 s
    assert [hosts.sh(name, LOST) for name in hosts.lab.hosts] == ["", "", ""]
    assert not hosts.left()


def test_the_round_trips_of_a_slow_path_are_in_its_cells(hosts):
    """A slow host does not slow down the other pairs. The cells show round trips, not the time since the proof began."""
    with slow(hosts.lab, "node3", 0.03):
        result = hosts.prove()
    assert result.error == ""
    times = {(each.source, each.target): each.rtt for each in result.pairs}
    assert all(0.06 <= time < 0.2 for pair, time in times.items() if "node3" in pair), times
    assert all(0 < time < 0.03 for pair, time in times.items() if "node3" not in pair), times
    out = StringIO()
    show(Report("verify", "demo", hosts.lab.hosts, 0, 1.0, proofs=(result,)), out=out, color=False)
    cells = [line.split() for line in out.getvalue().splitlines() if re.match(" +node. +[·✓]", line)]
    shown = {row[0]: [float(cell) for cell in row if re.fullmatch(r"[0-9.]+", cell)] for row in cells}
    assert shown == {
        source: [pytest.approx(time * 1000, rel=0.1) for (of, _), time in times.items() if of == source]
        for source in hosts.lab.hosts
    }


def test_data_lost_one_way_is_found_with_its_direction(hosts):
    rule = f"INPUT -p udp --dport 4789 -s {hosts.lab.address('node1')} -j DROP"
    with hosts.broken("node2", f"iptables -I {rule}", f"iptables -D {rule}"):
        result = hosts.prove(deadline=5)
    assert result.state is State.FAILED
    assert failed(result) == {("node1", "node2"), ("node2", "node1")}
    detail = pair(result, "node1", "node2").detail
    assert "packets pass from node2 to node1, but not from node1 to node2" in detail
    assert "4789/udp" in result.error
    assert [(p.id, p.host, p.target) for p in result.problems] == [("overlay-blocked", "node1", "node2")]
    assert 5 <= result.seconds < 7
    assert not hosts.left()


def test_gossip_blocked_before_the_start(hosts):
    rules = [f"{chain} -p {kind} --dport 7946 -j DROP" for chain in ("INPUT", "OUTPUT") for kind in ("tcp", "udp")]
    with hosts.broken(
        "node3", "; ".join(f"iptables -I {rule}" for rule in rules), "; ".join(f"iptables -D {rule}" for rule in rules)
    ):
        result = hosts.prove(deadline=6)
    assert {p for p in failed(result) if "node3" not in p} == set()
    assert failed(result) >= {("node1", "node3"), ("node2", "node3")}
    assert "7946" in result.error


def test_a_smaller_underlay_is_reported_with_the_largest_size(hosts):
    with hosts.broken("node3", "ip link set eth0 mtu 1400", "ip link set eth0 mtu 1500"):
        result = hosts.prove()
    assert failed(result) == {(a, b) for a, b in ((p.source, p.target) for p in result.pairs) if "node3" in (a, b)}
    for source, target in failed(result):
        one = pair(result, source, target)
        assert None not in (one.name, one.address, one.by_name)
        assert one.full is None
        assert "1350 of 1450 bytes pass" in one.detail
    assert "mtu: 1400" in result.error
    assert [(p.id, p.host, p.target) for p in result.problems] == [("path-mtu", "node3", "")]
    assert result.seconds < 20  # it does not wait for the deadline, because waiting would not help


TCP = "udp dport 4789 @th,312,8 6 @th,256,16 > 1000"  # packets of an overlay with large TCP packets: see filters.py


def filtered(rule: str) -> tuple[str, str]:
    """Return how to add an nftables rule for what arrives, and how to remove it."""
    chain = f"{{ type filter hook prerouting priority -300; {rule}; }}"
    return f"nft 'table ip test {{ chain c {chain}; }}'", "nft delete table ip test"


def test_data_that_change_on_their_way_are_found(hosts):
    fault = FAULTS["corrupt"]
    with hosts.broken("node2", f"DATA=4789; {fault.make}", fault.heal):
        result = hosts.prove()
    assert failed(result) == {("node1", "node2"), ("node3", "node2")}
    assert {pair(result, *each).transfer for each in failed(result)} == {"corrupt"}
    assert re.search("data arrive changed: [1-9][0-9]* of 64 blocks of 16 KiB, the first at byte [0-9]+", result.error)
    assert [(p.id, p.host, p.target) for p in result.problems] == [("data-corrupt", "node2", "")]


@pytest.mark.parametrize(("wrong", "cause"), [(False, "transfer-stalled"), (True, "offload")])
def test_data_that_stall_although_full_size_echoes_pass(hosts, wrong, cause):
    """The host drops large TCP packets, or they arrive with a wrong checksum, as from a faulty network card."""
    port = hosts.lab.folder / "switch", "node2"
    with ExitStack() as stack:
        if wrong:  # the switch completes checksums, and then the data change
            stack.enter_context(complete_checksums(*port))
        rule = f"{TCP} @th,4800,32 set 0xdeadbeef" if wrong else f"{TCP} drop"
        stack.enter_context(hosts.broken("node2", *filtered(rule)))
        result = hosts.prove()
    assert failed(result) == {("node1", "node2"), ("node3", "node2")}
    assert {pair(result, *each).transfer for each in failed(result)} == {"stalled"}
    assert ("with a wrong checksum" in result.error) is wrong
    assert [(p.id, p.host, p.target) for p in result.problems] == [(cause, "node2", "")]
    assert result.seconds < 15, "it does not wait for the deadline, because waiting would not help"


@contextmanager
def complete_checksums(space: Path, port: str) -> Iterator[None]:
    """Let the sending end of a cable compute all checksums, instead of leaving them to the receiver."""
    code = (
        "import array, fcntl, socket, struct, sys;"
        "value = array.array('B', struct.pack('II', 0x17, int(sys.argv[2])));"  # linux/ethtool.h: ETHTOOL_STXCSUM
        "request = struct.pack('16sP16x', sys.argv[1].encode(), value.buffer_info()[0]);"
        "fcntl.ioctl(socket.socket(socket.AF_INET, socket.SOCK_DGRAM), 0x8946, request)"  # SIOCETHTOOL
    )
    argv = ["nsenter", f"--net={space}", sys.executable, "-c", code, port]
    subprocess.run([*argv, "0"], check=True)
    try:
        yield
    finally:
        subprocess.run([*argv, "1"], check=True)


def test_a_connection_that_is_interrupted_is_found_with_time_and_direction(hosts):
    """All is proven before, and works again after. Only the connection that was held shows it."""
    rule, all_reached = f"INPUT -p udp --dport 4789 -s {hosts.lab.address('node1')} -j DROP", threading.Event()
    waiting = set(hosts.lab.hosts)

    def observer(host: str, text: str) -> None:
        if text == "reached 2 of 2 hosts":
            waiting.discard(host)
            all_reached.set() if not waiting else None

    def interrupt() -> None:
        assert all_reached.wait(60)
        hosts.sh("node2", f"sleep 1.5; iptables -I {rule}; sleep 4.5; iptables -D {rule}")

    with ThreadPoolExecutor() as pool:
        interruption = pool.submit(interrupt)
        result = hosts.prove(hold=10, observer=observer)
        interruption.result()
    assert failed(result) == {("node1", "node2"), ("node2", "node1")}, result.error
    (problem,) = result.problems
    assert (problem.id, problem.host, problem.target) == ("connection-dropped", "node1", "node2")
    there, back = (pair(result, *way) for way in (("node1", "node2"), ("node2", "node1")))
    assert there.transfer == back.transfer == "dropped"
    assert 3 < there.longest_gap < 9
    assert there.detail.endswith("nothing from node1 arrived at node2")
    assert back.detail.endswith("packets from node2 arrived, but no answer from node1 did")
    assert pair(result, "node1", "node3").longest_gap < 3


def test_an_engine_that_is_down_does_not_hold_up_the_others(hosts):
    with hosts.broken("node3", "systemctl stop docker.socket docker", ENGINE):
        began = time.monotonic()
        result = hosts.prove()
        took = time.monotonic() - began
    assert failed(result) == {("node1", "node3"), ("node3", "node1"), ("node2", "node3"), ("node3", "node2")}
    assert "the engine is stopped" in pair(result, "node1", "node3").detail
    assert "node3" in result.error
    assert took < 60


def test_a_network_that_is_missing(hosts):
    gone = hosts.inventory.networks["demo"].model_copy(update={"name": "gone"})
    lost = hosts.inventory.model_copy(update={"networks": {"gone": gone}})
    with hosts.connected() as connections:
        (result,) = overlay.prove(
            Site(lost, {}, {}, (), tuple(lost.hosts)), connections, {"gone": "0a0a0a"}, observer=lambda *_: None
        )
    assert len(failed(result)) == 6
    assert "network gone not found" in result.error


def test_two_proofs_at_the_same_time(hosts):
    with ThreadPoolExecutor(2) as pool:
        results = [each.result() for each in [pool.submit(hosts.prove) for _ in range(2)]]
    assert [(each.state, each.error) for each in results] == [(State.SETTLED, "")] * 2


def cured(hosts: Hosts, result: ProofResult, host: str) -> ProofResult:
    """Prove again after the cure, unless the engine has recovered by itself. Both depend on when it was killed."""
    for found in result.problems:
        assert (found.id, found.host) == ("sandbox-lost", host)
        (cure,) = causes.to_run(found)
        hosts.sh(host, f"systemctl reset-failed docker; {cure}\n{ENGINE}")
        result = hosts.prove()
    return result


def test_an_address_that_an_engine_did_not_release_is_used_again(hosts):
    hosts.sh("node2", "head -c 10240 /dev/zero | docker import - provisioner/probe:0b0b0b-1-0")
    hosts.sh(
        "node2", "docker create --name provisioner-probe-0b0b0b-node2 --network demo provisioner/probe:0b0b0b-1-0 x"
    )
    hosts.sh(
        "node2",
        "docker run -d --name provisioner-probe-0c0c0c-node2 --network demo --ip 10.99.0.253 -v /usr:/usr -v /bin:/bin -v /lib:/lib -v /lib64:/lib64 provisioner/probe:0b0b0b-1-0 sleep 999",
    )
    hosts.sh(
        "node2",
        "systemctl kill -s KILL docker; pkill -KILL sleep; pkill -KILL containerd; sleep 1; systemctl reset-failed docker; "
        f"({ENGINE})"
        "; docker rm -f provisioner-probe-0c0c0c-node2",
    )
    result = hosts.prove()
    assert cured(hosts, result, "node2").error == ""
    assert not hosts.left()


# -- nothing is left behind, whatever happens to the controller ----------------------------------------------------


def wait_for(process: subprocess.Popen[str], text: str, count: int) -> None:
    seen = 0
    for line in process.stdout:
        seen += text in line
        if seen == count:
            return
    raise AssertionError(f"{text!r} was printed {seen} times instead of {count}: {process.stderr.read()}")


@pytest.fixture
def endless(hosts) -> Iterator[None]:
    """A fault that makes proofs run until their deadline."""
    with hosts.broken(
        "node2", "iptables -I INPUT -p udp --dport 4789 -j DROP", "iptables -D INPUT -p udp --dport 4789 -j DROP"
    ):
        yield


@pytest.mark.parametrize("stage", [("starting its probe", 3), ("has a probe", 1), ("reached", 5)], ids=lambda s: s[0])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.usefixtures("endless")
def test_the_controller_is_killed(hosts, stage, how):
    with hosts.controller() as process:
        wait_for(process, *stage)
        process.send_signal(how)
        code = process.wait(timeout=15)
    assert code == -how
    hosts.clean_within(20)


@pytest.mark.usefixtures("endless")
def test_ssh_is_killed_on_the_host(hosts):
    with hosts.controller(deadline=8) as process:
        wait_for(process, "reached", 5)
        assert set(hosts.left()) == {"node1", "node2", "node3"}  # without probes, the checks below would prove nothing
        hosts.sh("node1", "pkill -KILL -f 'sshd: root@notty'")
        out, _ = process.communicate(timeout=60)
    assert "failed" in out
    hosts.clean_within(20)


@pytest.mark.usefixtures("endless")
def test_the_network_to_the_controller_is_cut(hosts):
    with hosts.controller(deadline=5) as process:
        wait_for(process, "reached", 5)
        hosts.lab.exec(
            "node1", "iptables -I INPUT -p tcp --dport 22 -j DROP; iptables -I OUTPUT -p tcp --sport 22 -j DROP"
        )
        try:
            hosts.clean_within(60)  # the probes end by themselves, some time after the deadline of 5 s
        finally:
            hosts.lab.exec(
                "node1", "iptables -D INPUT -p tcp --dport 22 -j DROP; iptables -D OUTPUT -p tcp --sport 22 -j DROP"
            )


@pytest.mark.usefixtures("endless")
def test_the_engine_is_restarted_meanwhile(hosts):
    with hosts.controller(deadline=12) as process:
        wait_for(process, "reached", 5)
        restart = threading.Thread(
            target=hosts.sh, args=("node1", "systemctl reset-failed docker; systemctl restart docker")
        )
        restart.start()
        out, _ = process.communicate(timeout=90)
        restart.join()
    assert "node1 its probe failed" in out
    hosts.clean_within(60)


def test_the_next_proof_removes_what_a_power_cut_left(hosts):
    """All processes of a host are killed at once. When its engine is back, the probe's container and image still exist."""
    with hosts.controller() as process:
        wait_for(process, "has a probe", 3)
        os.kill(hosts.lab._host("node3").init, signal.SIGKILL)  # process 1 of the host: all its processes end with it
        while hosts.lab._host("node3").init:
            time.sleep(0.05)
        process.kill()
    hosts.lab.start("node3")
    hosts.lab.exec("node3", "systemctl stop docker.socket docker")
    role, address = f"-retry-join={hosts.lab.address('node1')}", hosts.lab.address("node3")
    hosts.lab.exec("node3", AGENT.format(role=role, name="node3", address=address), timeout=120)
    hosts.lab.exec("node3", ENGINE, timeout=120)
    result = hosts.prove()
    if result.error:
        assert failed(result) == {p for p in ((q.source, q.target) for q in result.pairs) if "node3" in p}
        hosts.clean_within(20)
    assert cured(hosts, result, "node3").error == ""
    hosts.clean_within(10)
