"""Checks of the machine itself."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from provisioner import __version__
from provisioner.model import Problem
from provisioner.system import packages, version

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from provisioner.controlplane import Site
    from provisioner.system.facts import Facts

_SKEW = 2.0  # seconds
_NEEDED = {"engine": 1_000_000_000, "files": 20_000_000}  # bytes: for installing the engine, for our own files


def no_root(site: Site) -> Iterator[Problem]:
    for name in site.live:
        if not site.facts[name].is_root:
            user = site.inventory.target(name).user
            what = f"{user} is not root and can't use sudo without a password"
            yield Problem("no-root", name, what, {"user": user})


def newer_version(site: Site) -> Iterator[Problem]:
    """An older version would treat the changes of a newer one as drift and undo them, so the run stops on all hosts."""
    found: dict[tuple[str, str], list[str]] = {}
    for name in site.live:
        if newer := version.newer(site.facts[name].files.get(version.PATH, "")):
            found.setdefault(newer, []).append(name)
    for (number, since), names in found.items():
        of = f"format {number}, known to provisioner {since} and later" if since else "an unknown format"
        what = (
            f"the files of provisioner on {', '.join(names)} have {of}; this is provisioner {__version__},"
            f" which knows format {version.FORMAT}"
        )
        yield Problem("newer-version", "", what, {"version": f"{since} or later" if since else "the newest version"})


def no_perl(site: Site) -> Iterator[Problem]:
    """Without Perl, a swarm or a store on the host would not be noticed."""
    for name in site.live:
        facts = site.facts[name]
        if "perl" not in facts.programs:
            what = "it has no Perl"
        elif not facts.perl_runs:
            what = f"its Perl ({facts.programs['perl']}) does not run"
        elif facts.perl_lacks:
            what = f"its Perl lacks the modules {', '.join(facts.perl_lacks)}"
        else:
            continue
        system = f" ({facts.system_name})" if facts.system_name else ""
        command = packages.to_install_perl(facts.programs) or "with its own package manager"
        yield Problem("no-perl", name, what + system, {"command": command})


def programs_missing(site: Site) -> Iterator[Problem]:
    """A host needs systemd, and a supported package manager if programs are missing."""
    for name in site.live:
        programs = site.facts[name].programs
        if "systemctl" not in programs:
            yield Problem("no-systemd", name, "it has no systemd")
        missing = [program for program in site.needs(name) if program not in programs]
        if (store := site.managed) and missing == [store.program] and store.uploaded:
            missing = []
        if missing and not site.facts[name].package_manager:
            yield _no_package_manager(name, site.facts[name], missing)


def _no_package_manager(host: str, facts: Facts, missing: Sequence[str]) -> Problem:
    programs, system = ", ".join(missing), facts.system_name or "this system"
    found = ", ".join(packages.others(facts.programs)) or "no known package manager"
    supported = " or ".join(manager.name for manager in packages.MANAGERS)
    what = f"{programs} missing; provisioner installs packages with {supported} only, and {system} has {found}"
    return Problem("no-packages", host, what, {"programs": programs})


def clock_skew(site: Site) -> Iterator[Problem]:
    """Two clocks that certainly differ: the time that each reading took is subtracted as its uncertainty."""
    for one, other in combinations(site.live, 2):
        low_one, high_one = site.facts[one].ahead
        low_other, high_other = site.facts[other].ahead
        apart = max(low_one - high_other, low_other - high_one)
        if apart > _SKEW:
            what = f"the clocks of {one} and {other} differ by {apart:.0f} s"
            yield Problem("clock-skew", "", what)
            return  # one pair is enough


def disk_full(site: Site) -> Iterator[Problem]:
    for name in site.live:
        facts = site.facts[name]
        needed = _NEEDED["files"] if "dockerd" in facts.programs else _NEEDED["engine"]
        for mount, free in facts.free_disk.items():
            if free < needed:
                what = f"{mount} has {free // 1_000_000} MB free; {needed // 1_000_000} MB are needed"
                yield Problem("disk-full", name, what, {"mount": mount})
