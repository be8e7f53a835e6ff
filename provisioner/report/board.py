"""The current state of every host, which the live view draws. Independent of terminals."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from provisioner.model import HostChanged, PhaseBegan, PhaseEnded, State
from provisioner.report import words

if TYPE_CHECKING:
    from collections.abc import Callable

    from provisioner.model import Event


@dataclass(slots=True)
class Row:
    """A host in its phase. began: when it entered the phase. took: seconds in the phase; None while it is in it."""

    host: str
    phase: str = ""
    text: str = ""
    state: State | None = None
    began: float = 0.0
    took: float | None = None


@dataclass(slots=True)
class Phase:
    """A running phase. number: counts phases from 1, in the order in which they began."""

    name: str
    title: str
    hosts: tuple[str, ...]
    number: int
    began: float
    states: dict[str, State] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Closed:
    """A phase that has ended, with the final state of each host and the first line of each error."""

    name: str
    hosts: tuple[str, ...]
    states: dict[str, State]
    errors: dict[str, str]
    seconds: float


class Board:
    """Collects events from any thread. Never calls other code while it holds its lock."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._rows: dict[str, Row] = {}
        self._open: dict[str, Phase] = {}
        self._begun = 0

    def take(self, event: Event) -> Closed | None:
        """Record an event. Return the phase that it closed, if any."""
        with self._lock:
            match event:
                case PhaseBegan():
                    self._begin(event)
                case HostChanged():
                    self._change(event)
                case PhaseEnded():
                    return self._end(event)
                case _:
                    pass
        return None

    def look(self) -> tuple[float, list[Phase], list[Row]]:
        """Return the time, the running phases and all rows, as a consistent copy."""
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
        default = State.SKIPPED if event.outcomes else State.SETTLED  # a host without outcome dropped out in the phase
        for host in dict.fromkeys((*hosts, *states)):
            self._close(host, event.name, states.get(host, default), errors.get(host, ""))
        return Closed(event.name, hosts, states, errors, event.seconds)

    def _close(self, host: str, phase: str, state: State, error: str) -> None:
        row = self._rows.setdefault(host, Row(host, phase, began=self._clock()))
        if row.phase != phase:  # the host has entered a later phase
            return
        row.took = self._clock() - row.began if row.took is None else row.took
        row.state = state
        row.text = error or row.text
