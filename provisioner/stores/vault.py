"""The secrets that a run creates."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


@dataclass
class Vault:
    """The new secrets of one run. Each is created only once, so all hosts get the same one.

    renewed: names of secrets that are created although hosts have them. trusted: certificates of authorities that hosts
    are to trust besides the current one. keys: gossip keys that agents may soon send with, besides the current one.
    """

    renewed: set[str] = field(default_factory=set)
    trusted: tuple[str, ...] = field(default=(), repr=False)
    keys: tuple[str, ...] = field(default=(), repr=False)
    _made: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def texts(self) -> tuple[str, ...]:
        """Those that are texts, to keep them out of what the run writes. Private keys are recognised without."""
        return (*self.keys, *(value for value in tuple(self._made.values()) if isinstance(value, str)))

    def value(self, name: str, found: T | None, make: Callable[[], T]) -> T:
        """Return the value that hosts have. If they have none, or it is to be renewed, return this run's new one."""
        return found if found and name not in self.renewed else self.made(name, make)

    def made(self, name: str, make: Callable[[], T]) -> T:
        if name not in self._made:
            self._made[name] = make()
        made: T = self._made[name]
        return made
