"""Hosts of a lab that get only the firewall step, and packets and logins to test it with."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from provisioner import inventory, render
from provisioner.controlplane import Site, resolve
from provisioner.errors import TransportError
from provisioner.steps.firewall import Firewall
from provisioner.stores.consul import Consul
from provisioner.system import facts, reading
from provisioner.transport import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from provisioner.lab import Lab
    from provisioner.model import Drift

OURS = {("tcp", port) for port in Consul.ports.tcp} | {("udp", port) for port in Consul.ports.udp}
OTHER = {("tcp", 7000), ("udp", 7000)}
SECTIONS = ("system", "files", "units", "firewall", *reading.CLIENTS)
# The ports that a host can use on others if it drops the answers to its own datagrams. This does not hurt engines and Consul:
# they send datagrams from the same ports that they listen on.
TCP = {("tcp", port) for port in Consul.ports.tcp}

ECHO = """
import selectors, socket, sys
s = selectors.DefaultSelector()
for word in sys.argv[1:]:
    kind, port = word.split("/")
    k = socket.socket(socket.AF_INET, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
    k.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    k.bind(("0.0.0.0", int(port)))
    if kind == "tcp": k.listen()
    s.register(k, selectors.EVENT_READ)
print("ready", flush=True)
while True:
    for key, _ in s.select():
        k = key.fileobj
        if k.type == socket.SOCK_DGRAM:
            data, who = k.recvfrom(99); k.sendto(data, who)
        else:
            c, _ = k.accept(); c.sendall(b"hello"); c.close()
"""
ASK = """
import socket, sys, threading
def ask(word):
    kind, port = word.split("/")
    try:
        if kind == "tcp":
            with socket.create_connection((sys.argv[1], int(port)), 1) as k:
                k.settimeout(1); return word if k.recv(9) else ""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as k:
            k.settimeout(1); k.connect((sys.argv[1], int(port))); k.send(b"x"); return word if k.recv(9) else ""
    except OSError:
        return ""
threads = [threading.Thread(target=lambda w=w: sys.stdout.write(ask(w) + " ")) for w in sys.argv[2:]]
for t in threads: t.start()
for t in threads: t.join()
"""


INSIDE = """set -e
ip netns add inside
ip link add br-0123456789ab type bridge
ip link add eth1 netns inside type veth peer name veth1; ip link set veth1 master br-0123456789ab
ip address add 10.77.0.1/24 dev br-0123456789ab
ip link set br-0123456789ab up; ip link set veth1 up
ip -n inside address add 10.77.0.2/24 dev eth1; ip -n inside link set eth1 up; ip -n inside link set lo up
ip -n inside route add default via 10.77.0.1
echo 1 >/proc/sys/net/ipv4/ip_forward
"""
MASQUERADE = """
iptables -t nat -A POSTROUTING -s 10.77.0.0/24 ! -o br-0123456789ab -j MASQUERADE
iptables -I FORWARD -i br-0123456789ab -j ACCEPT
iptables -I FORWARD -o br-0123456789ab -j ACCEPT
"""
MASQUERADE_NFT = """
nft 'add table ip elsewhere; add chain ip elsewhere hidden { type nat hook postrouting priority 100; }; add rule ip elsewhere hidden ip saddr 10.77.0.0/24 masquerade'
"""


def words(ports: set[tuple[str, int]]) -> list[str]:
    return sorted(f"{kind}/{port}" for kind, port in ports)


@dataclass
class Hosts:
    """A lab whose hosts get only the firewall step, over SSH as in a run."""

    lab: Lab
    folder: Path
    members: Sequence[str] = ()
    store: str = "{kind: consul}"
    _echoes: list[subprocess.Popen[str]] = field(default_factory=list)

    def sh(self, host: str, script: str, stdin: str | None = None, *, check: bool = True) -> str:
        return self.lab.exec(host, script, stdin=stdin, timeout=120, check=check).stdout

    def site(self) -> Site:
        path = self.folder / "inventory.yml"
        lines = self.lab.inventory().splitlines(keepends=True)
        gone = [name for name in self.lab.hosts if self.members and name not in self.members]
        left_out = tuple(f"{name}:" for name in (*gone, "store"))  # labs of later engines have no store
        kept = [line for line in lines if not line.strip().startswith(left_out)]
        path.write_text("".join([*kept, f"control_plane: kv\nstore: {self.store}\n"]))
        loaded = inventory.load(path)
        with self.lab.enter():
            found = {}
            for name in loaded.hosts:
                with contextlib.closing(connect(loaded.target(name))) as connection:
                    found[name] = facts.parse(connection.read(reading.script(Consul.sought, SECTIONS)).raw)
        site, findings = resolve(loaded, found)
        assert not findings
        return site

    def drift(self, host: str) -> tuple[Drift, ...]:
        return Firewall().drift(self.site(), host)

    def apply(self, *hosts: str) -> None:
        """Apply the firewall step to hosts (by default all) and check that no drift is left."""
        site, step = self.site(), Firewall()
        for host in hosts or tuple(site.facts):
            work = step.work(site, host, step.drift(site, host))
            with self.lab.enter(), contextlib.closing(connect(site.inventory.target(host))) as connection:
                connection.write(render.library() + work.script, deadline=work.deadline)
        left = {host: self.drift(host) for host in hosts or site.facts}
        assert not any(left.values()), left

    def echo(self, host: str, ports: set[tuple[str, int]] = OURS | OTHER) -> None:
        """Start a program on the host that answers on the ports."""
        command = self.lab.enter_command(host, ["python3", "-c", ECHO, *words(ports)])
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._echoes.append(process)
        assert process.stdout
        assert process.stdout.readline() == "ready\n"

    def reaches(self, source: str, address: str, ports: set[tuple[str, int]] = OURS | OTHER) -> set[tuple[str, int]]:
        """The ports that answer a host. Source "" is the controller, which is no peer of the hosts."""
        command = ["python3", "-c", ASK, address, *words(ports)]
        if source:
            said = self.lab.exec(source, command).stdout
        else:
            with self.lab.enter():
                said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return {(word.split("/")[0], int(word.split("/")[1])) for word in said.split()}

    def container(self, host: str, *, rules: str = "") -> None:
        """Create a network namespace behind a bridge with a name like Docker's, as a stand-in for a container.

        rules: shell commands that add the firewall rules of a container network.
        """
        self.sh(host, INSIDE + rules)

    def reaches_from_inside(
        self, host: str, address: str, ports: set[tuple[str, int]] = OURS | OTHER
    ) -> set[tuple[str, int]]:
        """Like `reaches`, from the namespace that `container` created."""
        said = self.lab.exec(
            host, ["ip", "netns", "exec", "inside", "python3", "-c", ASK, address, *words(ports)]
        ).stdout
        return {(word.split("/")[0], int(word.split("/")[1])) for word in said.split()}

    def reboot(self, host: str) -> None:
        """Reboot the host and wait until it has started all its units; sshd starts much earlier."""
        self.lab.stop(host)
        self.lab.start(host)
        self.sh(host, "systemctl is-system-running --wait", check=False)

    def close(self) -> None:
        for process in self._echoes:
            process.kill()
            process.wait()


@contextlib.contextmanager
def ssh_all_along(hosts: Hosts, host: str) -> Iterator[None]:
    """Assert that SSH works during the block: an open session prints ten lines a second, and new logins succeed."""
    target = hosts.site().inventory.target(host)
    command = hosts.lab.ssh_command(host, ["while :; do echo x; sleep 0.1; done"])
    with hosts.lab.enter():
        session = subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0)
    gaps, failures, over = [0.0], [], threading.Event()

    def listen() -> None:
        last = None
        while session.stdout.read(2):
            gaps.append(time.monotonic() - (last or time.monotonic()))
            last = time.monotonic()

    def knock() -> None:
        with hosts.lab.enter():
            while not over.wait(0.2):
                try:
                    connect(replace(target, connect_timeout=2)).close()
                except TransportError as error:
                    failures.append(error)

    threads = [threading.Thread(target=each) for each in (listen, knock)]
    for thread in threads:
        thread.start()
    try:
        time.sleep(0.3)
        yield
        time.sleep(0.3)
        assert session.poll() is None
    finally:
        over.set()
        session.kill()
        for thread in threads:
            thread.join()
        session.wait()
    assert not failures
    assert len(gaps) > 3
    # In seconds. TCP sends a lost packet again after up to one second, and a busy machine can delay it by another one.
    assert max(gaps) < 3.0


@contextlib.contextmanager
def without_loss(hosts: Hosts, source: str, address: str) -> Iterator[None]:
    """Send 500 datagrams a second to port 4789 during the block, and assert that each one is answered."""
    script = (
        "import socket, sys, threading, time\n"
        "k = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); k.connect((sys.argv[1], 4789)); k.settimeout(1)\n"
        "got = []; over = threading.Event(); sent = 0\n"
        "def listen():\n"
        "    try:\n"
        "        while True: got.append(k.recv(9))\n"
        "    except OSError: pass\n"
        "threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()\n"
        "t = threading.Thread(target=listen); t.start()\n"
        "while not over.wait(0.002): k.send(b'x'); sent += 1\n"
        "t.join(); print(sent, len(got))\n"
    )
    command = hosts.lab.enter_command(source, ["python3", "-c", script, address])
    stream = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield
        sent, got = stream.communicate("", timeout=20)[0].split()
    finally:
        stream.kill()
        stream.wait()
    assert int(sent) > 100
    assert got == sent


def eventually(true: Callable[[], bool]) -> None:
    """Wait up to ten seconds: systemctl waits for the unit it was given, but not for our unit that follows it."""
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
