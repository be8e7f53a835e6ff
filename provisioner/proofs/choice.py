"""Which proofs run: all, or those whose names match the user's patterns. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from provisioner.errors import UsageError
from provisioner.inventory.problems import code, nearest
from provisioner.model import proof_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from provisioner.inventory import Inventory
    from provisioner.proofs.base import Asked, Proof


@dataclass(frozen=True)
class Unit:
    """One proof of one network, which users can choose. hosts: where it runs. usual: whether it runs by default."""

    proof: Proof
    network: str
    hosts: tuple[str, ...]
    usual: bool

    @property
    def name(self) -> str:
        return proof_name(self.proof.name, self.network)

    @property
    def kind(self) -> str:
        """The first part of the name, which patterns match too."""
        return self.name.partition("/")[0]

    def matches(self, pattern: str) -> bool:
        return fnmatchcase(self.name, pattern) or fnmatchcase(self.kind, pattern)


@dataclass(frozen=True)
class Choice:
    """Shell-style patterns for the names of proofs. builtin: also prove the networks that every engine has.

    unfit: kinds of proofs that run only if a pattern of `only` matches. hold: seconds for which connections are held at least; None: as the command decides.
    """

    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    builtin: bool = False
    unfit: tuple[str, ...] = ()
    hold: float | None = None

    def of(self, units: Sequence[Unit]) -> tuple[Unit, ...]:
        """Return the chosen units. Raises UsageError if a pattern matches nothing, or if no unit is left."""
        _known("--only", self.only, units)
        _known("--skip", self.skip, units)
        found = [unit for unit in units if _any(self.only, unit)] if self.only else self.usual(units)
        chosen = tuple(unit for unit in found if not _any(self.skip, unit))
        if found and not chosen:
            raise UsageError(
                "--skip leaves no proof to run", cure="`provisioner verify --list INVENTORY` shows the proofs"
            )
        return chosen

    def usual(self, units: Iterable[Unit]) -> list[Unit]:
        """Return the units that run without patterns."""
        return [unit for unit in units if (unit.usual or self.builtin) and unit.kind not in self.unfit]

    def left_out(self, units: Sequence[Unit]) -> tuple[Unit, ...]:
        """Return the units that the patterns exclude."""
        chosen = self.of(units)
        return tuple(unit for unit in self.usual(units) if unit not in chosen)


def units(proofs: Iterable[Proof], inventory: Inventory) -> tuple[Unit, ...]:
    """Return everything that can be proven for an inventory, in the order of the report."""
    return tuple(
        Unit(proof, network, _hosts(inventory, network), usual=network in inventory.networks)
        for proof in proofs
        for network in proof.networks(inventory)
    )


def asked(chosen: Iterable[Unit]) -> Asked:
    """Return the proofs to run on each network."""
    found: dict[str, list[Proof]] = {}
    for unit in chosen:
        found.setdefault(unit.network, []).append(unit.proof)
    return found


def _hosts(inventory: Inventory, network: str) -> tuple[str, ...]:
    entry = inventory.networks.get(network)
    return tuple(host for host in inventory.hosts if entry is None or entry.on(host))


def _any(patterns: Iterable[str], unit: Unit) -> bool:
    return any(unit.matches(pattern) for pattern in patterns)


def _known(option: str, patterns: Iterable[str], units: Sequence[Unit]) -> None:
    for pattern in patterns:
        if not any(unit.matches(pattern) for unit in units):
            names = [name for unit in units for name in (unit.name, unit.kind, f"*/{unit.network}")]
            raise UsageError(
                f"{option} {code(pattern)}: no proof of this inventory has a matching name{nearest(pattern, names)}",
                cure="`provisioner verify --list INVENTORY` shows the proofs",
            )
