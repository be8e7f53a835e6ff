"""Other programs that set or load rules on a host, and the units after whose start ours must be set again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from provisioner.system.firewall.base import Found

# Units that load rules when they start. Our unit starts after them, and runs again whenever they are restarted or reloaded.
_NATIVE = ("nftables.service", "iptables.service", "ip6tables.service")
FIREWALLD = "firewalld.service"
LOADERS = (*_NATIVE, "netfilter-persistent.service", "ufw.service", FIREWALLD)


@dataclass(frozen=True)
class Manager:
    """A program that manages a host's rules.

    units: it manages them while one of these units is active.
    marks: prefixes of its iptables chains, or names of its nftables tables.
    """

    name: str
    units: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()


MANAGERS = (
    Manager("ufw", marks=("ufw-",)),  # its unit is active even while ufw is disabled
    Manager("firewalld", (FIREWALLD,), ("firewalld", "INPUT_direct")),
)


def managers(says: frozenset[str], found: Iterable[Found]) -> tuple[str, ...]:
    """Return the names of the managers on a host that do not accept our ports themselves. says: see `base.says`."""
    filters = tuple(found)
    return tuple(
        manager.name
        for manager in MANAGERS
        if (
            any(f"active={unit}" in says for unit in manager.units)
            or any(each.managed(mark) for each in filters for mark in manager.marks)
        )
        and not any(each.admits(mark) for each in filters for mark in manager.marks)
    )


def loaders(says: frozenset[str]) -> tuple[str, ...]:
    """Return the loaders that a host uses, never two that conflict.

    firewalld's unit conflicts with the native units and stops them. If ours were PartOf both, a restart of firewalld would
    have to stop and restart ours in one transaction, which systemd refuses (tested).
    """
    used = [unit for unit in LOADERS if {f"active={unit}", f"enabled={unit}"} & says]
    if FIREWALLD in used and f"active={FIREWALLD}" in says:
        return tuple(unit for unit in used if unit not in _NATIVE)
    if set(used) & set(_NATIVE):
        used = [unit for unit in used if unit != FIREWALLD]
    return tuple(used)
