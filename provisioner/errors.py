"""The tree of the project's errors.

ProvisionerError
├── InventoryError            all problems of an inventory at once (exit 64)
├── UsageError                the command line does not match the inventory (exit 64)
├── TransportError
│   ├── Unreachable           no answer on the network; the only one that is retried
│   ├── Refused               the host refused the login (user, key)
│   │   └── HostKeyRefused    the host's key is unknown or has changed
│   ├── TimedOut              a command did not end within its deadline
│   └── CommandFailed         a command ended with an exit code that the caller does not accept
├── Locked                    another run holds a host's lock
├── StepFailed                a host did not converge to its desired state
│   ├── Malformed             a host's answer could not be parsed
│   └── InternalError         a bug of provisioner, triggered by one host's data
├── StoreError                the store gives a wrong answer, or none
└── LabError                  the lab on this machine
"""

from __future__ import annotations

import os
import re
import shlex
import traceback
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable


_COMMAND = re.compile(r"(\bprovisioner [^`\n]*?)\bINVENTORY\b")


def with_inventory(text: str, path: str) -> str:
    """Return a text in which commands of provisioner name this inventory instead of INVENTORY, so that they can be copied.

    path: as the user wrote it; "" leaves the text as it is.
    """
    return _COMMAND.sub(lambda found: found[1] + shlex.quote(path), text) if path else text


def error_text(what: str, *, tried: str = "", answer: str = "", cure: str = "") -> str:
    """Return an error's text: what happened, what was tried, the last lines of the answer, and what to do next."""
    lines = [what]
    if tried:
        lines.append(f"  tried: {tried}")
    if answer:
        lines += [f"  | {line}" for line in answer.strip().splitlines()[-12:]]
    if cure:
        lines.append(f"  next:  {cure}")
    return "\n".join(lines)


class ProvisionerError(Exception):
    """An error that a user can cause or fix. It is shown as text, never as a traceback.

    what: what happened, one sentence without a full stop. host: the host's name in the inventory.
    cause: the id of its entry in the catalogue of causes.
    tried: the operation that failed. answer: what came back, a few lines at most. cure: what to do next.
    """

    exit_code = 1
    cause: str  # the class's default; if a class has none, each of its errors must set `cause`

    def __init__(
        self, what: str, *, cause: str = "", host: str = "", tried: str = "", answer: str = "", cure: str = ""
    ) -> None:
        super().__init__(what)
        self.what = what
        self.cause = cause or self.cause
        self.host = host
        self.tried = tried
        self.answer = answer.strip()
        self.cure = cure

    def __str__(self) -> str:
        what = f"{self.host}: {self.what}" if self.host else self.what
        return error_text(what, tried=self.tried, answer=self.answer, cure=self.cure)


class UsageError(ProvisionerError):
    """The command line does not match the inventory."""

    cause = "usage"
    exit_code = 64


class InventoryError(ProvisionerError):
    """An inventory is invalid.

    problems: one line for each, with file and position. places: line, column and text of each; line 0 is the whole file.
    """

    cause = "inventory-invalid"
    exit_code = 64

    def __init__(self, path: str, problems: tuple[str, ...], places: Iterable[tuple[int, int, str]] = ()) -> None:
        count = "one problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(f"{path}: {count}")
        self.path = path
        self.problems = problems
        self.places = tuple(places)

    def __str__(self) -> str:
        return "\n".join([f"the inventory can't be used: {self.what}", *self.problems])


class TransportError(ProvisionerError):
    """Communication with a host failed."""

    cause = "connection-lost"


class Unreachable(TransportError):
    """No SSH server answered, or the connection broke."""

    cause = "host-unreachable"


class Refused(TransportError):
    """The host answered and refused the login."""

    cause = "login-refused"


class HostKeyRefused(Refused):
    """The host's key is unknown (`strict`) or differs from the recorded one."""

    cause = "host-key-changed"


class TimedOut(TransportError):
    """A command exceeded its deadline. It may still be running on the host."""

    cause = "timed-out"


class Ended(Protocol):
    """The result of a command: `model.Result`, which this module can't import."""

    @property
    def code(self) -> int: ...
    @property
    def stdout(self) -> str: ...
    @property
    def stderr(self) -> str: ...


class CommandFailed(TransportError):
    """A command ended with an exit code that its caller does not accept. `result` has its complete output."""

    cause = "command-failed"

    def __init__(
        self, what: str, result: Ended, *, host: str, cause: str = "", tried: str = "", cure: str = ""
    ) -> None:
        super().__init__(what, cause=cause, host=host, tried=tried, answer=result.stderr or result.stdout, cure=cure)
        self.result = result


class Locked(ProvisionerError):
    """Another run holds the lock of a host."""

    cause = "host-locked"


class StepFailed(ProvisionerError):
    """A host did not converge to its desired state. `fatal`: the other hosts must not continue either."""

    def __init__(
        self,
        what: str,
        *,
        cause: str = "",
        host: str = "",
        tried: str = "",
        answer: str = "",
        cure: str = "",
        fatal: bool = False,
    ) -> None:
        super().__init__(what, cause=cause, host=host, tried=tried, answer=answer, cure=cure)
        self.fatal = fatal


class Malformed(StepFailed):
    """A host's answer is malformed. The run does not use it to check or change anything on this host."""

    cause = "malformed-answer"


class InternalError(StepFailed):
    """A bug of provisioner, triggered by one host's data. That host fails, and the others continue.

    The message has the exception's type, location and text, so that users report it and do not look for a fault of the
    host.
    """

    cause = "internal-error"

    def __init__(self, error: Exception, *, host: str, tried: str) -> None:
        frames = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in frames if f"{os.sep}provisioner{os.sep}" in frame.filename] or frames
        places = [
            f"{frame.filename.rpartition(f'{os.sep}provisioner{os.sep}')[2]}:{frame.lineno}" for frame in ours[-3:]
        ]
        super().__init__(
            f"internal error: {type(error).__name__} at {' > '.join(places) or 'an unknown place'}",
            host=host,
            tried=tried,
            answer=f"{error}"[:300],
            cure="this is a bug of provisioner, not a fault of the host: please report it with these lines",
        )


class StoreError(ProvisionerError):
    """The store gave a wrong answer, or none."""


class LabError(ProvisionerError):
    """The lab on this machine can't do what was asked."""

    cause = "lab"
