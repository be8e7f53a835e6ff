"""The log of a run (--log): every line of its progress, with each command, at its time, and the report. Without secrets."""

from __future__ import annotations

import io
import sys
import time
from datetime import UTC, datetime
from threading import Lock
from typing import TYPE_CHECKING

from provisioner import __version__
from provisioner.collect.scrub import Scrubber, of_run
from provisioner.model import SecretsKnown
from provisioner.report.plain import EVERYTHING, PlainObserver

if TYPE_CHECKING:
    from collections.abc import Callable

    from provisioner.model import Event, Report
    from provisioner.outfile import LogFile


class Log:
    """An observer that writes a log. Each line is on the disk's side at once, so nothing is lost if the run is killed.

    If a write fails, this is reported once on standard error, `failed` is true, and the run continues without the log.
    """

    def __init__(self, file: LogFile, command: str, clock: Callable[[], float] = time.time) -> None:
        self.failed = False
        self._file, self._clock = file, clock
        self._scrub = Scrubber()
        self._lock = Lock()
        self._ended = False
        self._events = PlainObserver(self, verbose=EVERYTHING)
        self.write(f"provisioner {__version__} begins: {command}")

    @property
    def place(self) -> tuple[int, int, str]:
        """Equal for two paths of the same file."""
        return self._file.place

    def event(self, event: Event) -> None:
        if isinstance(event, SecretsKnown):
            self._scrub = Scrubber(of_run(event))
        self._events.event(event)

    def write(self, text: str) -> int:
        """Write whole lines, without secrets, each with the time."""
        now = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        lines = "".join(f"{now} {line.rstrip()}\n" for line in self._scrub(text).splitlines() if line.strip())
        with self._lock:
            if not self._ended and not self.failed:
                self._append(lines.encode(errors="replace"))
        return len(text)

    def flush(self) -> None:
        """Do nothing: `write` has written everything."""

    def end(self, report: Report) -> None:
        """Write the report and the exit code."""
        from provisioner.report.people import show_people  # rich takes a while to import

        text = io.StringIO()
        if report.cluster:
            show_people(report, text, color=False, verbose=True)
        else:  # the run did not begin, or did not end
            text.write("\n".join(error.whole for error in report.errors))
        self.write(text.getvalue())
        self._close(f"ends with exit code {report.exit_code or int(self.failed)}")

    def close(self) -> None:
        """Close the file. A log without an end says so."""
        if not self._ended:
            self._close("stopped")
        self._file.close()

    def _close(self, how: str) -> None:
        self.write(f"provisioner {how}")
        with self._lock:
            self._ended = True  # threads that outlive an interrupted run write nothing more

    def _append(self, data: bytes) -> None:
        try:
            self._file.write(data)
        except OSError as error:
            self.failed = True
            print(f"{self._file.named}: can't be written: {error.strerror}; the log ends here", file=sys.stderr)
