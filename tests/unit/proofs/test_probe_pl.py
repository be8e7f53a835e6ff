"""templates/probe.pl, unmodified, in two network namespaces with a scripted DNS server."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

import pytest

from provisioner import render
from provisioner.proofs.evidence import FACTS, Evidence

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
    pytest.mark.skipif(not shutil.which("ip"), reason="needs iproute2"),
]
RUN = "abcdef"
NAMES = {"here": "10.9.0.2", "there": "10.9.0.3"}

# Answers A queries for the names in its arguments (NAME=ADDRESS or NAME=rcode), and other names with NXDOMAIN.
DNS = r"""
import socket, sys
said = dict(word.split("=") for word in sys.argv[1:])
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.11", 53))
print("serving", flush=True)
while True:
    query, client = server.recvfrom(512)
    at, labels = 12, []
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode()); at += 1 + query[at]
    question, answer = query[12 : at + 5], said.get(".".join(labels), "3")
    found = [] if answer.isdigit() else answer.split(",")
    code = int(answer) if answer.isdigit() else 0
    records = b"".join(b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4" + socket.inet_aton(a) for a in found)
    server.sendto(query[:2] + bytes([0x81, 0x80 | code, 0, 1, 0, len(found), 0, 0, 0, 0]) + question + records, client)
"""


@dataclass
class Space:
    """A network namespace with a mount namespace for its own resolv.conf, held by a process."""

    pid: int
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, *argv: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            ["nsenter", "-n", "-m", "-t", str(self.pid), *argv],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
        )  # fmt: skip
        self.processes.append(process)
        return process

    def run(self, command: str) -> None:
        subprocess.run(["nsenter", "-n", "-m", "-t", str(self.pid), "sh", "-ec", command], check=True)

    def dns(self, **said: str) -> None:
        """Start a DNS server. `alias-NAME` resolves like NAME, unless `said` has an answer for the alias itself."""
        said = {f"alias-{name}": answer for name, answer in said.items()} | said
        process = self.start(sys.executable, "-c", DNS, *(f"{name}={answer}" for name, answer in said.items()))
        assert process.stdout.readline() == "serving\n"

    def probe(self, number: int, patience: int = 20) -> subprocess.Popen[str]:
        return self.start(
            "perl", "-e", render.text("probe.pl"), RUN, str(number), str(patience), "10.9.0.1", "10.9.0.2"
        )


@pytest.fixture
def spaces(tmp_path: Path) -> Iterator[tuple[Space, Space]]:
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.11\n")
    hold = f"mount --bind {tmp_path}/resolv.conf /etc/resolv.conf && ip link set lo up && echo held && exec sleep 300"
    holders = [
        subprocess.Popen(["unshare", "-n", "-m", "sh", "-c", hold], stdout=subprocess.PIPE, text=True) for _ in "12"
    ]
    found = tuple(Space(holder.pid) for holder in holders)
    try:
        assert [holder.stdout.readline() for holder in holders] == ["held\n"] * 2
        found[0].run(f"ip link add eth0 type veth peer name eth0 netns {found[1].pid}")
        for space, address in zip(found, NAMES.values(), strict=True):
            space.run(f"ip address add {address}/24 dev eth0; ip link set eth0 up")
        yield found
    finally:
        for process in [*(p for space in found for p in space.processes), *holders]:
            process.kill()
            process.wait()


@pytest.mark.parametrize("answers", [True, False])
def test_both_kinds_of_addresses(spaces, answers):
    """A probe also answers over IPv6 if requested. A container without an IPv6 address reports that."""
    for number, space in enumerate(spaces, start=2):
        space.run("echo 0 >/proc/sys/net/ipv6/conf/eth0/accept_dad")
        if answers or number == 2:
            space.run(f"ip -6 address add fd97::{number}/64 dev eth0 nodad")
    probes = [space.probe(number) for number, space in enumerate(spaces, start=1)]
    six = ",fd97::3" if answers else ""
    probes[0].stdin.write(f"peer 2 there - {NAMES['there']}{six} 7777 address,six\ngo 1\n")
    probes[1].stdin.write(f"peer 1 here - {NAMES['here']},fd97::2 7777 address,six\ngo 1\n")
    here, there = map(told, probes)
    assert str(here.six) == "fd97::2"
    assert here.proven(2, ("address", "six")) is there.proven(1, ("address", "six")) is answers
    if not answers:
        assert here.lacks == {(2, "six"): "the other container has no address in IPv6"}
        assert there.lacks == {(1, "six"): "this container has no address in IPv6"}


def told(process: subprocess.Popen[str]) -> Evidence:
    """Return what a probe reports until it is done or fails."""
    evidence = Evidence()
    for line in process.stdout:
        evidence.take(line.rstrip("\n"))
        if evidence.seconds is not None or evidence.error:
            break
    return evidence


def both(spaces: tuple[Space, Space], seconds: float = 2) -> list[Evidence]:
    probes = [space.probe(number) for number, space in enumerate(spaces, start=1)]
    probes[0].stdin.write(f"peer 2 there alias-there {NAMES['there']}\ngo {seconds}\n")
    probes[1].stdin.write(f"peer 1 here alias-here {NAMES['here']}\ngo {seconds}\n")
    return [told(probe) for probe in probes]


# A probe that answers late. Its argument has the delay of each round trip in seconds; "-" means that the answer is lost.
LATE = r"""
import select, socket, sys, time
delays = sys.argv[1].split(",")
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("10.9.0.3", 7777))
print("serving", flush=True)
nonces, waiting = {}, []  # the first three nonces belong to the facts, each later one to a round trip
while True:
    rest = max(min(due for due, *_ in waiting) - time.monotonic(), 0) if waiting else None
    if select.select([server], [], [], rest)[0]:
        data, client = server.recvfrom(65535)
        _, run, source, target, nonce, _ = data.split(b" ", 5)
        nonces.setdefault(nonce, len(nonces))
        delay = delays[nonces[nonce] - 3] if nonces[nonce] >= 3 else "0"
        answer = b" ".join((b"answer", run, target, source, nonce, b"")).ljust(len(data), b"x")
        if delay != "-":
            waiting.append((time.monotonic() + float(delay), answer, client))
    for each in [each for each in waiting if each[0] <= time.monotonic()]:
        waiting.remove(each)
        server.sendto(*each[1:])
"""


@pytest.mark.parametrize(
    ("delays", "least", "most"),
    [
        ("0.4,0.3,0.1,0.5,0.6", 0.1, 0.2),  # the shortest, although it is neither the first nor the last
        ("-,-,-,-,0.2", 0.2, 0.3),  # lost answers do not count
        ("1.2,1.2,1.2,1.2,1.2", 1.2, 1.3),  # longer than any pause between two datagrams
        ("-,-,-,-,-", None, None),  # not measured, but still proven
    ],
)
def test_round_trips(spaces, delays, least, most):
    spaces[0].dns(**NAMES)
    late = spaces[1].start(sys.executable, "-c", LATE, delays)
    assert late.stdout.readline() == "serving\n"
    probe = spaces[0].probe(1)
    probe.stdin.write(f"peer 2 there alias-there {NAMES['there']}\ngo 8\n")
    here = told(probe)
    assert here.proven(2), here.lacks
    if least is None:
        assert here.rtt == {}
        assert here.seconds < 4
    else:
        assert least <= here.rtt[2] < most


def test_all_is_proven(spaces):
    for space in spaces:
        space.dns(**NAMES)
    here, there = both(spaces, seconds=8)
    assert (here.address, here.mtu) == (IPv4Address("10.9.0.2"), 1500)
    assert (there.address, there.mtu) == (IPv4Address("10.9.0.3"), 1500)
    assert here.proven(2)
    assert there.proven(1)
    assert here.lacks == there.lacks == {}
    assert here.heard == {2}
    assert here.seconds < 5


@pytest.mark.parametrize(("code", "reason"), [("3", "NXDOMAIN"), ("2", "SERVFAIL"), ("0", "no address")])
def test_a_name_that_is_not_known(spaces, code, reason):
    spaces[0].dns(there=code)
    spaces[1].dns(**NAMES)
    here, there = both(spaces)
    assert here.lacks == {(2, "name"): reason, (2, "by_name"): "not tried", (2, "alias"): reason}
    assert (2, "full") in here.seen
    assert there.proven(1)
    assert here.seconds >= 2


def test_no_dns_server(spaces):
    here, _ = both(spaces)
    assert here.lacks[2, "name"] in {"127.0.0.11: connection refused", "127.0.0.11 does not answer"}


def test_it_complains_when_no_name_is_known_for_a_while(spaces):
    assert both(spaces, seconds=2)[0].nameless is False
    for space in spaces:
        for process in space.processes:
            process.kill()
            process.wait()
    assert both(spaces, seconds=4)[0].nameless is True


# Answers datagrams to 10.9.0.3 from the address in its argument.
ANSWERING = r"""
import socket, sys
asked, other = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
asked.bind(("10.9.0.3", 7777))
other.bind((sys.argv[1], 7778 if sys.argv[1] == "10.9.0.3" else 7777))
print("serving", flush=True)
while True:
    data, client = asked.recvfrom(65535)
    _, run, by, to, nonce, _ = data.decode().split(" ", 5)
    answer = f"answer {run} {to} {by} {nonce} ".encode().ljust(len(data), b"x")
    other.sendto(answer, client)
"""


@pytest.mark.parametrize(("source", "counts"), [("10.9.0.3", True), ("10.9.0.77", False)])
def test_an_answer_counts_from_its_peer_alone(spaces, source, counts):
    """Another sender may have read the nonce on the wire."""
    spaces[1].run("ip address add 10.9.0.77/24 dev eth0")
    assert spaces[1].start(sys.executable, "-c", ANSWERING, source).stdout.readline() == "serving\n"
    probe = spaces[0].probe(1)
    probe.stdin.write(f"peer 2 there - {NAMES['there']} 7777 address\ngo 1\n")
    assert ((2, "address") in told(probe).seen) is counts


@pytest.mark.parametrize("says", ["10.9.0.77", "10.9.0.2", "10.9.0.3,10.9.0.77"])
def test_a_name_that_leads_elsewhere(spaces, says):
    for space in spaces:
        space.dns(here=NAMES["here"], there=says)
    here, _ = both(spaces)
    assert here.lacks == {(2, "by_name"): f"DNS says {says}", (2, "alias"): f"DNS says {says}"}


@pytest.mark.parametrize(("says", "reason"), [("3", "NXDOMAIN"), ("10.9.0.77", "DNS says 10.9.0.77")])
def test_an_alias_that_is_not_the_others(spaces, says, reason):
    spaces[0].dns(**NAMES, **{"alias-there": says})
    spaces[1].dns(**NAMES)
    here, there = both(spaces)
    assert here.lacks == {(2, "alias"): reason}
    assert there.proven(1)


def test_a_server_that_the_containers_programs_do_not_ask(spaces, tmp_path):
    for space in spaces:
        space.dns(**NAMES)
    (tmp_path / "resolv.conf").write_text("nameserver 192.0.2.1\n")
    here, _ = both(spaces)
    assert here.lacks[2, "name"] == "resolv.conf names 192.0.2.1"


def test_nothing_passes(spaces):
    for space in spaces:
        space.dns(**NAMES)
    probes = [space.probe(number) for number, space in enumerate(spaces, start=1)]
    assert [probe.stdout.readline().split()[0] for probe in probes] == ["ready"] * 2
    spaces[1].run("ip link set eth0 down")
    probes[0].stdin.write(f"peer 2 there alias-there {NAMES['there']}\ngo 1.5\n")
    here = told(probes[0])
    assert {fact for _, fact in here.seen} == {"name", "alias"}
    assert here.heard == frozenset()
    assert here.lacks[2, "address"] != ""
    assert here.seconds >= 1.5


@pytest.mark.parametrize("mtu", [1400, 1200])
def test_the_largest_packet_that_passes(spaces, mtu):
    """The path silently drops packets that are too long, because the other end's device has a smaller MTU."""
    for space in spaces:
        space.dns(**NAMES)
    probes = [space.probe(number) for number, space in enumerate(spaces, start=1)]
    assert [probe.stdout.readline().split()[0] for probe in probes] == ["ready"] * 2
    spaces[1].run(f"ip link set eth0 mtu {mtu}")
    for probe, number, name in ((probes[0], 2, "there"), (probes[1], 1, "here")):
        probe.stdin.write(f"peer {number} {name} alias-{name} {NAMES[name]}\ngo 30\n")
    here, there = (told(probe) for probe in probes)
    # A veth accepts packets up to four bytes (a VLAN tag) longer than its MTU. Answers that it sends are not longer.
    assert here.largest == {2: mtu}
    assert {fact for _, fact in here.lacks} == {"full"}
    assert there.largest == {1: mtu}
    assert here.seconds < 15  # well before the deadline: waiting longer would not help


# -- strangers and external names ----------------------------------------------------------------------------------

STRANGER = f"stranger 0 there {NAMES['there']} 123456 7"


def beside(spaces: tuple[Space, Space], orders: str, *, seconds: float = 2) -> Evidence:
    """Return what the first probe reports for these orders, without a peer."""
    probe = spaces[0].probe(1)
    probe.stdin.write(f"{orders}\ngo {seconds}\n")
    return told(probe)


def test_a_stranger_that_is_not_met(spaces):
    spaces[0].dns()
    evidence = beside(spaces, STRANGER)
    assert evidence.met == {}
    assert evidence.tried[0] >= 3
    assert 0.2 < evidence.seconds < 1.5


def test_a_stranger_that_is_met(spaces):
    spaces[0].dns(there=NAMES["there"])
    other = spaces[1].start("perl", "-e", render.text("probe.pl"), "123456", "7", "20", "10.9.0.1")
    assert other.stdout.readline().startswith("ready")
    evidence = beside(spaces, STRANGER)
    assert set(evidence.met) == {(0, "name"), (0, "address")}
    other.stdin.write("go 0\n")
    assert told(other).heard == frozenset()  # a stranger is not a peer


def test_a_name_that_leads_a_stranger_elsewhere_is_no_meeting(spaces):
    """Some resolvers have an answer for every name."""
    spaces[0].dns(there="203.0.113.9")
    assert beside(spaces, STRANGER).met == {}


OUTSIDE = "outside provisioner-abcdef.invalid answer 10.9.0.3"


def resolver(space: Space, **said: str) -> None:
    """Start a resolver on the second space's address."""
    code = DNS.replace("127.0.0.11", "10.9.0.3")
    assert (
        space.start(sys.executable, "-c", code, *(f"{k}={v}" for k, v in said.items())).stdout.readline() == "serving\n"
    )


def test_a_name_outside(spaces):
    spaces[0].dns()
    resolver(spaces[1])
    evidence = beside(spaces, OUTSIDE)
    assert {server: answer for server, (_, answer) in evidence.outside.items()} == {
        "127.0.0.11": "NXDOMAIN",
        "10.9.0.3": "NXDOMAIN",
    }
    assert evidence.silent == {}
    assert evidence.seconds < 1.5


def test_a_name_outside_of_which_an_address_is_wanted(spaces):
    spaces[0].dns(shop="203.0.113.7")
    resolver(spaces[1])
    evidence = beside(spaces, "outside shop address 10.9.0.3", seconds=4)
    assert evidence.outside.keys() == {"127.0.0.11"}
    assert evidence.silent == {"10.9.0.3": "NXDOMAIN"}
    assert 2 <= evidence.seconds < 3.5


@pytest.mark.parametrize(("code", "reason"), [("2", "SERVFAIL"), ("5", "REFUSED")])
def test_a_name_outside_that_is_refused(spaces, code, reason):
    spaces[0].dns(**{"provisioner-abcdef.invalid": code})
    evidence = beside(spaces, OUTSIDE, seconds=8)
    assert evidence.outside == {}
    assert evidence.silent == {"127.0.0.11": reason, "10.9.0.3": "connection refused"}
    assert 4.5 <= evidence.seconds < 6


def test_the_resolv_conf_of_the_container(spaces, tmp_path):
    (tmp_path / "resolv.conf").write_text(
        "search a.test b.test\nnameserver 127.0.0.11\nnameserver fd00::53\noptions ndots:0\n"
    )
    spaces[0].dns(**NAMES)
    resolver(spaces[1])
    evidence = beside(spaces, f"peer 2 there alias-there {NAMES['there']}\n{OUTSIDE}")
    assert evidence.conf == {"search": ("a.test", "b.test"), "options": ("ndots:0",)}
    # A second nameserver with an IPv6 address does not replace the engine's server.
    assert (2, "name") in evidence.seen


def test_foreign_and_stale_answers_prove_nothing(spaces):
    """The answers have another run, another name, a wrong nonce or a wrong size."""
    for space in spaces:
        space.dns(**NAMES)
    liar = r"""
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("10.9.0.3", 7777)); print("up", flush=True)
while True:
    data, client = s.recvfrom(65535)
    kind, run, by, to, nonce, rest = data.split(b" ", 5)
    lies = ((b"ffffff", to, by, nonce), (run, b"3", by, nonce), (run, to, b"9", nonce), (run, to, by, b"0" * 16))
    for lie in lies:
        s.sendto(b" ".join((b"answer", *lie, rest)), client)
    s.sendto(b" ".join((b"answer", run, to, by, nonce, rest))[:-1], client)
"""
    assert spaces[1].start(sys.executable, "-c", liar).stdout.readline() == "up\n"
    probe = spaces[0].probe(1)
    probe.stdin.write("peer 2 there alias-there 10.9.0.3\ngo 1.5\n")
    here = told(probe)
    assert {fact for _, fact in here.seen} == {"name", "alias"}


def test_it_answers_nobody_but_its_own_run(spaces):
    probe = spaces[1].probe(2)
    probe.stdout.readline()
    asks = r"""
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(0.5)
for words in (b"ask ffffff 1 2 00 x", b"ask abcdef 1 7 00 x", b"garbage", b"answer abcdef 1 2 00 x", b"ask abcdef 1 2 00 x"):
    s.sendto(words.ljust(64, b"x"), ("10.9.0.3", 7777))
print(s.recv(99).decode(), flush=True)
try: print(s.recv(99).decode())
except TimeoutError: print("no more", flush=True)
"""
    asker = spaces[0].start(sys.executable, "-c", asks)
    assert asker.stdout.readline() == "answer abcdef 2 1 00 ".ljust(64, "x") + "\n"
    assert asker.stdout.readline() == "no more\n"


def test_it_ends_with_its_input(spaces):
    probe = spaces[0].probe(1)
    probe.stdout.readline()
    probe.stdin.close()
    assert probe.wait(timeout=2) == 0


def test_it_ends_when_it_is_told_to_make_room(spaces):
    probe = spaces[0].probe(1)
    probe.stdout.readline()
    probe.stdin.write("again\n")
    assert probe.wait(timeout=2) == 75


def test_it_ends_by_itself_when_nothing_is_heard_from_the_controller(spaces):
    began = time.monotonic()
    probe = spaces[0].start(
        "perl",
        "-e",
        render.text("probe.pl").replace("($GRACE, $FLUSH) = (15,", "($GRACE, $FLUSH) = (1,"),
        RUN,
        "1",
        "1",
        "10.9.0.1",
    )
    probe.stdout.readline()
    assert probe.wait(timeout=5) in {0, -signal.SIGALRM}
    assert 1.5 < time.monotonic() - began < 4


def test_it_says_when_there_is_no_way_to_the_subnet(spaces):
    spaces[0].run("ip address flush dev eth0")
    evidence = told(spaces[0].probe(1))
    assert evidence.error == "this container has no route to the network's subnet"


def test_its_own_address_does_not_mislead_it(spaces):
    """The probe has the first address that it looks for. The route to this address is the loopback interface."""
    spaces[0].run("ip address flush dev eth0; ip address add 10.9.0.1/24 dev eth0")
    line = spaces[0].probe(1).stdout.readline()
    assert line == "ready 10.9.0.1 1500\n"


def test_it_is_rendered_as_it_is():
    template = render.text("probe.pl")
    assert template.startswith("# A probe")
    assert all(fact in template for fact in FACTS)


LISTEN = (
    "import socket; s = socket.create_server(('10.9.0.3', 22)); print('listens', flush=True); s.accept(); s.accept()"
)


def test_what_lies_beyond_is_told_where_it_is_reached(spaces):
    here, there = spaces
    assert there.start(sys.executable, "-c", LISTEN).stdout.readline() == "listens\n"
    probe = here.probe(1)
    probe.stdin.write(
        "".join(f"beyond {where}\n" for where in ("10.9.0.3 22", "10.9.0.3 23", "10.9.0.77 22", "192.0.2.1 22"))
        + "go 3\n"
    )
    evidence = told(probe)
    assert evidence.way == ("10.9.0.3:22",)
    assert 0.9 < evidence.seconds < 2.5, "one that does not answer at once gets a second"
    probe.stdin.close()
    probe.wait(5)
    there.run("ip route add blackhole 10.9.0.2/32")  # from now on, answers of the other space are lost
    probe = here.probe(1)
    probe.stdin.write("beyond 10.9.0.3 22\ngo 3\n")
    assert told(probe).way == ()


# -- connections and data over TCP -----------------------------------------------------------------------------------

FULL = 64 * 16384  # bytes of a transfer


def until_the_end(*processes: subprocess.Popen[str], evidence: Iterable[Evidence]) -> None:
    """End all probes at the same time, and take what they report last."""
    for process in processes:
        process.stdin.close()
    for process, seen in zip(processes, evidence, strict=True):
        for line in process.stdout:
            seen.take(line.rstrip("\n"))


def connected(
    spaces: tuple[Space, Space], *, hold: float = 0.0, other: str = "", order: str = "flow"
) -> list[subprocess.Popen[str]]:
    """Start two probes that send data to each other. other: the program of the second one, if it is not the same.

    order: "watch", if they only hold a connection.
    """
    for space in spaces:
        space.dns(**NAMES)
    argv = ("perl", "-e", other or render.text("probe.pl"), RUN, "2", "20", "10.9.0.1", "10.9.0.2")
    probes = [spaces[0].probe(1), spaces[1].start(*argv)]
    assert [probe.stdout.readline().split()[0] for probe in probes] == ["ready"] * 2
    for probe, number, name in ((probes[0], 2, "there"), (probes[1], 1, "here")):
        orders = f"peer {number} {name} alias-{name} {NAMES[name]}\n{order} {number}\nhold {hold}\ngo 30\n"
        probe.stdin.write(orders)
    return probes


def test_data_pass_in_both_directions(spaces):
    probes = connected(spaces)
    found = [told(probe) for probe in probes]
    until_the_end(*probes, evidence=found)
    for seen, peer in zip(found, (2, 1), strict=True):
        size, seconds = seen.bulk[peer]
        assert (size, 0 < seconds < 2) == (FULL, True)
        assert seen.gaps[peer][0] < 2
        assert (seen.changed, seen.stalled, seen.cuts, seen.quiet, seen.checksums) == ({}, {}, {}, {}, {})
        assert seen.seconds < 5


def test_a_connection_that_is_only_watched_has_gaps_and_no_data(spaces):
    probes = connected(spaces, hold=1.0, order="watch")
    found = [told(probe) for probe in probes]
    until_the_end(*probes, evidence=found)
    for seen, peer in zip(found, (2, 1), strict=True):
        assert (seen.bulk, seen.stalled, seen.cuts) == ({}, {}, {})
        assert 0 < seen.gaps[peer][0] < 1
        assert 1 <= seen.seconds < 4


def test_a_single_byte_that_changes_on_the_way_is_found(spaces):
    """The second probe expects another byte at one place of each block than the first one sends."""
    other = render.text("probe.pl").replace("x 17, 0, $BLOCK;", "x 17, 0, $BLOCK; substr $block, 777, 1, '';")
    found = [told(probe) for probe in connected(spaces, other=other)]
    assert found[0].changed == {2: (64, "777")}
    assert found[0].bulk == {}
    assert set(found[1].changed) == {1}


# A peer that answers datagrams. What it does on its TCP connections is in its argument: it reads no data, or slowly, closes them,
# answers with a changed message, or refuses them.
PEER = r"""
import select, socket, sys, time
how = sys.argv[1]
echo = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
echo.bind(("10.9.0.3", 7777))
tcp = socket.socket()
tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
tcp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
tcp.bind(("10.9.0.3", 7778))
if how != "refuses":
    tcp.listen()
print("serving", flush=True)
ends, answered = [], 0
while True:
    for ready in select.select([echo, *ends, *([tcp] if how != "refuses" else [])], [], [])[0]:
        if ready is tcp:
            ends.append(tcp.accept()[0])
            continue
        if ready is echo:
            data, client = echo.recvfrom(65535)
        else:
            data = ready.recv(64, socket.MSG_WAITALL)
            if not data:
                ends.remove(ready)
                continue
        kind, run, source, target, nonce, size = data.decode().split(" ")[:6]
        said = f"answer {run} {target} {source} {nonce} "
        if ready is echo:
            echo.sendto(said.encode().ljust(len(data), b"x"), client)
        elif how == "closes" and answered:
            ready.close()
            ends.remove(ready)
        elif size != "0" and how != "slow":
            ends.remove(ready)  # and never reads it again
            kept = ready
        else:
            answered += 1
            ready.recv(int(size), socket.MSG_WAITALL) if size != "0" else b""
            time.sleep(0.4 if size != "0" else 0)
            ready.sendall((said + ("- 0.0 " if how != "changes" else "- 0,0 ")).encode().ljust(64, b"x"))
"""


def to_a_peer(spaces: tuple[Space, Space], how: str, seconds: float = 20) -> Evidence:
    spaces[0].dns(**NAMES)
    assert spaces[1].start(sys.executable, "-c", PEER, how).stdout.readline() == "serving\n"
    probe = spaces[0].probe(1)
    probe.stdin.write(f"peer 2 there alias-there {NAMES['there']}\nflow 2\ngo {seconds}\n")
    seen = told(probe)
    until_the_end(probe, evidence=[seen])
    assert seen.proven(2)
    return seen


def test_data_that_stall_although_small_packets_pass(spaces):
    seen = to_a_peer(spaces, "reads")
    assert (seen.stalled[2][0], seen.bulk) == (0, {})
    assert 5 <= seen.stalled[2][1] < 8
    assert 5 <= seen.seconds < 9, "it does not wait for the deadline"


def test_data_on_a_slow_path_do_not_stall(spaces):
    seen = to_a_peer(spaces, "slow")
    assert seen.stalled == {}
    size, seconds = seen.bulk[2]
    assert 16384 <= size <= FULL // 4, "no more is sent after a second"
    assert 1 <= seconds < 15


def test_a_connection_that_is_refused(spaces):
    seen = to_a_peer(spaces, "refuses")
    assert seen.stalled[2][0] == 0
    assert seen.cuts[2][2] == "connection refused"
    assert seen.cuts[2][0] > 5


def test_a_connection_that_the_other_end_closes(spaces):
    seen = to_a_peer(spaces, "closes", seconds=3)
    assert seen.cuts[2][2] in {"closed by the other end", "connection reset by peer"}
    assert seen.bulk == {}


def test_a_message_that_changes_on_the_way(spaces):
    assert to_a_peer(spaces, "changes").changed[2][1] == "message"


def test_a_path_that_is_cut_for_a_while_is_a_gap_with_its_direction(spaces):
    probes = connected(spaces, hold=6)
    time.sleep(1.5)
    spaces[0].run("ip route add blackhole 10.9.0.3/32")  # the first one sends nothing to the second one
    time.sleep(3)
    spaces[0].run("ip route del blackhole 10.9.0.3/32")
    found = [told(probe) for probe in probes]
    until_the_end(*probes, evidence=found)
    here, there = found
    assert (here.bulk.keys(), there.bulk.keys()) == ({2}, {1}), "the data passed before"
    assert 2.8 <= here.gaps[2][0] <= 7
    assert 2.8 <= there.gaps[1][0] <= 7, "its packets arrive, but the answers do not"
    assert 2.8 <= there.quiet[1][0] <= 7
    assert here.quiet == {}
    assert 1 <= here.gaps[2][1] <= 4
    assert (here.stalled, here.cuts) == ({}, {})
    assert here.seconds >= 6


def test_a_process_that_does_not_run_for_a_while_is_no_gap(spaces):
    probes = connected(spaces, hold=5)
    time.sleep(1)
    holder = spaces[1].processes[-1]
    holder.send_signal(signal.SIGSTOP)
    time.sleep(2.5)
    holder.send_signal(signal.SIGCONT)
    found = [told(probe) for probe in probes]
    until_the_end(*probes, evidence=found)
    assert found[0].gaps[2][0] < 1.2
    assert found[1].gaps[1][0] < 1.2
    assert found[1].quiet == {}


def test_foreign_connections_make_room_for_probes(spaces):
    crowd = (
        "import socket, time; print(len([socket.create_connection(('10.9.0.3', 7778)) for _ in range(99)]), flush=True)"
        "; time.sleep(60)"
    )
    probes = [space.probe(number) for number, space in enumerate(spaces, start=1)]
    for space in spaces:
        space.dns(**NAMES)
    assert [probe.stdout.readline().split()[0] for probe in probes] == ["ready"] * 2
    busy = subprocess.Popen(
        ["nsenter", "-n", "-t", str(spaces[0].pid), sys.executable, "-c", crowd],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        busy.stdout.readline()
        probes[0].stdin.write(f"peer 2 there alias-there {NAMES['there']}\nflow 2\ngo 9\n")
        assert told(probes[0]).bulk[2][0] == FULL
    finally:
        busy.kill()
        busy.wait()
