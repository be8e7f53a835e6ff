"""Output of a run for people and programs: its progress (`observer`) and its report (`show`, `to_json`)."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from importlib import import_module
from threading import Thread
from typing import TYPE_CHECKING, TextIO

from provisioner.report.stream import SafeStream, is_lively

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provisioner.model import Event, Observer, Report
    from provisioner.report.live import LiveObserver
    from provisioner.report.plain import PlainObserver

_PEOPLE = "provisioner.report.people"  # rich takes a while to import: meanwhile, the run waits for its hosts

__all__ = ["observer", "show", "to_json"]


@contextmanager
def observer(
    *,
    json: bool = False,
    stream: TextIO | None = None,
    color: bool | None = None,
    verbose: int = 0,
    log: Observer | None = None,
) -> Iterator[Observer]:
    """Show progress while the block runs: a row for each host on a terminal, plain lines elsewhere.

    stream: standard error by default. With `json`, progress never goes to standard output, which gets the document.
    color: None decides by the terminal and NO_COLOR. An exception propagates, after the terminal is restored.
    verbose: 1 also shows what is settled, and 2 each command on a host. log: gets all events, too.
    """
    shown_on = sys.stderr if stream is None or (json and stream is sys.stdout) else stream
    watcher = _watcher(shown_on, color=color, verbose=verbose)
    stopped = True
    Thread(target=import_module, args=(_PEOPLE,), daemon=True).start()
    try:
        yield _Both(watcher, log) if log else watcher
        stopped = False
    finally:
        watcher.close(stopped=stopped)


class _Both:
    """Passes events on to two observers."""

    def __init__(self, first: Observer, second: Observer) -> None:
        self._observers = first, second

    def event(self, event: Event) -> None:
        for observer in self._observers:
            observer.event(event)


def _watcher(stream: TextIO, *, color: bool | None, verbose: int) -> LiveObserver | PlainObserver:
    if is_lively(stream):
        from provisioner.report import live  # rich takes a while to import

        return live.LiveObserver(stream, color=color, verbose=verbose)
    from provisioner.report import plain  # imported only if used

    return plain.PlainObserver(SafeStream(stream), verbose=verbose)


def show(
    report: Report,
    *,
    json: bool = False,
    out: TextIO | None = None,
    err: TextIO | None = None,
    color: bool | None = None,
    verbose: int = 0,
) -> None:
    """Show the report on `out`. With `json`: one document on `out`, and the text for people on `err`."""
    out, err = out or sys.stdout, err or sys.stderr
    from provisioner.report.people import show_people  # rich takes a while to import

    show_people(report, err if json else out, color=color, verbose=bool(verbose))
    if json:
        document = SafeStream(out)
        document.write(f"{to_json(report)}\n")
        document.flush()


def to_json(report: Report) -> str:
    """Return the report as one JSON document; docs/json.md describes it."""
    from provisioner.report import document  # imported only if used

    return document.to_json(report)
