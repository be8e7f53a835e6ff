"""One probe, from its start to its end, as the controller sees it; and all of them side by side."""

from __future__ import annotations

import re
import shlex
import time
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field, replace
from threading import Event
from typing import TYPE_CHECKING, Self

from provisioner import render
from provisioner.errors import ProvisionerError, TimedOut, TransportError
from provisioner.model import Problem
from provisioner.proofs.evidence import FACTS, Evidence
from provisioner.system.attached import PROBE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Future
    from ipaddress import IPv4Address, IPv4Network, IPv6Address

    from provisioner.proofs.watched import Carried, Walls
    from provisioner.transport import Connection, Stream

PORT = 7777  # probe.pl's
_ASKED = 40.0  # seconds for the engine to tell a port
_LATE = 10.0  # seconds that a probe may be late with its last words
_WATCHER = 3.0  # seconds that what a host has seen of its packets may come behind the probe's own word
_SHORTEST = 10.0  # seconds that a second probe in one place gets at least
_GLANCE = 0.5  # seconds between two looks whether it is enough
_END = 20.0  # seconds for a container and its image to be removed
_INTERRUPTED = 5.0  # seconds that Ctrl-C waits for that
_BEYOND = 2  # other hosts that a probe tries to reach from an internal network
_LABEL = 63  # characters: the longest name in DNS
# Engine 20.10 that went down hard (power cut, SIGKILL) with a container on the network: when it starts, it looks for the
# namespace of that time, and remembers that there is none. Seen; it is mended by one more start without the container.
_LOST_SANDBOX = "could not get network sandbox"
# What the docker client itself logs beside, before or after what it was refused (docker/cli#5043): never the cause.
_BESIDE = ("WARNING", "See '", "time=")


@dataclass(frozen=True)
class Outside:
    """A name that only a resolver outside knows, and the resolvers to which the engine is to forward it.

    kind: what they are to say of it: an "address", or any "answer" (that it does not exist is one).
    """

    name: str
    kind: str
    resolvers: tuple[str, ...]


@dataclass(frozen=True)
class Task:
    """What all probes of a network have in common. Times in seconds, see `overlay.prove`.

    subnet: None where the container is to tell its interfaces and nothing else. beyond: host -> what is to be out of reach
    there, address and port; each probe tries those of other hosts. encrypted: by what its packets are known, where they must be.
    walls: what no packet of a container is to leave its host for; None: it is not tried.
    chosen: whether we choose the probes' addresses, and not the engine. names: whether the network has a DNS server.
    facts: what each probe is to see of every other one of its network; () where it is to reach none.
    apart: whether it tries to meet the probes of other networks.
    """

    run: str
    network: str
    subnet: IPv4Network | None
    deadline: float
    start: float
    outside: Outside | None = None
    chosen: bool = True
    names: bool = True
    beyond: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    encrypted: Carried | None = None
    walls: Walls | None = None
    facts: tuple[str, ...] = ()
    apart: bool = False

    @property
    def life(self) -> int:
        """Seconds after which not even a hanging docker command is left."""
        return int(2 * self.start + self.deadline) + 60


@dataclass(frozen=True)
class Peer:
    """Whom a probe is to reach: another probe, at its own address or at one where its port is published."""

    probe: Probe
    facts: tuple[str, ...] = FACTS
    published: bool = False

    @property
    def order(self) -> str:
        probe = self.probe
        own = ",".join(str(each) for each in (probe.address, probe.six) if each)
        where = f"{probe.publish} {probe.port}" if self.published else f"{own} {PORT}"
        facts = f" {','.join(self.facts)}" if self.facts != FACTS or self.published else ""
        where = where if facts else str(probe.address)
        return f"peer {probe.number} {probe.container} {probe.alias or '-'} {where}{facts}"


class Probe:
    """The probe on one host. `evidence` holds all that it said, or why there is none; `remark` is for the report.

    number: its place among the probes of this proof, from 1. place: that among all hosts of the inventory, from 0.
    tag: tells it from another on the same host. publish: the host's address at which its port is to be published;
    `port` is the one that the engine chose. address, six: its own, once it has begun; one that takes its place has the same.
    """

    def __init__(
        self,
        connection: Connection,
        number: int,
        place: int,
        task: Task,
        observer: Callable[[str, str], None],
        *,
        tag: str = "",
        publish: str = "",
    ) -> None:
        self.name = connection.name
        self.number = number
        self.evidence = Evidence()
        self.remark = ""
        self.publish = publish
        self.port = 0
        self.address: IPv4Address | None = None
        self.six: IPv6Address | None = None
        self._tag = tag
        self._others = "hosts" if task.chosen else "containers"
        self._place = place
        self._connection = connection
        self.task = task
        self._observer = observer
        self._stream: Stream | None = None
        self._released = False
        self.network = task.network
        self.strangers: list[Probe] = []
        self.enough = Event()  # set: it is not to wait any longer for what it has not seen yet

    @property
    def _suffix(self) -> str:
        # Long host names are cut, and told apart by their number.
        room = _LABEL - len(f"{PROBE}{self.task.run}-")
        whole = self.name + self._tag
        return whole if len(whole) <= room else f"{self.name[: room - 5].rstrip('-')}-{self.number}"

    @property
    def container(self) -> str:
        """Its name in DNS, on this network."""
        return f"{PROBE}{self.task.run}-{self._suffix}"

    @property
    def walls(self) -> Walls | None:
        return self.task.walls

    @property
    def alias(self) -> str:
        """Another name of it, which is no container's name anywhere."""
        return f"provisioner-alias-{self.task.run}-{self._suffix}" if self.task.names else ""

    @property
    def _address(self) -> str:
        """The same address for the same host in every proof, from the subnet's upper end, as long as it is free.

        An engine in kv mode that asks its peers for an address keeps the answer, also after the address has moved to
        another host, and then sends there until it is restarted: seen with 20.10 after some proofs in a row. It also
        keeps two containers from getting one address, should an engine give back twice what it failed to use.
        """
        subnet = self.task.subnet
        if subnet is None or not self.task.chosen:
            return ""
        spare = subnet.num_addresses // 2
        return str(subnet[-2 - self._place]) if self._place < spare - 1 else ""

    # -- the three stages; each is called in a thread of its own, and keeps what goes wrong -----------------------

    def begin(self) -> None:
        """Start it, and wait until it says where it is; one that has failed already is not started."""
        if self.evidence.error:
            return
        self._say("starts its probe")
        until = time.monotonic() + self.task.start
        try:
            self._stream = self._connection.stream(self._script())
            if self._released:
                self._stream.close_stdin()
            while not (self.evidence.address or self.evidence.interfaces or self.evidence.error):
                self._read(until)
            self.address, self.six = self.evidence.address, self.evidence.six
            if self.publish and not self.evidence.error:
                self.port = self._published()
        except TimedOut:
            self._fail(f"it did not start within {self.task.start:g} seconds")
        except ProvisionerError as error:
            self._lose(error)
        if self.evidence.address and not self.evidence.error:
            self._say(f"has a probe at {self.evidence.address}, MTU {self.evidence.mtu}")

    def _published(self) -> int:
        """The port of the host's that the engine chose. Raises ProvisionerError."""
        script = f"timeout -k 5 30 docker port {shlex.quote(self.container)} {PORT}/udp"
        said = self._connection.read(script, deadline=_ASKED).stdout.split()
        number = said[0].rpartition(":")[2] if said else ""
        if not re.fullmatch("[0-9]{1,5}", number):
            raise ProvisionerError(
                "the engine published no port of its probe", cause="probe-failed", cure="look at: journalctl -u docker"
            )
        return int(number)

    def go(self, ready: Sequence[Probe]) -> None:
        """Tell it all others that are ready, and wait until it has reached those of its network, or its time is over."""
        facts = self.task.facts
        self.strangers = self._strangers([probe for probe in ready if probe.network != self.network])
        self.reach([Peer(peer, facts) for peer in ready if facts and peer is not self and peer.network == self.network])

    def reach(self, others: Sequence[Peer]) -> None:
        """Tell it these, and wait until it has reached them, or its time is over."""
        if self.evidence.error or not self._stream:
            return
        began = time.monotonic()
        try:
            self._send_out(self._stream, others, began)
            if self.evidence.nameless:
                self._replace(self._stream, began)
                self._send_out(self._stream, others, began)
        except TimedOut:
            self.fail(Problem("probe-failed", self.name, "it has fallen silent", variant="load"))
        except ProvisionerError as error:
            self._lose(error)

    def _send_out(self, stream: Stream, others: Sequence[Peer], began: float) -> None:
        """Give the orders, and read until all is known, or until it says that names are unknown to its container."""
        if self.evidence.error:
            return
        left, offset = self.task.deadline, self.evidence.offset
        left = max(left - offset, _SHORTEST) if offset else left
        orders = [peer.order for peer in others]
        orders += [probe.as_stranger(at) for at, probe in enumerate(self.strangers)]
        if asked := self.task.outside:
            orders.append(" ".join(("outside", asked.name, asked.kind, *asked.resolvers)))
        beyond = [where for host, where in self.task.beyond.items() if host != self.name]
        orders += [f"beyond {address} {port}" for address, port in beyond[:_BEYOND]]
        orders += (
            [" ".join(("wall", address, *walls.ports)) for address in walls.beyond(self.name)]
            if (walls := self.walls)
            else []
        )
        stream.send("\n".join([*orders, f"go {left:.1f}"]))
        told, hurried = -1, False
        while self.evidence.seconds is None and not self.evidence.error:
            if self.enough.is_set() and not hurried:
                hurried = True
                stream.send("enough")
            self._read_some(began + self.task.deadline + _SHORTEST + _LATE)
            reached = sum(self.evidence.proven(peer.probe.number, peer.facts) for peer in others)
            if others and reached != told:
                self._say(f"reached {reached} of {len(others)} {self._others}")
            told = reached
            if self.evidence.nameless and not self.evidence.offset:
                return
        if carried := self.task.encrypted:
            wanted = carried.of([peer.probe.name for peer in others])
            with suppress(TimedOut):
                until = time.monotonic() + _WATCHER
                while not (wanted <= self.evidence.esp or self.evidence.error):
                    self._read(until)

    def _read_some(self, until: float) -> None:
        """Take a line if one comes soon, so that `enough` is seen in time. Raises TimedOut at the moment `until`."""
        soon = min(until, time.monotonic() + _GLANCE)
        try:
            self._read(soon)
        except TimedOut:
            if time.monotonic() >= until:
                raise

    def _strangers(self, probes: Sequence[Probe]) -> list[Probe]:
        """Of each other network the probe on this host, and the one on the next host."""
        found = []
        for network in dict.fromkeys(probe.network for probe in probes if self.task.apart):
            of_it = sorted((probe for probe in probes if probe.network == network), key=lambda probe: probe.number)
            later = [probe for probe in of_it if probe.number > self.number] or of_it
            here = [probe for probe in of_it if probe.number == self.number]
            found += [*here, *(probe for probe in later[:1] if probe not in here)]
        return found

    def as_stranger(self, number: int) -> str:
        """How a probe of another network is told of this one; `number`: among that one's strangers."""
        return f"stranger {number} {self.container} {self.address} {self.task.run} {self.number}"

    def _replace(self, stream: Stream, began: float) -> None:
        """Put another container in its place: an engine can lose its store for one, and for that one only.

        Seen with engine 20.10 in kv mode: now and then one of its calls to the store is refused although the store
        answers. What it was for stays undone: names are never learnt, or the container does not start at all.
        """
        self._say("knows no names: another probe takes its place")
        seen = self.evidence
        self.evidence = Evidence(esp=seen.esp, clear=seen.clear, watching=seen.watching, leaks=seen.leaks)
        stream.send("again")
        while not (self.evidence.address or self.evidence.error):
            self._read(time.monotonic() + self.task.start)
        self.evidence.offset = time.monotonic() - began
        self.remark = (
            f"its first container learnt no names, another did in its place after {self.evidence.offset:.0f} s"
        )
        if not self.evidence.error and self.evidence.address != self.address:
            what = "the other probe in its place has another address"
            self.fail(Problem("probe-failed", self.name, what, variant="again"))

    def end(self) -> None:
        """End it, and wait until nothing of it is left."""
        if self._stream is None:
            return
        try:
            with self._stream as stream:
                result = stream.finish(_END)
        except TransportError as error:
            self.remark = f"its probe may still be there for some minutes ({error.what})"
        else:
            self._last_leaks(result.stdout)
            told = _told(result.stderr)
            if result.code and told and self.evidence.seconds is not None:
                self.remark = told[0]

    def _last_leaks(self, said: str) -> None:
        """What its host has told of packets that left it, when the container had ended."""
        try:
            for line in said.split("\n"):
                if line.startswith("leaks "):
                    self.evidence.take(line)
        except ValueError as error:
            self._fail(str(error))

    def release(self) -> None:
        """Close its standard input, from any thread: it ends, and its container and image are removed."""
        self._released = True
        if self._stream:
            self._stream.close_stdin()

    # -- what they are made of ------------------------------------------------------------------------------------

    def _script(self) -> str:
        task = self.task
        inside = [str(task.subnet[place]) for place in (1, 2)] if task.subnet else []
        return render.script(
            "probe.sh.j2",
            run=task.run,
            name=self.container,
            suffix=self._suffix,
            network=task.network,
            address=self._address,
            alias=self.alias,
            forwards="yes" if task.outside else "",
            life=task.life,
            program=render.text("probe.pl" if task.subnet else "interfaces.pl"),
            publish=f"{self.publish}::{PORT}/udp" if self.publish else "",
            heal=render.text("heal.pl"),
            left=render.text("left.pl"),
            request=render.text("request.pl"),
            watchers=self._watchers(),
            arguments=[task.run, str(self.number), str(int(task.start) + 1), *inside],
        )

    def _watchers(self) -> list[tuple[str, list[str]]]:
        """Programs that look on the host itself at what the container's packets become, and their arguments."""
        task, found = self.task, []
        if carried := task.encrypted:
            found.append((render.text("esp.pl"), [str(carried.port), str(carried.vni), str(task.life)]))
        if walls := self.walls:
            found.append(
                (render.text("leaks.pl"), [task.run, str(PORT), ",".join(map(str, walls.tcp)), str(task.life)])
            )
        return found

    def _read(self, until: float) -> None:
        """Take one line. Raises TimedOut at the moment `until`; the end of the script is an error of the evidence."""
        assert self._stream is not None  # noqa: S101  only the two stages above call it
        line = self._stream.readline(max(until - time.monotonic(), 0.0))
        if line is None:
            self._ended(self._stream)
        else:
            try:
                self.evidence.take(line)
            except ValueError as error:
                self._fail(str(error))

    def _ended(self, stream: Stream) -> None:
        result = stream.finish(_END)
        what, cure = _told(result.stderr) or (_last_words(result.stderr) or f"exit code {result.code}", "")
        if not cure and _LOST_SANDBOX in what:
            self.fail(Problem("sandbox-lost", self.name, what))
        else:
            self._fail(what, cure)

    def _fail(self, what: str, cure: str = "") -> None:
        """For a reason that is not known any better. cure: what the host itself said to do."""
        self.fail(Problem("probe-failed", self.name, what, {"cure": cure}, "told" if cure else ""))

    def _lose(self, error: ProvisionerError) -> None:
        told, variant = {"cure": error.cure}, "told" if error.cure else "lost"
        self.fail(Problem("probe-failed", self.name, error.what, told, variant))

    def fail(self, problem: Problem) -> None:
        """Why there is no more evidence; of one that is not begun yet: why it is not to be."""
        self.evidence.error, self.evidence.problem = problem.evidence, replace(problem, network=self.network)
        self._say(f"its probe failed: {problem.evidence}")

    def _say(self, text: str) -> None:
        self._observer(self.name, text)


def _told(stderr: str) -> tuple[str, str] | None:
    """The first message of probe.sh.j2's own: what, and what to do next; with what docker said before."""
    before, found, rest = stderr.partition("provisioner: ")
    if not found:
        return None
    what, _, cure = rest.partition("\n")[0].partition("\t")
    words = _last_words(before)
    return f"{what} ({words})" if words else what, cure


def _last_words(stderr: str) -> str:
    """The last thing that docker said that is no warning, on one line."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip() and not line.startswith(_BESIDE)]
    return lines[-1].removeprefix("docker: ")[:300] if lines else ""


class Crew:
    """All probes, a thread for each. However the `with` block is left: no probe is left behind."""

    def __init__(self, probes: Sequence[Probe]) -> None:
        self._probes = probes
        self._pool = ThreadPoolExecutor(max_workers=max(len(probes), 1), thread_name_prefix="probe")
        self._work: list[Future[None]] = []

    def all(self, stage: Callable[[Probe], None]) -> None:
        """Do one stage of all probes, and wait for all. Raises what is a bug."""
        self._work = [self._pool.submit(stage, probe) for probe in self._probes]
        for work in self._work:
            work.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:  # Ctrl-C, or a bug
            for probe in self._probes:
                probe.release()
            wait(self._work, timeout=_INTERRUPTED)
        self._pool.shutdown(wait=False, cancel_futures=True)
