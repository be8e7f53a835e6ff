"""Where every host stands right now: what the live view shows. Knows nothing of terminals."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from provisioner.model import HostChanged, Notice, PhaseBegan, PhaseEnded, State
from provisioner.report import words

if TYPE_CHECKING:
    from collections.abc import Callable

    from provisioner.model import Event


@dataclass(slots=True)
class Row:
    """A host. `began`: when it entered its phase; `took`: how long it was in there, once it is through."""

    host: str
    phase: str = ""
    text: str = ""
    state: State | None = None
    began: float = 0.0
    took: float | None = None


@dataclass(slots=True)
class Phase:
    """A phase that runs. `number` counts from 1 in the order in which they began."""

    name: str
    title: str
    hosts: tuple[str, ...]
    number: int
    began: float
    states: dict[str, State] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Closed:
    """A phase that is over, with the state each host came to and the first line of what failed."""

    name: str
    hosts: tuple[str, ...]
    states: dict[str, State]
    errors: dict[str, str]
    seconds: float


class Board:
    """Takes events from any thread. Never calls out while it holds its lock."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._rows: dict[str, Row] = {}
        self._open: dict[str, Phase] = {}
        self._begun = 0

    def take(self, event: Event) -> Closed | None:
        """Take an event in; return the phase that it closed."""
        with self._lock:
            match event:
                case PhaseBegan():
                    self._begin(event)
                case HostChanged():
                    self._change(event)
                case PhaseEnded():
                    return self._end(event)
                case Notice():
                    pass
        return None

    def look(self) -> tuple[float, list[Phase], list[Row]]:
        """Return the time, the phases that run and all rows, as they are at this moment."""
        with self._lock:
            rows = [replace(row) for row in self._rows.values()]
            return self._clock(), [replace(phase, states=dict(phase.states)) for phase in self._open.values()], rows

    def _begin(self, event: PhaseBegan) -> None:
        self._begun += 1
        now = self._clock()
        self._open[event.name] = Phase(event.name, event.title, event.hosts, self._begun, now)
        for host in event.hosts:
            self._rows[host] = Row(host, event.name, began=now)

    def _change(self, event: HostChanged) -> None:
        row = self._rows.get(event.host)
        if row is None or row.phase != event.phase:
            row = self._rows[event.host] = Row(event.host, event.phase, began=self._clock())
        row.text = event.text or row.text
        row.state = event.state
        row.took = None if event.state is None else self._clock() - row.began
        phase = self._open.get(event.phase)
        if phase is not None and event.state is not None:
            phase.states[event.host] = event.state

    def _end(self, event: PhaseEnded) -> Closed:
        phase = self._open.pop(event.name, None)
        states = dict(phase.states) if phase else {}
        errors: dict[str, str] = {}
        for outcome in event.outcomes:
            states[outcome.host] = outcome.state
            if outcome.state is State.FAILED:
                errors[outcome.host] = words.first_line(outcome.error, outcome.host)
        hosts = phase.hosts if phase else tuple(states)
        untold = State.SKIPPED if event.outcomes else State.SETTLED  # no outcome: the host dropped out on the way
        for host in dict.fromkeys((*hosts, *states)):
            self._close(host, event.name, states.get(host, untold), errors.get(host, ""))
        return Closed(event.name, hosts, states, errors, event.seconds)

    def _close(self, host: str, phase: str, state: State, error: str) -> None:
        row = self._rows.setdefault(host, Row(host, phase, began=self._clock()))
        if row.phase != phase:  # the host is in a later phase already
            return
        row.took = self._clock() - row.began if row.took is None else row.took
        row.state = state
        row.text = error or row.text
