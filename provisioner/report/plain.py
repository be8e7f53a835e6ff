"""Progress as plain lines: for logs, pipes and simple terminals. No control characters, no rich."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Protocol

from provisioner.model import (
    Asking,
    CommandBegan,
    CommandEnded,
    HostChanged,
    Notice,
    PhaseBegan,
    PhaseEnded,
    SecretsKnown,
    State,
)
from provisioner.report import words

if TYPE_CHECKING:
    from collections.abc import Callable

    from provisioner.model import Event, Outcome

COMMANDS, EVERYTHING = 2, 3  # levels of `verbose`


class Output(Protocol):
    """What receives the lines. Its methods must not raise."""

    def write(self, text: str, /) -> int: ...
    def flush(self) -> None: ...


class PlainObserver:
    """Prints one line per change of state. Without `verbose`, settled hosts share a line at the end of their phase.

    verbose: COMMANDS shows each command that has ended, too, and EVERYTHING also each one that begins.
    """

    def __init__(self, stream: Output, *, verbose: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._verbose = verbose
        self._clock = clock
        self._lock = threading.Lock()
        self._open: dict[str, _Phase] = {}
        self._told: dict[str, str] = {}  # host -> what was printed about it last

    def event(self, event: Event) -> None:
        with self._lock:
            lines = self._lines(event)
            for line in lines:
                self._stream.write(f"{line}\n")
            if lines:
                self._stream.flush()

    def close(self, *, stopped: bool) -> None:
        """End the output. stopped: print what was still running."""
        with self._lock:
            for name, phase in self._open.items() if stopped else ():
                took = words.seconds(self._clock() - phase.began)
                busy = [host for host in phase.hosts if host not in phase.reported]
                self._stream.write(f"{words.line(name)}  stopped after {took}  busy: {words.some(busy) or 'none'}\n")
            self._open.clear()
            self._stream.flush()

    def _lines(self, event: Event) -> list[str]:
        match event:
            case PhaseBegan():
                self._open[event.name] = _Phase(event.hosts, self._clock())
                if not self._verbose:
                    return []
                hosts = words.count(len(event.hosts), "host")
                return [f"{words.line(event.name)}  begins  {words.line(event.title)}  ({hosts})"]
            case HostChanged():
                return self._changed(event)
            case PhaseEnded():
                return self._ended(event)
            case Notice():
                return [words.line(event.text)]
            case CommandBegan():
                begins = f"command  {words.line(event.host)}  begins  {words.line(event.name)}"
                return [begins] if self._verbose >= EVERYTHING else []
            case CommandEnded():
                return [words.command(event)] if self._verbose >= COMMANDS else []
            case Asking() | SecretsKnown():
                return []

    def _changed(self, event: HostChanged) -> list[str]:
        phase = self._open.setdefault(event.phase, _Phase((event.host,), self._clock()))
        text = words.line(event.text)
        if event.state is None:
            if not text or phase.texts.get(event.host) == text:
                return []
            phase.texts[event.host] = self._told[event.host] = text
            return [f"{words.line(event.phase)}  {phase.pad(event.host)}  {text}"]
        if event.state is State.SETTLED and not self._verbose:
            return []
        if not event.phase and self._told.get(event.host) == text:
            return []  # the host dropped out, and its phase has said why
        took = self._clock() - phase.began
        return phase.report(event.phase, event.host, event.state, took, self._new(event.host, event.state, text))

    def _ended(self, event: PhaseEnded) -> list[str]:
        hosts = tuple(outcome.host for outcome in event.outcomes)
        phase = self._open.pop(event.name, None) or _Phase(hosts, self._clock())
        lines: list[str] = []
        settled: list[str] = []
        for outcome in event.outcomes:
            if outcome.state is State.SETTLED and not self._verbose:
                settled.append(outcome.host)
            else:
                why = self._new(outcome.host, outcome.state, _why(outcome))
                lines += phase.report(event.name, outcome.host, outcome.state, outcome.seconds, why)
        if settled:
            names = words.hosts(settled, phase.hosts)
            lines.append(f"{words.line(event.name)}  {names}  settled  {words.seconds(event.seconds)}")
        return lines

    def _new(self, host: str, state: State, why: str) -> str:
        """The reason; "" for a failure if it is the last that was printed about this host."""
        if state is State.FAILED and self._told.get(host) == why:
            return ""
        self._told[host] = why
        return why


def _why(outcome: Outcome) -> str:
    return words.first_line(outcome.error, outcome.host) if outcome.error else words.line(outcome.reason)


class _Phase:
    """A running phase, with what was already printed about it."""

    def __init__(self, hosts: tuple[str, ...], began: float) -> None:
        self.hosts = hosts
        self.began = began
        self.texts: dict[str, str] = {}
        self.reported: dict[str, State] = {}
        self._width = max((len(words.line(host)) for host in hosts), default=0)

    def pad(self, host: str) -> str:
        return words.line(host).ljust(self._width)

    def report(self, name: str, host: str, state: State, took: float, why: str) -> list[str]:
        if self.reported.get(host) is state:
            return []
        self.reported[host] = state
        line = f"{words.line(name)}  {self.pad(host)}  {state.value:<9}  {words.seconds(took)}"
        return [f"{line}  {why}".rstrip()]
