"""Package managers: which one a host has, and what it is asked to do.

Each is one file here and one entry in `MANAGERS`. All others ask the Protocol, by way of `Facts.package_manager`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.system.packages.apt import Apt

if TYPE_CHECKING:
    from collections.abc import Container

    from provisioner.system.packages.base import PackageManager

__all__ = ["LISTS", "MANAGERS", "PROGRAMS", "names", "of", "others", "to_install_perl"]

MANAGERS: tuple[PackageManager, ...] = (Apt(),)
# Not supported: program -> how it is told to install a package. For errors alone.
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
    """The package manager of a host that has these programs; None if it has none that is supported."""
    return next((manager for manager in MANAGERS if manager.program in programs), None)


def names(*programs: str) -> tuple[str, ...]:
    """The packages that bring these programs, as any of the managers names them."""
    return tuple(dict.fromkeys(manager.package(program) for manager in MANAGERS for program in programs))


def others(programs: Container[str]) -> tuple[str, ...]:
    """The package managers of such a host that are not supported."""
    return tuple(name for name in _OTHERS if name in programs)


def to_install_perl(programs: Container[str]) -> str:
    """The command by which a person installs Perl on such a host; "" if none is known. All others name its package "perl"."""
    if manager := of(programs):
        return manager.command(["perl"])
    return next((f"{_OTHERS[name]} perl" for name in others(programs)), "").replace(
        "emerge perl", "emerge dev-lang/perl"
    )
