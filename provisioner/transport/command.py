"""One command on one host: its name, and how it ended, for errors and for whoever watches the run."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from provisioner.errors import CommandFailed, ProvisionerError
from provisioner.model import CommandBegan, CommandEnded

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from provisioner.model import Result


class Command:
    """One command. Its `with` block reports when it begins and, once, how it ends.

    host: the host's name. name: what it does, in a few words. watch: is told both; None: nobody is.
    """

    def __init__(self, host: str, name: str, watch: Callable[[CommandBegan | CommandEnded], None] | None) -> None:
        self.host, self.name = host, name
        self._watch = watch
        self._began = time.monotonic()
        self._code: int | None = None
        if watch:
            watch(CommandBegan(host, name))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, error: BaseException | None, *__: object) -> None:
        self.end(_reason(error))

    def accepted(self, result: Result, accept: Container[int] = (0,)) -> Result:
        """Return the result of a script. Raises CommandFailed if its exit code is not accepted."""
        self._code = result.code
        if result.code not in accept:
            raise CommandFailed(f"exit code {result.code}", result, host=self.host, tried=self.name)
        return result

    def end(self, why: str = "", code: int | None = None) -> None:
        """Report the end, if it was not reported before."""
        watch, self._watch = self._watch, None
        if watch:
            code = self._code if code is None else code
            watch(
                CommandEnded(
                    self.host, self.name, time.monotonic() - self._began, code, "" if code is not None else why
                )
            )


def _reason(error: BaseException | None) -> str:
    return error.what if isinstance(error, ProvisionerError) else type(error).__name__ if error else "done"
