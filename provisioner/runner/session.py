"""The connections to the hosts: connects, reads facts, takes locks. A host that stops answering drops out."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING

from provisioner import controlplane, stores
from provisioner.errors import Malformed, ProvisionerError, StepFailed, Unreachable
from provisioner.model import Failure, HostChanged, Notice, Outcome, PhaseBegan, PhaseEnded, SecretsKnown, State
from provisioner.parallel import bounded, each
from provisioner.system import facts as system_facts
from provisioner.system import firewall, networks, plugins, reading
from provisioner.transport import NO_SECRETS, Reader, Secrets, Together, connect_all
from provisioner.transport.text import public

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from concurrent.futures import Future

    from provisioner.inventory import Inventory
    from provisioner.model import Event, Observer, Result
    from provisioner.system.facts import Facts
    from provisioner.system.owned import Owned
    from provisioner.system.request import Request
    from provisioner.transport import Connection
    from provisioner.transport.deadline import Deadline

_READING = 60.0  # seconds to read one host's facts
_LEAST, _LEAST_AGAIN = 15.0, 10.0  # seconds that a host gets in any case, for the first and for later readings
_BRIEF = 2  # seconds for an answer of an engine or a store that was late at the last reading
_ENOUGH = 2  # late readings in a row, after which the host is not read again
_FRESH = 1.0  # seconds before the last host is connected, from which on facts are new enough


@dataclass(frozen=True)
class _Reading:
    """One reading of hosts. scripts: by the limit of seconds for each answer. See `Session.read`."""

    session: Session
    scripts: Mapping[int, str]
    known: Mapping[str, Facts]
    through: tuple[Request, ...]
    together: Together

    def one(self, name: str) -> Facts:
        script = self.scripts[self.session.limit(name)]
        found = self.session.read_one(name, script, self.known.get(name), self.through, self.together.deadline())
        self.together.ended()
        return found


@dataclass
class Session:
    """One connection to each host for a whole run.

    lost: host -> why it dropped out.
    answering: the lost hosts that are up: they refused the login, or sent malformed answers.
    late: host -> number of last readings in a row in which its engine or its store did not answer in time.
    patient: whether the run changes hosts. If so, late engines and stores get the full time, since a change may help.
    requests: additional requests to the engines and the store, sent with each reading.
    modules: kernel modules to look for on nodes of a swarm, by modprobe's names.
    everything: what runs may have left on hosts, to be read with the facts; for `remove` and `down`.
    secrets: the passwords and passphrases that a person typed.
    known: the secrets that the run knows so far. Observers that write a log leave them out.
    """

    inventory: Inventory
    observer: Observer
    requests: tuple[Request, ...] = ()
    modules: tuple[str, ...] = ()
    everything: Owned | None = None
    secrets: Secrets = NO_SECRETS
    connections: dict[str, Connection] = field(default_factory=dict)
    lost: dict[str, Failure] = field(default_factory=dict)
    answering: set[str] = field(default_factory=set)
    late: dict[str, int] = field(default_factory=dict)
    patient: bool = False
    known: SecretsKnown = field(default_factory=SecretsKnown)
    _begun: dict[str, Future[Facts]] = field(default_factory=dict, repr=False)  # readings that `connect` has begun
    _lock: Lock = field(default_factory=Lock, repr=False)

    def __post_init__(self) -> None:
        self.hide(values=(*self.inventory.hidden, *_of_plugins(self.inventory), *self.secrets.texts))

    def connect(self, names: Iterable[str] = ()) -> None:
        """Connects to these hosts, by default all of the inventory. Unreachable ones drop out.

        The facts of a host are requested as soon as it is connected, and the next `read` returns them. If others take long to connect,
        hosts are read again then, except for those whose engine or store was late.
        """
        names = tuple(names) or tuple(self.inventory.hosts)
        began = time.monotonic()
        self.emit(PhaseBegan("connect", "Connect", names))
        first = self._reading(names)
        pool = ThreadPoolExecutor(len(names), thread_name_prefix="host")
        since: dict[str, float] = {}  # host -> when its reading began

        def begin(connection: Connection) -> None:
            since[connection.name] = time.monotonic()
            self.connections[connection.name] = connection  # `close` needs it, also if the run is interrupted now
            self._begun[connection.name] = pool.submit(first.one, connection.name)

        try:
            found = connect_all(
                [self.inventory.target(name) for name in names],
                on_change=partial(self.progress, "connect"),
                on_connected=begin,
                on_command=self.emit,
                secrets=self.secrets,
            )
        finally:
            pool.shutdown(wait=False)
        connected: dict[str, Connection] = {}  # in the order of the inventory
        for name, connection in found.items():
            if isinstance(connection, ProvisionerError):
                self.lose(name, connection)
            else:
                connected[name] = connection
        others = {name: connection for name, connection in self.connections.items() if name not in connected}
        self.connections = others | connected
        first.together.among(len(connected))
        old = {name for name, at in since.items() if at < time.monotonic() - _FRESH and self._begun[name].done()}
        self._begun = {name: begun for name, begun in self._begun.items() if name not in old or self.late.get(name)}
        outcomes = [Outcome(name, "connect", State.SETTLED) for name in names]
        outcomes = [o.failed(self.lost[o.host]) if o.host in self.lost else o for o in outcomes]
        self.emit(PhaseEnded("connect", tuple(outcomes), time.monotonic() - began))

    def read(
        self,
        names: Iterable[str],
        only: tuple[str, ...] = reading.ALL,
        known: Mapping[str, Facts] | None = None,
        requests: tuple[Request, ...] = (),
    ) -> dict[str, Facts]:
        """Reads the facts of each host in one round trip. Hosts that do not answer drop out.

        In a run that changes nothing, late engines and stores get less time for the next reading. If they are late
        again, their hosts are not read any more.
        only: the sections to read. known: earlier facts, which the new ones update. requests: replaces `self.requests`.
        """
        begun = {name: self._begun.pop(name) for name in names if name in self._begun}
        names = [name for name in names if self.patient or self.late.get(name, 0) < _ENOUGH]
        now = self._reading([name for name in names if name not in begun], only, known, requests)
        answers = each(names, lambda name: begun[name].result() if name in begun else now.one(name))
        facts = {}
        for name, answer in answers.items():
            if isinstance(answer, ProvisionerError):
                self.lose(name, answer)
            else:
                facts[name] = answer
        return facts

    def _reading(
        self,
        names: Collection[str],
        only: tuple[str, ...] = reading.ALL,
        known: Mapping[str, Facts] | None = None,
        requests: tuple[Request, ...] = (),
    ) -> _Reading:
        """Prepares a reading of these hosts; see `read`."""
        known = known or {}
        all_ = requests or self.requests
        direct, through = (tuple(each for each in all_ if each.through is value) for value in (False, True))
        script = partial(self.script, only, direct) if direct or only != reading.ASKED else None
        through = through if {"http", *reading.ASKED} & set(only) else ()
        scripts = {limit: script(limit) if script else "" for limit in {self.limit(name) for name in names}}
        together = Together(len(names), _READING, _LEAST_AGAIN if known else _LEAST)
        return _Reading(self, scripts, known, through, together)

    def limit(self, name: str) -> int:
        """Seconds for each answer of the host's engine and store; 0: the default."""
        return _BRIEF if self.late.get(name) and not self.patient else 0

    def read_one(
        self, name: str, script: str, before: Facts | None, through: tuple[Request, ...], deadline: Deadline
    ) -> Facts:
        facts, began = before, time.time()
        if script or not facts:
            result = self.connections[name].read(script, deadline=deadline)
            self.late[name] = self.late.get(name, 0) + 1 if system_facts.TOO_LATE in result.raw else 0
            facts = self.parsed(name, result, before, None if before else (began, time.time()))
        if not through:
            return facts
        answers = stores.of(self.inventory.the_store).ask(Reader(self.connections[name]), through)
        return _understood(name, facts.answered(answers))

    def parsed(
        self, name: str, result: Result, before: Facts | None, between: tuple[float, float] | None = None
    ) -> Facts:
        """Parses the facts in a script's answer. Raises StepFailed, Malformed.

        before: earlier facts, which the new ones update. between: the controller's time before and after the script.
        """
        try:
            facts = system_facts.parse(result.raw, before, between)
        except ValueError as error:
            raise StepFailed(
                f"the facts can't be read: {error}",
                cause="malformed-answer",
                host=name,
                answer=public(result.stdout)[-300:],
                cure="check that the host's /bin/sh works, and that its disk and memory are not full",
            ) from error
        sought = controlplane.sought(self.inventory)
        facts = _understood(name, replace(facts, shapes=sought.shapes, foreign=sought.foreign))
        self.hide(texts=facts.secrets.values())
        return facts

    def script(self, only: tuple[str, ...], requests: tuple[Request, ...] = (), limit: int = 0) -> str:
        """The script that reads these sections of the facts, and sends requests that the host itself can send.

        limit: seconds for each answer of the engine and the store; 0: the default.
        """
        direct = [request for request in requests or self.requests if not request.through]
        sections = (*only, "owned") if self.everything and set(reading.ALL) <= set(only) else only
        return reading.script(
            controlplane.sought(self.inventory),
            sections,
            direct,
            self._kernel,
            plugins.files(self.inventory),
            of_nodes=self.modules,
            everything=self.everything,
            limit=limit,
        )

    @property
    def _kernel(self) -> list[str]:
        return sorted(
            {needed for network in self.inventory.networks.values() for needed in networks.of_kernel(network)}
        )

    def lock(self, names: Iterable[str], owner: str) -> list[Failure]:
        """Takes the lock of every host. Returns the errors of those that are not available.

        Every run takes the same host's lock first. Otherwise two runs that start together could each hold some of the
        locks, and neither could continue.
        """
        self.patient = True
        first, *others = sorted(names, key=lambda name: self.inventory.hosts[name].address)
        for batch in ([first], others):
            answers = each(batch, lambda name: self.connections[name].lock(owner))
            if errors := [Failure.of(answer) for answer in answers.values() if isinstance(answer, ProvisionerError)]:
                return errors
        return []

    def close(self) -> None:
        """Closes the connections, which also releases the locks."""
        each(self.connections, lambda name: self.connections[name].close())

    @property
    def writes(self) -> int:
        return sum(connection.writes for connection in self.connections.values())

    def lose(self, name: str, error: ProvisionerError) -> None:
        self.lost[name] = Failure.of(error)
        self.answering |= set() if isinstance(error, Unreachable) else {name}
        self.emit(HostChanged(name, "", error.what, State.FAILED))

    def notice(self, *texts: str) -> None:
        for text in texts:
            self.emit(Notice(text))

    def hide(self, values: Iterable[str] = (), texts: Iterable[str] = ()) -> None:
        """Make secrets known. values: secret values. texts: of secret files."""
        with self._lock:
            before = self.known
            self.known = SecretsKnown(before.values.union(values), before.texts.union(texts))
            if self.known != before:
                self.emit(self.known)

    def emit(self, event: Event) -> None:
        self.observer.event(event)

    def progress(self, phase: str, host: str, text: str) -> None:
        self.emit(HostChanged(host, phase, text))


def _of_plugins(inventory: Inventory) -> Iterable[str]:
    """The settings of the inventory's plugins that are probably secrets."""
    settings = [
        f"{name}={value}" for each in inventory.plugins.values() for name, value in (each.settings or {}).items()
    ]
    if not settings:
        return ()
    from provisioner.collect.scrub import of_environment  # imported only if needed

    return of_environment(settings)


def _understood(name: str, facts: Facts) -> Facts:
    try:
        return bounded("reading its facts", lambda _: firewall.understood(facts.understood()))(name)
    except Malformed as error:
        error.host, error.tried = name, "reading its facts"
        raise
