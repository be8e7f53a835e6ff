"""The controller's side of a probe, from its start to its end, and of all probes in parallel."""

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
from provisioner.errors import ProvisionerError, TimedOut, TransportError, Unreachable
from provisioner.model import Problem
from provisioner.proofs import flows
from provisioner.proofs.evidence import FACTS, Evidence
from provisioner.system.attached import PROBE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Future
    from ipaddress import IPv4Address, IPv4Network, IPv6Address

    from provisioner.controlplane import Site
    from provisioner.proofs.watched import Carried, Walls
    from provisioner.transport import Connection, Stream

PORT = 7777  # as in probe.pl
_ASKED = 40.0  # seconds for the engine to report a published port
_PATIENCE = 15  # seconds for the engine to answer before its probe is started
_BRIEF = 3  # the same, if the engine was silent when it was last read
# Seconds after which a probe that has not started checks whether its host and engine answer, for a few probes, and for each more.
_CHECKED, _CHECKED_EACH = 6.0, 0.25
_ANSWER = 4  # seconds for the engine's answer in this check
_SILENT = 3  # the number of such checks in a row without an answer after which the probe fails
_LATE = 10.0  # seconds after the deadline in which a probe may still report
_HURRIED = 4.0  # seconds after `enough` in which a probe may still report
_WATCHER = 3.0  # seconds after a probe's end in which its host may still report watched packets
_ANY = range(256)  # exit codes
_SHORTEST = 10.0  # seconds: the minimum for a replacement probe
_GLANCE = 0.5  # seconds between two checks of `enough`
_END = 20.0  # seconds for a container and its image to be removed
_END_SILENT = 1.0  # the same, if the host or its engine is silent, or if the container does not start
_INTERRUPTED = 5.0  # seconds that Ctrl-C waits for this removal
_BEYOND = 2  # other hosts that a probe tries to reach from an internal network
_LABEL = 63  # characters: the longest label in DNS
# Observed: an engine 20.10 was killed (power cut, SIGKILL) with a container on the network. At its next start, it looks for the
# old namespace, and remembers that it is missing. One more start without the container fixes it. The second text: an engine 20.10
# runs, and somebody unmounted the namespace.
_LOST_SANDBOX = ("could not get network sandbox", "failed get network namespace")
_NO_NAME = 'failed get network namespace ""'  # 20.10: of a container that is gone
_LAST = ("leaks ", "gap ", "quiet ", "cut ", "checksums ")  # lines that count after the probe's end, too
# Lines that the docker client logs before or after an error (docker/cli#5043). They are never the cause.
_NOISE = ("WARNING", "See '", "Run 'docker run --help'", "time=")  # with the hints of 20.10 and 28
_HEAD, _TAIL = 140, 160  # characters that are shown of a long message: what failed, and at its end why


@dataclass(frozen=True)
class Outside:
    """A name that only an external resolver knows, and the resolvers to which the engine must forward the query.

    kind: the expected answer: an "address", or any "answer", including that the name does not exist.
    """

    name: str
    kind: str
    resolvers: tuple[str, ...]


@dataclass(frozen=True)
class Task:
    """What all probes of a network have in common.

    run: hexadecimal digits that are unique to this proof. deadline, start: seconds, see `overlay.prove`.
    subnet: None if the container only reports its interfaces. outside: the external name to query, if any.
    chosen: the controller chooses the probes' addresses, not the engine. names: the network has a DNS server.
    beyond: host -> address and port that must be out of reach; each probe tries those of other hosts.
    encrypted: how to recognise the network's packets, if they must be encrypted.
    walls: ports for which no packet of a container may leave its host; None: not tried.
    facts: what each probe must see of every other one of its network; (): it contacts none.
    apart: the probe tries to reach probes of other networks, which must fail.
    flows: the probes hold connections and send data to some others (flows.py). hold: for at least so many seconds.
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
    flows: bool = False
    hold: float = 0.0

    @property
    def life(self) -> int:
        """Seconds after which even a hanging docker command has ended."""
        return int(2 * self.start + self.deadline) + 60


@dataclass(frozen=True)
class Peer:
    """Another probe that a probe must reach, at its own address or through its published port."""

    probe: Probe
    facts: tuple[str, ...] = FACTS
    published: bool = False

    @property
    def order(self) -> str:
        probe = self.probe
        addresses = ",".join(str(each) for each in (probe.address, probe.six) if each)
        where = f"{probe.publish} {probe.port}" if self.published else f"{addresses} {PORT}"
        facts = f" {','.join(self.facts)}" if self.facts != FACTS or self.published else ""
        where = where if facts else str(probe.address)
        return f"peer {probe.number} {probe.container} {probe.alias or '-'} {where}{facts}"


def patience(site: Site, name: str) -> int:
    """Seconds for an engine to answer before its probe is started: few, if it gave no answer when it was last read."""
    facts = site.facts.get(name)
    silent = facts and (not facts.engine or facts.http("networks").late)
    return _BRIEF if silent else _PATIENCE


class Probe:
    """The probe on one host. `evidence` has what it reported, or why it did not; `remark` is for the report.

    number: its position among the probes of this proof, from 1. place: the host's position in the inventory, from 0.
    tag: distinguishes two probes on one host. publish: the host's address at which to publish the probe's port; the engine
    chooses `port`. patience: seconds for the engine to answer before the probe is started. among: the number of probes that start. address, six: the probe's
    addresses once it has started; a replacement has the same.
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
        patience: int = _PATIENCE,
        among: int = 1,
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
        self.enough = Event()  # set: the probe must stop waiting for what it has not seen yet
        self.patience = patience
        self._checked = _CHECKED + _CHECKED_EACH * among
        self._silent = 0  # checks in a row that neither the host nor the engine answered
        self._given_up = False  # before its container started

    @property
    def _suffix(self) -> str:
        # Long host names are cut; the number keeps them unique.
        room = _LABEL - len(f"{PROBE}{self.task.run}-")
        whole = self.name + self._tag
        return whole if len(whole) <= room else f"{self.name[: room - 5].rstrip('-')}-{self.number}"

    @property
    def container(self) -> str:
        """The container's name, which DNS on this network resolves."""
        return f"{PROBE}{self.task.run}-{self._suffix}"

    @property
    def walls(self) -> Walls | None:
        return self.task.walls

    @property
    def alias(self) -> str:
        """A second DNS name of the container, which is no container's own name."""
        return f"provisioner-alias-{self.task.run}-{self._suffix}" if self.task.names else ""

    @property
    def _address(self) -> str:
        """A fixed address for each host from the subnet's upper end, or "" if the engine must choose one.

        An engine in kv mode that asks its peers for an address keeps the answer. It keeps sending there after the address
        has moved to another host, until it restarts: observed with 20.10 after several proofs in a row. A fixed address
        also prevents two containers with one address, if an engine releases an unused address twice.
        """
        subnet = self.task.subnet
        if subnet is None or not self.task.chosen:
            return ""
        spare = subnet.num_addresses // 2
        return str(subnet[-2 - self._place]) if self._place < spare - 1 else ""

    # -- the three stages; each runs in its own thread, and records failures in `evidence` ------------------------

    def begin(self) -> None:
        """Start the probe, and wait until it reports its address. Does nothing if the probe has already failed."""
        if self.evidence.error:
            return
        self._say("starting its probe")
        began = time.monotonic()
        until = began + self.task.start
        try:
            self._stream = self._opened()
            if self._released:
                self._stream.close_stdin()
            check = time.monotonic() + self._checked
            while not (self.evidence.address or self.evidence.interfaces or self.evidence.error):
                self._read_some(until)
                if self.enough.is_set() and not self.evidence.address:
                    self._given_up = True
                    self._fail(
                        f"it has not started after {time.monotonic() - began:.0f} seconds, and waiting longer can't help"
                    )
                elif time.monotonic() > check:
                    check = time.monotonic() + (0.0 if self._check() else self._checked)
            self.address, self.six = self.evidence.address, self.evidence.six
            if self.publish and not self.evidence.error:
                self.port = self._published()
        except TimedOut:
            self._fail(f"it did not start within {self.task.start:g} seconds")
        except ProvisionerError as error:
            self._lose(error)
        if self.evidence.address and not self.evidence.error:
            self._say(f"has a probe at {self.evidence.address}, MTU {self.evidence.mtu}")

    def _opened(self) -> Stream:
        """Start the script. Raises ProvisionerError."""
        try:
            return self._connection.stream(self._script())
        except TimedOut as error:
            raise Unreachable("the host has stopped answering", host=self.name) from error

    def _check(self) -> bool:
        """Ask whether host and engine answer. Returns whether they are silent; after `_SILENT` times the probe fails."""
        path = shlex.quote(f"/networks/{self.network}")
        script = f"# asking the engine\nperl -e {shlex.quote(render.text('request.pl'))} {_ANSWER} GET {path}"
        try:
            said = self._connection.read(script, deadline=_ANSWER + 1, accept=_ANY).stdout
            silent = "the engine" if said.endswith("no answer in time\n") else ""
        except TimedOut:
            silent = "the host"
        self._silent = self._silent + 1 if silent else 0
        if self._silent >= _SILENT:
            self._fail(f"{silent} has stopped answering while the probe started")
        return bool(silent)

    def _published(self) -> int:
        """Return the host's port that the engine chose. Raises ProvisionerError."""
        script = f"# reading the probe's published port\ntimeout -k 5 30 docker port {shlex.quote(self.container)} {PORT}/udp"
        said = self._connection.read(script, deadline=_ASKED).stdout.split()
        number = said[0].rpartition(":")[2] if said else ""
        if not re.fullmatch("[0-9]{1,5}", number):
            raise ProvisionerError(
                "the engine published no port of its probe",
                cause="probe-failed",
                cure="see the engine's log: journalctl -u docker",
            )
        return int(number)

    def go(self, ready: Sequence[Probe]) -> None:
        """Send the probe all others that are ready. Wait until it has reached those of its network, or the deadline."""
        facts = self.task.facts
        self.strangers = self._strangers([probe for probe in ready if probe.network != self.network])
        self.reach([Peer(peer, facts) for peer in ready if facts and peer is not self and peer.network == self.network])

    def reach(self, others: Sequence[Peer]) -> None:
        """Send the probe these peers. Wait until it has reached them, or the deadline."""
        if self.evidence.error or not self._stream:
            return
        began = time.monotonic()
        try:
            self._send_out(self._stream, others, began)
            if self.evidence.nameless:
                self._replace(self._stream, began)
                self._send_out(self._stream, others, began)
        except TimedOut:
            self._silent = _SILENT
            self.fail(Problem("probe-failed", self.name, "it no longer reports", variant="load"))
        except ProvisionerError as error:
            self._lose(error)

    def _send_out(self, stream: Stream, others: Sequence[Peer], began: float) -> None:
        """Send the orders. Read until everything is known, or until the probe reports that its container knows no names."""
        if self.evidence.error:
            return
        left, offset = self.task.deadline, self.evidence.offset
        left = max(left - offset, _SHORTEST) if offset else left
        orders = [peer.order for peer in others]
        orders += self._flows([peer.probe.number for peer in others])
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
        shown, hurried, until = -1, False, began + self.task.deadline + _SHORTEST + _LATE
        while self.evidence.seconds is None and not self.evidence.error:
            if self.enough.is_set() and not hurried:
                hurried, until = True, min(until, time.monotonic() + _HURRIED)
                stream.send("enough")
            self._read_some(until)
            reached = sum(self.evidence.proven(peer.probe.number, peer.facts) for peer in others)
            if others and reached != shown:
                self._say(f"reached {reached} of {len(others)} {self._others}")
                if reached == len(others) and self.task.flows and self.task.hold:
                    self._say(f"holds connections for {self.task.hold:g} s")
            shown = reached
            if self.evidence.nameless and not self.evidence.offset:
                return
        if carried := self.task.encrypted:
            wanted = carried.of([peer.probe.name for peer in others])
            with suppress(TimedOut):
                until = time.monotonic() + _WATCHER
                while not (wanted <= self.evidence.esp or self.evidence.error):
                    self._read(until)

    def _flows(self, others: Sequence[int]) -> list[str]:
        """Return the orders for connections to some of the other probes, or if they are held, to all."""
        to = flows.targets(self.number, others) if self.task.flows else []
        orders = [f"flow {' '.join(map(str, to))}"] if to else []
        if not (to and self.task.hold):
            return orders
        also = flows.watched(self.number, others)
        orders += [f"watch {' '.join(map(str, also))}"] if also else []
        return [*orders, f"hold {self.task.hold:g}"]

    def _read_some(self, until: float) -> None:
        """Read a line if one arrives soon, so that `enough` is noticed in time. Raises TimedOut at the time `until`."""
        soon = min(until, time.monotonic() + _GLANCE)
        try:
            self._read(soon)
        except TimedOut:
            if time.monotonic() >= until:
                raise

    def _strangers(self, probes: Sequence[Probe]) -> list[Probe]:
        """Return, for each other network, the probe on this host and the one on the next host."""
        found = []
        for network in dict.fromkeys(probe.network for probe in probes if self.task.apart):
            of_it = sorted((probe for probe in probes if probe.network == network), key=lambda probe: probe.number)
            later = [probe for probe in of_it if probe.number > self.number] or of_it
            here = [probe for probe in of_it if probe.number == self.number]
            found += [*here, *(probe for probe in later[:1] if probe not in here)]
        return found

    def as_stranger(self, number: int) -> str:
        """Return the order that introduces this probe to one of another network. number: its index in `strangers` there."""
        return f"stranger {number} {self.container} {self.address} {self.task.run} {self.number}"

    def _replace(self, stream: Stream, began: float) -> None:
        """Replace the container. An engine can lose the store for a single container.

        Observed with engine 20.10 in kv mode: occasionally one of its calls to the store fails although the store answers.
        The engine does not repeat the call. The container then never learns names, or does not start.
        """
        self._say("knows no names: replacing its probe")
        seen = self.evidence
        self.evidence = Evidence(esp=seen.esp, clear=seen.clear, watching=seen.watching, leaks=seen.leaks)
        stream.send("again")
        while not (self.evidence.address or self.evidence.error):
            self._read(time.monotonic() + self.task.start)
        self.evidence.offset = time.monotonic() - began
        self.remark = f"its first container learned no names; a replacement did after {self.evidence.offset:.0f} s"
        if not self.evidence.error and self.evidence.address != self.address:
            what = "the replacement of its probe has another address"
            self.fail(Problem("probe-failed", self.name, what, variant="again"))

    def end(self) -> None:
        """End the probe, and wait until its container and image are removed."""
        if self._stream is None:
            return
        try:
            with self._stream as stream:
                result = stream.finish(_END_SILENT if self._silent or self._given_up else _END)
        except TransportError as error:
            self.remark = f"its probe may remain on the host for some minutes ({error.what})"
        else:
            self._take_last(result.stdout)
            message = _message(result.stderr)
            if result.code and message and self.evidence.seconds is not None:
                self.remark = message[0]

    def _take_last(self, said: str) -> None:
        """Parse what the probe reported about its connections at its end, and its host about leaked packets after that."""
        try:
            for line in said.split("\n"):
                if line.startswith(_LAST):
                    self.evidence.take(line)
        except ValueError as error:
            self._fail(str(error))

    def release(self) -> None:
        """Close the probe's standard input, from any thread. The probe ends, and removes its container and image."""
        self._released = True
        if self._stream:
            self._stream.close_stdin()

    # -- helpers of the stages ------------------------------------------------------------------------------------

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
            patience=self.patience,
            needed=f"/networks/{task.network}{' /info' * (self.patience == _BRIEF)}",  # /info needs containerd, too
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
        """Return the programs that watch the container's packets on the host itself, with their arguments."""
        task, found = self.task, []
        if carried := task.encrypted:
            found.append((render.text("esp.pl"), [str(carried.port), str(carried.vni), str(task.life)]))
        if walls := self.walls:
            found.append(
                (render.text("leaks.pl"), [task.run, str(PORT), ",".join(map(str, walls.tcp)), str(task.life)])
            )
        return found

    def _read(self, until: float) -> None:
        """Read one line. Raises TimedOut at the monotonic time `until`. The end of the script is an error in `evidence`."""
        assert self._stream is not None  # noqa: S101  only the stages above call it
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
        what, cure = _message(result.stderr) or (_last_words(result.stderr) or f"exit code {result.code}", "")
        if not cure and any(text in what for text in _LOST_SANDBOX):
            variant = "kept" if _NO_NAME in what else ""
            self.fail(Problem("sandbox-lost", self.name, what, {"host": self.name}, variant))
        else:
            self._fail(what, cure)

    def _fail(self, what: str, cure: str = "") -> None:
        """Fail for a reason without a specific cause. cure: the host's own advice."""
        self.fail(Problem("probe-failed", self.name, what, {"cure": cure}, "told" if cure else ""))

    def _lose(self, error: ProvisionerError) -> None:
        values, variant = {"cure": error.cure}, "told" if error.cure else "lost"
        self.fail(Problem("probe-failed", self.name, error.what, values, variant))

    def fail(self, problem: Problem) -> None:
        """Record why there is no more evidence. A probe that has not started yet will not start."""
        self.evidence.error, self.evidence.problem = problem.evidence, replace(problem, network=self.network)
        self._say(f"its probe failed: {problem.evidence}")

    def _say(self, text: str) -> None:
        self._observer(self.name, text)


def _message(stderr: str) -> tuple[str, str] | None:
    """Return the first message of probe.sh.j2: what happened, with docker's preceding output, and what to do next."""
    before, found, rest = stderr.partition("provisioner: ")
    if not found:
        return None
    what, _, cure = rest.partition("\n")[0].partition("\t")
    words = _last_words(before)
    return f"{what} ({words})" if words else what, cure


def _last_words(stderr: str) -> str:
    """Return docker's last line that is not a warning, without a trace that follows in it, and without its middle if it is long."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip() and not line.startswith(_NOISE)]
    line = lines[-1].removeprefix("docker: ").split(r"\n")[0] if lines else ""
    return line if len(line) <= _HEAD + _TAIL else f"{line[:_HEAD]} ... {line[-_TAIL:]}"


class Crew:
    """All probes, with a thread for each. No probe remains after the `with` block, however it ends."""

    def __init__(self, probes: Sequence[Probe]) -> None:
        self._probes = probes
        self._pool = ThreadPoolExecutor(max_workers=max(len(probes), 1), thread_name_prefix="probe")
        self._work: list[Future[None]] = []

    def all(self, stage: Callable[[Probe], None]) -> None:
        """Run one stage of all probes, and wait for them. An exception is a bug and propagates."""
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
