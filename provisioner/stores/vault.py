"""The secrets that a run makes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


@dataclass
class Vault:
    """What one run makes new: each thing once, so that all hosts get the same, and it is the same at every look.

    renewed: names of what is made new although hosts have it. trusted: certificates of authorities that hosts are to
    trust beside the present one. keys: gossip keys that agents may come to send with, beside the present one.
    """

    renewed: set[str] = field(default_factory=set)
    trusted: tuple[str, ...] = field(default=(), repr=False)
    keys: tuple[str, ...] = field(default=(), repr=False)
    _made: dict[str, Any] = field(default_factory=dict, repr=False)

    def value(self, name: str, found: T | None, make: Callable[[], T]) -> T:
        """What hosts have, or where they have nothing (or it is to be renewed) what this run has made."""
        return found if found and name not in self.renewed else self.made(name, make)

    def made(self, name: str, make: Callable[[], T]) -> T:
        if name not in self._made:
            self._made[name] = make()
        made: T = self._made[name]
        return made
