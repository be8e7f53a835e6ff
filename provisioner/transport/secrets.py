"""What a person types for a run: passwords and passphrases. They stay in memory, and appear in no argument, log or message."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


class Password:
    """One password for all hosts. One host tries it first, alone. Once a host refuses it, no further host tries it.

    So a mistyped password counts as one failed attempt where hosts share their accounts, and locks nobody out.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._lock = threading.Lock()
        self._accepted = False
        self.refused_by = ""  # the first host that refused it

    @property
    def text(self) -> str:
        """The password, to keep it out of what the run writes."""
        return self._text

    def use(self, host: str, attempt: Callable[[str], bool]) -> bool:
        """Try it on a host; `attempt` returns whether the host accepts it. Returns False if not, or if it was not tried."""
        if not self._accepted:
            with self._lock:
                if not self._accepted:
                    return self._tried(host, attempt)
        return self._tried(host, attempt)

    def _tried(self, host: str, attempt: Callable[[str], bool]) -> bool:
        if self.refused_by:
            return False
        if attempt(self._text):
            self._accepted = True
            return True
        self.refused_by = self.refused_by or host
        return False


@dataclass(frozen=True, slots=True)
class Secrets:
    """password: of the login; not sent to jump hosts. sudo: of the login user, for sudo. passphrases: of key files."""

    password: Password | None = None
    sudo: Password | None = None
    passphrases: Mapping[Path, str] = field(default_factory=dict, repr=False)

    @property
    def texts(self) -> frozenset[str]:
        """All of them, to keep them out of what the run writes."""
        typed = (each.text for each in (self.password, self.sudo) if each)
        return frozenset((*typed, *self.passphrases.values()))


NO_SECRETS = Secrets()
