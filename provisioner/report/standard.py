"""Standard input, output and error of the process: keeps their file descriptors taken, and reports failed writes."""

from __future__ import annotations

import io
import os
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from typing_extensions import Buffer

_HOLDERS = {
    0: os.O_RDONLY,
    1: os.O_RDONLY,
    2: os.O_WRONLY,
}  # a write to 1 fails as if closed; one to 2 is lost


_CLOSED_PIPE = 128 + signal.SIGPIPE  # as a shell reports a program that ended because of it


class _Raw(io.FileIO):
    """A stream that survives a failed write. `failed` is the first error; later writes are discarded.

    This includes a closed pipe (`up | head`): a run that stopped there would leave hosts half-way.
    """

    failed: OSError | None = None

    def write(self, data: Buffer, /) -> int:
        try:
            return len(memoryview(data)) if self.failed else super().write(data)
        except OSError as error:
            self.failed = error
            return len(memoryview(data))


class Standard:
    """Replaces `sys.stdout` and `sys.stderr` with streams that record a failed write. Use once, at process start."""

    def __init__(self) -> None:
        _hold_closed()
        self._out, self._err = _Raw(1, "w", closefd=False), _Raw(2, "w", closefd=False)
        sys.stdout = _text(self._out, sys.stdout, "strict", line_buffering=os.isatty(1))
        sys.stderr = _text(self._err, sys.stderr, "backslashreplace", line_buffering=True)

    def exit_code(self, code: int) -> int:
        """Flush both streams. If output was lost, return 1 instead of 0, or 141 if its reader has closed the pipe.

        A reader that closes a pipe has seen enough. Everything else is reported on standard error.
        """
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        if (error := self._out.failed) is not None and not isinstance(error, BrokenPipeError):
            print(
                f"provisioner: can't write to standard output: {error.strerror}; the output is not complete",
                file=sys.stderr,
            )
        return code or next(map(_code, filter(None, (self._out.failed, self._err.failed))), 0)


def _code(error: OSError) -> int:
    return _CLOSED_PIPE if isinstance(error, BrokenPipeError) else 1


def _text(raw: _Raw, like: TextIO | None, errors: str, *, line_buffering: bool) -> TextIO:
    """Return a text stream with the encoding of the previous one. like: None if its descriptor was closed."""
    encoding = getattr(like, "encoding", None) or "utf-8"
    errors = getattr(like, "errors", None) or errors
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, errors, line_buffering=line_buffering)


def _hold_closed() -> None:
    """Open closed descriptors 0 to 2: else the next file or connection would get one, and receive the output."""
    for number, flags in _HOLDERS.items():
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, flags)  # the system returns the lowest free number, which is this one
            os.set_inheritable(opened, True)  # noqa: FBT003
