"""Checks of the machine itself."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from provisioner.model import Finding
from provisioner.system import packages

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from provisioner.controlplane import Site
    from provisioner.system.facts import Facts

_SKEW = 2.0  # seconds
_NEEDED = {"engine": 1_000_000_000, "files": 20_000_000}  # bytes: for installing the engine, for our own files


def no_root(site: Site) -> Iterator[Finding]:
    for name in site.live:
        if not site.facts[name].is_root:
            user = site.inventory.target(name).user
            cure = f"log in as root, or let {user} use sudo without a password: `{user} ALL=(ALL) NOPASSWD: ALL` in sudoers"
            yield Finding("no-root", name, f"{user} is not root and can't use sudo without a password", cure)


def programs_missing(site: Site) -> Iterator[Finding]:
    """What can't be installed: a host without systemd, or with programs missing and no supported package manager."""
    for name in site.live:
        programs = site.facts[name].programs
        if "systemctl" not in programs:
            yield Finding("no-systemd", name, "it has no systemd", "use a host with systemd")
        missing = [program for program in site.needs(name) if program not in programs]
        if (store := site.managed) and missing == [store.program] and store.uploaded:
            missing = []
        if missing and not site.facts[name].package_manager:
            yield _no_package_manager(name, site.facts[name], missing)


def _no_package_manager(host: str, facts: Facts, missing: Sequence[str]) -> Finding:
    what, system = ", ".join(missing), facts.system_name or "this system"
    found = ", ".join(packages.others(facts.programs)) or "no package manager that is known"
    supported = " or ".join(manager.name for manager in packages.MANAGERS)
    cure = f"install by hand: {what}; then run again. Consul can be uploaded: store.binary in the inventory"
    return Finding(
        "no-packages", host, f"{what} missing; only {supported} can install it, and {system} has {found}", cure
    )


def clock_skew(site: Site) -> Iterator[Finding]:
    """Two hosts whose clocks differ for certain: what each reading took is given the benefit of the doubt."""
    for one, other in combinations(site.live, 2):
        low_one, high_one = site.facts[one].ahead
        low_other, high_other = site.facts[other].ahead
        apart = max(low_one - high_other, low_other - high_one)
        if apart > _SKEW:
            what = f"the clocks of {one} and {other} are {apart:.0f} s apart"
            cure = "set them by NTP: timedatectl set-ntp true (or install systemd-timesyncd or chrony)"
            yield Finding("clock-skew", "", what, cure)
            return  # one pair tells it; the rest of the pairs would tell it again


def disk_full(site: Site) -> Iterator[Finding]:
    for name in site.live:
        facts = site.facts[name]
        needed = _NEEDED["files"] if "dockerd" in facts.programs else _NEEDED["engine"]
        for mount, free in facts.free_disk.items():
            if free < needed:
                what = f"{mount} has {free // 1_000_000} MB free; {needed // 1_000_000} MB are needed"
                yield Finding("disk-full", name, what, f"make room on it: du -xh {mount} | sort -h | tail")
