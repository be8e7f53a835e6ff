"""The files that the user asks for beside the report on the terminal: the report as JUnit XML or an HTML page, and the log."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

from provisioner.errors import ProvisionerError, UsageError
from provisioner.outfile import LogFile, OutFile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from typing import Any

    from provisioner.model import Report
    from provisioner.report.log import Log


@dataclass
class Files:
    """The files to write, by option. `open` opens them, before the run begins; leaving removes what was not written.

    to_log: the path of the log. log: the opened one.
    """

    wanted: Mapping[str, Path | None] = field(default_factory=dict)
    to_log: Path | None = None
    log: Log | None = None
    _tried: bool = False
    _opened: dict[str, OutFile] = field(default_factory=dict)
    _stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def open(self, command: str) -> None:
        """Open the files, once. command: its name, for the log. Raises UsageError if one can't be written, or two are the same."""
        if self._tried:
            return
        self._tried, places = True, set()
        if self.to_log is not None:
            from provisioner.report.log import Log

            self.log = Log(LogFile(self.to_log, "--log"), command)
            self._stack.callback(self.log.close)
            places.add(self.log.place)
        for option, path in self.wanted.items():
            if path is not None:
                file = self._stack.enter_context(OutFile(path, option))
                if file.place in places:
                    raise UsageError(f"{option} {path}: another option names the same file", cure="name two files")
                places.add(file.place)
                self._opened[option] = file

    def write(self, report: Report) -> int:
        """Write the report to all opened files, the log last. Returns the exit code: 1 instead of 0 if a file can't be written."""
        code = report.exit_code
        if self._opened:
            from provisioner.report.document import document

            whole = document(report)
            for option, file in self._opened.items():
                try:
                    file.write(_renderer(option)(whole).encode())
                except ProvisionerError as error:
                    print(error, file=sys.stderr)
                    code = code or error.exit_code
        if self.log:
            self.log.end(replace(report, exit_code=code))
            code = code or int(self.log.failed)
        return code


def _renderer(option: str) -> Callable[[Mapping[str, Any]], str]:
    """Return what makes the file of an option. Imported only if it is used."""
    if option == "--junit":
        from provisioner.report.junit import to_junit

        return to_junit
    from provisioner.report.page import to_html

    return to_html
