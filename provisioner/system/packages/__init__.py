"""Package managers: which one a host has, and how to install packages with it.

Each supported one has a file here and an entry in `MANAGERS`. Other code uses the Protocol, through `Facts.package_manager`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.system.packages.apt import Apt

if TYPE_CHECKING:
    from collections.abc import Container

    from provisioner.system.packages.base import PackageManager

__all__ = ["ENGINE", "LISTS", "MANAGERS", "PROGRAMS", "names", "of", "others", "to_install_perl"]

MANAGERS: tuple[PackageManager, ...] = (Apt(),)
# Unsupported package managers: program -> its install command. Used in error messages only.
_OTHERS = {
    "apk": "apk add",
    "dnf": "dnf install",
    "emerge": "emerge",
    "microdnf": "microdnf install",
    "pacman": "pacman -S",
    "rpm-ostree": "rpm-ostree install",
    "tdnf": "tdnf install",
    "xbps-install": "xbps-install",
    "yum": "yum install",
    "zypper": "zypper install",
}
LISTS = "\n".join(manager.lists for manager in MANAGERS)
PROGRAMS = (*(manager.program for manager in MANAGERS), *_OTHERS)


def of(programs: Container[str]) -> PackageManager | None:
    """Return the package manager of a host that has these programs; None if none is supported."""
    return next((manager for manager in MANAGERS if manager.program in programs), None)


def names(*programs: str) -> tuple[str, ...]:
    """Return the packages that contain these programs, by the names of all supported package managers."""
    return tuple(dict.fromkeys(manager.package(program) for manager in MANAGERS for program in programs))


ENGINE = frozenset(names("dockerd"))


def others(programs: Container[str]) -> tuple[str, ...]:
    """Return the unsupported package managers of a host that has these programs."""
    return tuple(name for name in _OTHERS if name in programs)


def to_install_perl(programs: Container[str]) -> str:
    """Return the command to install Perl by hand on such a host; "" if unknown. Unsupported managers call the package "perl"."""
    if manager := of(programs):
        return manager.command(["perl"])
    return next((f"{_OTHERS[name]} perl" for name in others(programs)), "").replace(
        "emerge perl", "emerge dev-lang/perl"
    )
