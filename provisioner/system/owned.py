"""What provisioner puts on hosts. Each step and each store declares its part as an `Owned`; steps.OWNED is all of it.

`remove`, `down` and the table in docs/hosts.md follow from these declarations. They include what earlier versions wrote:
a path that no longer is written stays declared.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

UNITS = "/etc/systemd/system"
MARK = "# Written by provisioner"  # how each unit file of ours begins; another file of that name is not ours


@dataclass(frozen=True, order=True)
class Data:
    """A store's data. They are ours only on a host that has `config`, the store's configuration that we write."""

    folder: str
    config: str


@dataclass(frozen=True)
class Owned:
    """What one step or store puts on hosts. Paths are absolute.

    Attributes:
        files: paths, or patterns as the shell has them.
        folders: removed once they are empty, if we made them.
        units: systemd units, whose files are in UNITS. Such a file is ours only if it begins with MARK.
        users: system users that are made unless they exist.
        packages: packages that are installed unless their program exists.
        programs: files of programs that are uploaded unless the program exists.
        data: the stores' data.
        keys: keys of daemon.json.
        chains: prefixes of iptables chains.
        tables: "FAMILY NAME" of nftables tables.
    """

    files: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    data: tuple[Data, ...] = ()
    keys: tuple[str, ...] = ()
    chains: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()

    @property
    def unit_files(self) -> tuple[str, ...]:
        return tuple(f"{UNITS}/{unit}" for unit in self.units)


NOTHING = Owned()


def together(parts: Iterable[Owned]) -> Owned:
    """All that the parts own; each thing once, sorted."""
    every = tuple(parts)
    return Owned(
        **{f.name: tuple(sorted({one for part in every for one in getattr(part, f.name)})) for f in fields(Owned)}
    )
