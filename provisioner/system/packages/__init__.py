"""Package managers: which one a host has, and what it is asked to do.

Each is one file here and one entry in `MANAGERS`. All others ask the Protocol, by way of `Facts.package_manager`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.system.packages.apt import Apt

if TYPE_CHECKING:
    from collections.abc import Container

    from provisioner.system.packages.base import PackageManager

__all__ = ["MANAGERS", "PROGRAMS", "names", "of", "others"]

MANAGERS: tuple[PackageManager, ...] = (Apt(),)
# Looked for only to name them in an error.
_OTHERS = ("apk", "dnf", "emerge", "microdnf", "pacman", "rpm-ostree", "tdnf", "xbps-install", "yum", "zypper")
PROGRAMS = (*(manager.program for manager in MANAGERS), *_OTHERS)


def of(programs: Container[str]) -> PackageManager | None:
    """The package manager of a host that has these programs; None if it has none that is supported."""
    return next((manager for manager in MANAGERS if manager.program in programs), None)


def names(*programs: str) -> tuple[str, ...]:
    """The packages that bring these programs, as any of the managers names them."""
    return tuple(dict.fromkeys(manager.package(program) for manager in MANAGERS for program in programs))


def others(programs: Container[str]) -> tuple[str, ...]:
    """The package managers of such a host that are not supported."""
    return tuple(name for name in _OTHERS if name in programs)
