"""Measures what containers notice while `provisioner` changes the cluster below them.

A container on each watched host keeps a TCP connection to the next host's container. It sends and receives a byte every 20 ms.
Meanwhile three operations are repeated: look up the other containers' names, start and attach a new container, create and
remove a network. A broken connection fails the test, and so does an operation that keeps failing. pytest's last lines list the
longest gap of a connection and the longest time until an operation succeeded again.
"""

from __future__ import annotations

import itertools
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from provisioner.errors import LabError
from tests.e2e.cluster import PROBE_IMAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.e2e.cluster import Cluster

NOTICED = "noticed"  # the test property that pytest's last lines list
NEW = "watch-new"  # prefix of the names of short-lived containers and networks
LOOK_UP, ATTACH, MAKE = "look up the others", "attach a new container", "make and remove a network"
PORT = 7000
PAUSE = 0.3  # seconds between two rounds on a host; each starts several programs
# A single request of an engine to its store may fail (docs/decisions/lost-threads.md) with "network demo not found" or
# "connection refused". So a failed operation is retried for this many seconds.
PATIENCE = 3.0
MOUNTS = "-v /usr:/usr:ro -v /bin:/bin:ro -v /lib:/lib:ro -v /lib64:/lib64:ro"

SERVER = f"""
import socket, threading
def echo(peer):
    while data := peer.recv(64):
        peer.sendall(data)
with socket.create_server(("", {PORT})) as server:
    while True:
        threading.Thread(target=echo, args=(server.accept()[0],), daemon=True).start()
"""
# It writes one line at the end: the number of bytes received, the longest gap and its time; or the error that broke the connection.
CLIENT = f"""
import os, socket, sys, time
def connected():
    for _ in range(300):  # the peer may have just started, and its name takes a moment to spread
        try:
            return socket.create_connection((sys.argv[1], {PORT}), timeout=120)
        except OSError:
            time.sleep(0.1)
    raise OSError("no connection")
def main(count=0, longest=0.0, when=0.0):
    connection = connected()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    open("/run/connected", "w").close()
    last = time.monotonic()
    while not os.path.exists("/run/stop"):
        connection.sendall(b"x")
        if not connection.recv(1):
            raise OSError("closed")
        gap, last = time.monotonic() - last, time.monotonic()
        if gap > longest:
            longest, when = gap, time.time()
        count += 1
        time.sleep(0.02)
    return "%d %.3f %.3f" % (count, longest, when)
try:
    said = main()
except OSError as error:
    said = "broken: %s at %.3f" % (error, time.time())
with open("/run/said.new", "w") as file:
    file.write(said)
os.rename("/run/said.new", "/run/said")
"""


@dataclass(frozen=True)
class Gap:
    """The longest gap of a connection that did not break, in seconds, and the bytes that it received."""

    source: str
    target: str
    seconds: float
    bytes: int


@dataclass
class Watched:
    """The results of a watch.

    done: successful operations by host and kind. failed: errors. again: operations that succeeded after a retry, with the
    seconds it took. gaps: one for each connection that did not break.
    """

    done: dict[tuple[str, str], int] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    again: list[tuple[float, str]] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)

    @property
    def longest(self) -> Gap:
        return max(self.gaps, key=lambda gap: gap.seconds)


class Watch:
    """The containers and the threads of one watch."""

    def __init__(
        self,
        cluster: Cluster,
        hosts: Sequence[str],
        network: str,
        *,
        makers: Sequence[str],
        attaching: bool,
        patience: float,
    ) -> None:
        self.cluster, self.hosts, self.network, self.makers, self.patience = cluster, hosts, network, makers, patience
        self.kinds = (LOOK_UP, ATTACH) if attaching else (LOOK_UP,)
        self.next = dict(zip(hosts, [*hosts[1:], hosts[0]], strict=True))
        self.found = Watched()
        self._over = threading.Event()
        self._numbers = itertools.count()
        self._pool = ThreadPoolExecutor(len(hosts))
        self._threads: list[Future[None]] = []

    def start(self) -> None:
        for host in self.hosts:
            try:
                self._begin(host)
            except LabError:  # see PATIENCE
                self._begin(host)
            self._inside(host, SERVER)
        for host in self.hosts:
            self._inside(host, CLIENT, f"watch-{self.next[host]}")
        for host in self.hosts:
            said = self._said(host, "/run/connected")
            assert said == "", f"{host}: {said}"
        self._threads = [self._pool.submit(self._rounds, host) for host in self.hosts]

    def end(self) -> None:
        """Stop the operations and collect the results, so that `found` is complete."""
        self._over.set()
        for thread in self._threads:
            thread.result()
        for host in self.hosts:
            said = self.cluster.sh(
                host, f"docker exec watch-{host} sh -c ': >/run/stop' 2>&1", check=False
            ) or self._said(host, "/run/said")
            count, _, rest = said.partition(" ")
            if count.isdigit():
                self.found.gaps.append(Gap(host, self.next[host], float(rest.split()[0]), int(count)))
            else:
                self.found.failed.append(
                    f"{host}: the connection to {self.next[host]}: {said or 'its container is gone'}"
                )

    def remove(self) -> None:
        self._over.set()
        self._pool.shutdown()
        for host in self.hosts:
            self.cluster.sh(
                host,
                f"docker rm -f watch-{host}; docker network ls -q --filter name={NEW}-{host}- | xargs -r docker network rm",
                check=False,
            )

    def _begin(self, host: str) -> None:
        self.cluster.sh(host, f"docker rm -f watch-{host} 2>/dev/null", check=False)
        self.cluster.box(host, f"watch-{host}", self.network, "--tmpfs /run")

    def _inside(self, host: str, program: str, *words: str) -> None:
        self.cluster.lab.exec(host, ["docker", "exec", "-d", f"watch-{host}", "python3", "-c", program, *words])

    def _said(self, host: str, path: str) -> str:
        """Wait for a file in the host's container and return its content, or an error."""
        ask = f"for n in $(seq 300); do docker exec watch-{host} cat {path} 2>/dev/null && exit; sleep 0.1; done; echo no {path} in its container"
        return self.cluster.sh(host, ask, check=False, timeout=120)

    def _rounds(self, host: str) -> None:
        """Repeat the operations. Each attempt uses a new name and subnet, because a failed request may leave something behind."""
        others = " ".join(name for name in self.hosts if name != host)
        second = 77 + self.hosts.index(host)
        kinds = {
            LOOK_UP: f"for n in {others}; do docker exec watch-{host} getent hosts watch-$n || exit 1; done",
            ATTACH: f"docker run --rm --name {NEW}-{host}-%d --network {self.network} {MOUNTS} {PROBE_IMAGE} true",
            MAKE: f"n={NEW}-{host}-%d; docker network create -d overlay --subnet 10.{second}.%d.0/24 $n && docker network rm $n",
        }
        kinds = {
            kind: command
            for kind, command in kinds.items()
            if kind in self.kinds or (kind == MAKE and host in self.makers)
        }
        while not self._over.wait(PAUSE):
            for kind, command in kinds.items():
                self._do(host, kind, command)

    def _do(self, host: str, kind: str, command: str) -> None:
        began = time.monotonic()
        said: list[str] = []
        while True:
            number = next(self._numbers)
            script = command.replace("%d", str(number), 1).replace("%d", str(number % 256))
            answer = self.cluster.lab.exec(host, ["sh", "-c", script], check=False, timeout=120)
            if answer.returncode == 0:
                break
            said.append(f"{time.strftime('%H:%M:%S')}: {answer.stderr.strip() or answer.stdout.strip() or 'failed'}")
            if time.monotonic() - began > self.patience:
                self.found.failed.append(f"{host}: {kind}: {said[0]} ... {said[-1]}")
                return
            time.sleep(PAUSE)
        self.found.done[host, kind] = self.found.done.get((host, kind), 0) + 1
        if said:
            self.found.again.append((time.monotonic() - began, f"{kind} on {host}"))


@contextmanager
def watching(
    cluster: Cluster, hosts: Sequence[str], report: Callable[[str, object], None], what: str, *,
    network: str = "demo", makers: Sequence[str] | None = None, attaching: bool = True, patience: float = PATIENCE,
) -> Iterator[None]:  # fmt: skip
    """Assert that containers on `hosts` work without interruption during the block.

    report: pytest's `record_property`. what: the block's title in pytest's last lines. makers: the hosts that create networks,
    by default all; in a swarm only managers can. attaching: whether new containers are attached. patience: the seconds for
    which an operation may keep failing.
    """
    watch = Watch(
        cluster, hosts, network, makers=hosts if makers is None else makers, attaching=attaching, patience=patience
    )
    with ExitStack() as stack:
        stack.callback(watch.remove)
        watch.start()
        try:
            yield
        finally:
            watch.end()
    found = watch.found
    assert not found.failed, "\n".join(found.failed)
    assert found.done.keys() == {(host, kind) for host in hosts for kind in watch.kinds} | {
        (host, MAKE) for host in watch.makers
    }
    assert all(gap.bytes > 10 for gap in found.gaps)
    gap = found.longest
    said = f"{what}: TCP {gap.seconds:.2f} s, {gap.source} to {gap.target}; {sum(found.done.values())} operations"
    if found.again:
        seconds, longest = max(found.again)
        said += f", {len(found.again)} retried, the longest for {seconds:.1f} s: {longest}"
    report(NOTICED, said)
