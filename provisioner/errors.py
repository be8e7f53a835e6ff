"""Every error of the project, as one tree.

ProvisionerError
├── InventoryError            all that is wrong with an inventory, at once (exit 64)
├── UsageError                words on the command line that the inventory does not know (exit 64)
├── TransportError
│   ├── Unreachable           no answer on the network; the only one that is retried
│   ├── Refused               the host said no to us (user, key)
│   │   └── HostKeyRefused    the host's own key is unknown or has changed
│   ├── TimedOut              a command did not end within its deadline
│   └── CommandFailed         a command ended with a code that the caller does not accept
├── Locked                    another run holds a host's lock
├── StepFailed                a step could not bring a host to its wanted state
│   ├── Malformed             what a host says can't be understood
│   └── InternalError         a bug of ours, met with one host's data
├── StoreError                the store answers wrongly, or not at all
└── LabError                  the lab on this machine
"""

from __future__ import annotations

import os
import traceback
from typing import Protocol


class ProvisionerError(Exception):
    """Something that a user can cause or mend: told in words, never as a traceback.

    what: what happened, one sentence without a full stop. host: the inventory name of the host.
    tried: what was being done. answer: what came back, at most a few lines. cure: what to do next.
    """

    exit_code = 1

    def __init__(self, what: str, *, host: str = "", tried: str = "", answer: str = "", cure: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.host = host
        self.tried = tried
        self.answer = answer.strip()
        self.cure = cure

    def __str__(self) -> str:
        lines = [f"{self.host}: {self.what}" if self.host else self.what]
        if self.tried:
            lines.append(f"  tried: {self.tried}")
        if self.answer:
            lines += [f"  | {line}" for line in self.answer.splitlines()[-12:]]
        if self.cure:
            lines.append(f"  next:  {self.cure}")
        return "\n".join(lines)


class UsageError(ProvisionerError):
    """Words on the command line that don't go with the inventory."""

    exit_code = 64


class InventoryError(ProvisionerError):
    """Everything that is wrong with an inventory; `problems` has one line for each."""

    exit_code = 64

    def __init__(self, path: str, problems: tuple[str, ...]) -> None:
        count = "one problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(f"{path}: {count}")
        self.path = path
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join([f"the inventory can't be used: {self.what}", *self.problems])


class TransportError(ProvisionerError):
    """Talking to a host failed."""


class Unreachable(TransportError):
    """No SSH server answered, or the connection broke."""


class Refused(TransportError):
    """The host answered and would not let us in."""


class HostKeyRefused(Refused):
    """The host's own key is unknown (`strict`) or not the one that is on record."""


class TimedOut(TransportError):
    """A command was still running at its deadline; it may still be running on the host."""


class Ended(Protocol):
    """How a command ended: `model.Result`, which this module can't import."""

    @property
    def code(self) -> int: ...
    @property
    def stdout(self) -> str: ...
    @property
    def stderr(self) -> str: ...


class CommandFailed(TransportError):
    """A command ended with a code that its caller does not accept; `result` has all it said."""

    def __init__(self, what: str, result: Ended, *, host: str, tried: str = "", cure: str = "") -> None:
        super().__init__(what, host=host, tried=tried, answer=result.stderr or result.stdout, cure=cure)
        self.result = result


class Locked(ProvisionerError):
    """Another run holds the lock of a host."""


class StepFailed(ProvisionerError):
    """A step could not bring a host to its wanted state. `fatal`: the others must not go on either."""

    def __init__(
        self, what: str, *, host: str = "", tried: str = "", answer: str = "", cure: str = "", fatal: bool = False
    ) -> None:
        super().__init__(what, host=host, tried=tried, answer=answer, cure=cure)
        self.fatal = fatal


class Malformed(StepFailed):
    """A host's answer has not the form that it must have: nothing on this host is judged or changed by it."""


class InternalError(StepFailed):
    """A bug of provisioner, met while one host's data were evaluated: that host fails, and the others go on.

    It names the type, the place and the text of the exception, so that it can be reported and is never taken for a
    fault of the host.
    """

    def __init__(self, error: Exception, *, host: str, tried: str) -> None:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if f"{os.sep}provisioner{os.sep}" in frame.filename] or frames
        places = [
            f"{frame.filename.rpartition(f'{os.sep}provisioner{os.sep}')[2]}:{frame.lineno}" for frame in own[-3:]
        ]
        super().__init__(
            f"internal error: {type(error).__name__} at {' > '.join(places) or 'an unknown place'}",
            host=host,
            tried=tried,
            answer=f"{error}"[:300],
            cure="this is a bug of provisioner, not of the host: please report it with these lines",
        )


class StoreError(ProvisionerError):
    """The store answers wrongly, or not at all."""


class LabError(ProvisionerError):
    """The lab on this machine can't do what was asked."""
