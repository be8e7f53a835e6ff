"""Standard input, output and error of the process: none of their numbers stays free, and no failed write goes unnoticed."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from typing_extensions import Buffer

_HOLDERS = {0: os.O_RDONLY, 1: os.O_RDONLY, 2: os.O_WRONLY}  # a write to 1 fails as if it were closed; one to 2 is lost


class _Raw(io.FileIO):
    """The end of a stream. `failed` is the first error of a write; the run goes on, and what follows is dropped."""

    failed: OSError | None = None

    def write(self, data: Buffer, /) -> int:
        try:
            return len(memoryview(data)) if self.failed else super().write(data)
        except BrokenPipeError:  # the reader has seen enough, as `head` does
            raise
        except OSError as error:
            self.failed = error
            return len(memoryview(data))


class Standard:
    """Replaces `sys.stdout` and `sys.stderr` by streams that remember a failed write. Use once, when the process starts."""

    def __init__(self) -> None:
        _hold_closed()
        self._out, self._err = _Raw(1, "w", closefd=False), _Raw(2, "w", closefd=False)
        sys.stdout = _text(self._out, sys.stdout, "strict", line_buffering=os.isatty(1))
        sys.stderr = _text(self._err, sys.stderr, "backslashreplace", line_buffering=True)

    def exit_code(self, code: int) -> int:
        """Flush both. A run whose output is not whole is no success, and says so on standard error."""
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        if (error := self._out.failed) is not None:
            print(
                f"provisioner: can't write to standard output: {error.strerror}; the output is not complete",
                file=sys.stderr,
            )
        return code or int(bool(self._out.failed or self._err.failed))


def _text(raw: _Raw, like: TextIO | None, errors: str, *, line_buffering: bool) -> TextIO:
    """A text stream with the encoding of the one before, which is None if its number was closed."""
    encoding = getattr(like, "encoding", None) or "utf-8"
    errors = getattr(like, "errors", None) or errors
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, errors, line_buffering=line_buffering)


def _hold_closed() -> None:
    """Else a file or a connection would be opened under the number, and get what is printed."""
    for number, flags in _HOLDERS.items():
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, flags)  # the lowest number that is free is this one
            os.set_inheritable(opened, True)  # noqa: FBT003
