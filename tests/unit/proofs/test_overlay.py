"""The course of the overlay's proof, with scripted probes. With real hosts: tests/e2e/test_proofs.py."""

from __future__ import annotations

import functools
import queue
import re
import threading
import time
from typing import TYPE_CHECKING, Self

import pytest

from provisioner import causes
from provisioner.controlplane import Site
from provisioner.controlplane.base import Closed
from provisioner.errors import TimedOut, Unreachable
from provisioner.model import Problem, Result, State
from provisioner.proofs import overlay
from provisioner.proofs.evidence import FACTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from provisioner.inventory import Inventory


class Stream:
    """The output of a host's script: first `lines`, then `answer` to each "go", and `result` at the end."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.out: queue.Queue[str | None] = queue.Queue()
        self.closed = threading.Event()
        for line in host.lines:
            self.out.put(line)
        if host.ended:
            self.out.put(None)

    def readline(self, timeout: float) -> str | None:
        try:
            return self.out.get(timeout=min(timeout, self.host.patience))
        except queue.Empty:
            raise TimedOut("no end", host=self.host.name) from None

    def send(self, text: str) -> None:
        self.host.sent.append(text)
        if text == "again":
            self.host.replaced(lambda: self.out.put(self.host.lines[-1]))
        elif text.splitlines()[-1].startswith("go "):
            for line in self.host.answer(text):
                self.out.put(line)
        else:
            raise AssertionError(f"a probe does not know {text!r}")

    def close_stdin(self) -> None:
        self.closed.set()
        self.out.put(None)

    def finish(self, timeout: float) -> Result:
        assert timeout > 0
        self.close_stdin()
        self.host.finished += 1
        return self.host.result

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.host.left = True


class Host:
    """A connection that supports only stream()."""

    def __init__(self, number: int, **put: object) -> None:
        self.name = f"node{number}"
        self.number = number
        self.lines = [f"ready 10.99.0.{255 - number} 1450"]
        self.ended = False
        self.patience = 5.0
        self.result = Result(0, "", "")
        self.sent: list[str] = []
        self.finished = 0
        self.left = False
        self.script = ""
        self.answer: Callable[[str], list[str]] = self.proves
        self.replaced: Callable[[Callable[[], None]], None] = lambda ready: ready()
        self.__dict__.update(put)

    def stream(self, script: str) -> Stream:
        self.script = script
        self.opened = Stream(self)
        return self.opened

    @staticmethod
    def proves(orders: str) -> list[str]:
        peers = re.findall(r"^peer (\d+) ", orders, re.MULTILINE)
        seen = [f"see {peer} {fact} 0.3" for peer in peers for fact in FACTS]
        return [*seen, "heard " + " ".join(peers), "done 0.3 0.02"]


@pytest.fixture
def prove(inventory) -> Callable[..., overlay.ProofResult]:
    def run(*hosts: Host, total: int = 3, **options: object):
        found: Inventory = inventory(total)
        site = Site(found, {}, {}, (), tuple(host.name for host in hosts))
        said: list[tuple[str, str]] = []
        (result, *beside) = overlay.prove(
            site, {host.name: host for host in hosts}, {"demo": "abcdef"}, observer=lambda *s: said.append(s), **options
        )  # fmt: skip
        assert not beside or not hosts
        return result

    return run


def test_every_ordered_pair(prove):
    hosts = [Host(1), Host(2), Host(3)]
    result = prove(*hosts)
    assert (result.state, result.error, result.reason, result.mtu) == (State.SETTLED, "", "", 1450)
    assert len({(p.source, p.target) for p in result.pairs}) == 6
    assert result.seconds == 0.3
    assert "".join(hosts[0].sent).splitlines() == [
        "peer 2 provisioner-probe-abcdef-node2 provisioner-alias-abcdef-node2 10.99.0.253",
        "peer 3 provisioner-probe-abcdef-node3 provisioner-alias-abcdef-node3 10.99.0.252",
        "flow 2 3",
        "go 39.0",
    ]
    assert all(host.left and host.opened.closed.is_set() for host in hosts)


def test_one_host_alone(prove):
    """The result has no pairs, but shows that a container can join."""
    host = Host(1)
    result = prove(host)
    assert (result.state, result.pairs, result.mtu) == (State.SETTLED, (), 1450)
    (check,) = result.checks
    assert (check.host, check.what, check.seconds, check.detail) == (
        "node1",
        "a container joins it",
        0.3,
        "10.99.0.254",
    )
    assert host.left


def test_one_host_alone_on_which_no_container_can_join(prove):
    result = prove(
        Host(1, lines=[], ended=True, result=Result(70, "", "provisioner: the engine takes no image\tlook at it\n"))
    )
    assert result.state is State.FAILED
    assert "the engine takes no image" in result.error
    assert not result.checks[0].proven


def test_no_host(prove):
    assert prove().state is State.SKIPPED


def test_a_host_keeps_its_address_when_others_are_not_there(prove):
    hosts = [Host(2), Host(3)]
    prove(*hosts)
    assert "address=10.99.0.253" in hosts[0].script
    assert "address=10.99.0.252" in hosts[1].script


def test_a_probe_that_does_not_start(prove):
    stderr = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock.\nprovisioner: the engine takes no image\tlook at it\n"
    hosts = [Host(1), Host(2, lines=[], ended=True, result=Result(70, "", stderr)), Host(3)]
    result = prove(*hosts)
    assert result.state is State.FAILED
    assert {(p.source, p.target) for p in result.pairs if p.proven} == {("node1", "node3"), ("node3", "node1")}
    assert "the engine takes no image (Cannot connect to the Docker daemon" in result.pairs[0].detail
    assert "on node2: look at it" in result.error
    assert result.seconds < 39.0  # what the others took, not their deadline
    assert "peer 2" not in hosts[0].sent[0]


def test_a_host_on_which_nothing_can_join_is_told_and_no_probe_waits_there(prove, monkeypatch):
    monkeypatch.setattr(
        "provisioner.controlplane.kv.Kv.closed",
        lambda _, site, host: (
            Closed(Problem("node-resting", host, "drained", {"node": "x"})) if host == "node2" else None
        ),
    )
    hosts = [Host(1), Host(2), Host(3)]
    result = prove(*hosts)
    assert {(p.source, p.target) for p in result.pairs if p.proven} == {("node1", "node3"), ("node3", "node1")}
    assert "no probe on node2: drained" in result.error
    assert "on node2: when it should take part again" in result.error
    assert [(found.id, found.host) for found in result.problems] == [("node-resting", "node2")]
    assert hosts[1].script == ""


def test_what_opens_by_itself_is_awaited(site, monkeypatch):
    later = site()
    before = later.without(frozenset())
    monkeypatch.setattr(
        "provisioner.controlplane.kv.Kv.closed",
        lambda _, site, host: (
            Closed(Problem("store-no-leader", host, "no leader", variant="managed"), 5.0) if site is before else None
        ),
    )
    monkeypatch.setattr(overlay.time, "sleep", lambda _: None)
    assert overlay._opened(before, before.live, lambda: later) is later
    monkeypatch.setattr(
        "provisioner.controlplane.kv.Kv.closed",
        lambda *_: Closed(Problem("node-resting", "", "drained", {"node": "x"})),
    )
    assert overlay._opened(before, before.live, lambda: later) is before


def test_what_closed_a_host_meanwhile_is_told(prove, site, monkeypatch):
    monkeypatch.setattr(
        "provisioner.controlplane.kv.Kv.closed",
        lambda _, site, host: (
            Closed(Problem("store-no-leader", host, "no leader", variant="managed")) if site.facts else None
        ),
    )
    stderr = "docker: Error response from daemon: network demo not found.\n"
    result = prove(Host(1), Host(2, lines=[], ended=True, result=Result(125, "", stderr)), again=site)
    assert "network demo not found." in result.error
    assert "no leader (node1, node2)" in result.error
    assert result.error.endswith("next:  on node1, node2: bring the store back first: provisioner up INVENTORY")


@pytest.mark.parametrize("hint", ["See 'docker run --help'.", "\nRun 'docker run --help' for more information"])
def test_dockers_own_last_words(prove, hint):
    stderr = f"WARNING: Localhost DNS setting\ndocker: Error response from daemon: network demo not found.\n{hint}\n"
    result = prove(Host(1), Host(2, lines=[], ended=True, result=Result(125, "", stderr)))
    assert "Error response from daemon: network demo not found." in result.pairs[0].detail


@pytest.mark.parametrize(
    "answer",
    [
        "network sandbox join failed: could not get network sandbox (oper true): x",
        'could not add veth pair: failed get network namespace "/var/run/docker/netns/1-7ea53ce873": no such file or directory.',
    ],
)
def test_an_engine_that_lost_a_namespace_is_to_be_restarted(prove, answer):
    stderr = (
        f"docker: Error response from daemon: {answer}\n"
        'time="2026-11-25T17:18:02Z" level=error msg="error waiting for container: context canceled"\n'
    )
    result = prove(Host(1), Host(2, lines=[], ended=True, result=Result(125, "", stderr)))
    assert "on node2: restart the engine" in result.error
    assert [(found.id, found.host, found.variant) for found in result.problems] == [("sandbox-lost", "node2", "")]


def test_an_engine_that_keeps_a_record_of_a_container_that_is_gone_starts_once_without_its_store(prove):
    answer = 'could not get network sandbox (oper true): failed get network namespace "": no such file or directory.'
    stderr = f"docker: Error response from daemon: {answer}\n"
    result = prove(Host(1), Host(2, lines=[], ended=True, result=Result(125, "", stderr)))
    assert [(found.id, found.variant) for found in result.problems] == [("sandbox-lost", "kept")]
    (command,) = causes.to_run(result.problems[0])
    assert r"""perl -0pi -e 's/"cluster-[a-z-]+"\s*:\s*("[^"]*"|\{[^}]*\})\s*,?//g; s/,(\s*\})/$1/g'""" in command
    assert command.endswith("  # on node2; its containers stop meanwhile unless it has live-restore")


def test_a_start_that_takes_too_long(prove):
    result = prove(Host(1), Host(2, lines=[], patience=0.1), start=0.1)
    assert "it did not start within 0.1 seconds" in result.pairs[0].detail


def test_a_host_that_is_lost_meanwhile(prove):
    def lost(_: str) -> list[str]:
        raise Unreachable("connection lost", host="node2")

    result = prove(Host(1), Host(2, answer=lost), Host(3))
    assert {(p.source, p.target) for p in result.pairs if not p.proven} == {("node2", "node1"), ("node2", "node3")}
    assert "the probe on node2 ended early: connection lost" in result.pairs[2].detail


def test_what_is_no_probe(prove):
    result = prove(Host(1), Host(2, lines=["Welcome to node2!"]))
    assert "unexpected line from the probe: 'Welcome to node2!'" in result.pairs[0].detail


def test_a_container_that_learns_no_names_is_replaced_once(prove):
    def answer(orders: str) -> list[str]:
        return ["nameless 3.0"] if len(host.sent) == 1 else Host.proves(orders)

    host = Host(2)
    host.answer = answer
    result = prove(Host(1), host)
    assert result.state is State.SETTLED
    assert [text.splitlines()[-1].split()[0] for text in host.sent] == ["go", "again", "go"]
    assert "node2: its first container learned no names" in result.reason


def test_two_that_are_replaced_at_once_know_where_the_other_is(prove):
    """The first host's new container gets its peers before the second host's has started."""

    def answer(host: Host, orders: str) -> list[str]:
        if "again" not in host.sent:
            return ["nameless 3.0"]
        told.set()
        return Host.proves(orders)

    def after(event: threading.Event, ready: Callable[[], None]) -> None:
        threading.Thread(target=lambda: event.wait(5) and ready()).start()

    gone, told = threading.Event(), threading.Event()
    hosts = [
        Host(1, replaced=lambda ready: after(gone, ready)),
        Host(2, replaced=lambda ready: gone.set() or after(told, ready)),
    ]
    for host in hosts:
        host.answer = functools.partial(answer, host)
    assert prove(*hosts).state is State.SETTLED
    assert [orders.splitlines()[0].split()[4] for orders in (hosts[0].sent[2], hosts[1].sent[2])] == [
        "10.99.0.253",
        "10.99.0.254",
    ]


def test_a_container_that_learns_no_names_again_fails(prove):
    host = Host(2, answer=lambda _: ["nameless 3.0", "lack 1 name NXDOMAIN", "heard 1", "done 30 0.1"])
    result = prove(Host(1), host)
    assert result.state is State.FAILED
    assert len(host.sent) == 3
    assert "not resolved: NXDOMAIN" in result.pairs[1].detail


def test_what_could_not_be_removed_is_told(prove):
    result = prove(
        Host(1),
        Host(2, result=Result(70, "", "provisioner: the probe's image could not be removed\tdocker image rm x\n")),
    )
    assert result.state is State.SETTLED
    assert result.reason == "node2: the probe's image could not be removed"


def test_a_bug_leaves_no_probe_behind(prove):
    def bug(_: str) -> list[str]:
        raise ZeroDivisionError

    hosts = [Host(1, answer=bug), Host(2, answer=lambda _: [])]
    began = time.monotonic()
    with pytest.raises(ZeroDivisionError):
        prove(*hosts)
    assert all(host.opened.closed.is_set() for host in hosts)
    assert time.monotonic() - began < 4


def test_a_long_name_fits_into_dns(prove, inventory):
    from provisioner.proofs.probe import Probe, Task

    task = Task("abcdef", "demo", inventory().networks["demo"].subnet, 30, 120)
    hosts = [Host(1), Host(2)]
    for host in hosts:
        host.name = "a" * 63
    probes = [Probe(host, host.number, host.number, task, lambda *_: None) for host in hosts]
    names = {probe.container for probe in probes} | {probe.alias for probe in probes}
    assert len(names) == 4
    assert {len(name) <= 63 for name in names} == {True}
