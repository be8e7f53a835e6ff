"""The hosts' places in the machine's cgroups, version 1 (also the hybrid of both) and version 2.

A host gets the cgroup `provisioner-lab/<lab>/<host>` in every hierarchy of the machine and becomes the
root of a cgroup namespace there, so its systemd sees and manages only what is its own.
"""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path

from provisioner.errors import LabError
from provisioner.lab.shell import wait_for

TOP = "provisioner-lab"
_ROOT = "/sys/fs/cgroup"

# Mount options of version 1 that name no controller.
_FLAGS = frozenset({"rw", "ro", "xattr", "noprefix", "clone_children", "cpuset_v2_mode"})


@dataclass(frozen=True)
class Hierarchy:
    """One mounted hierarchy: where, and the options that mount it again (`cgroup2` for version 2)."""

    mount: Path
    options: str


@dataclass(frozen=True)
class Cgroups:
    hierarchies: tuple[Hierarchy, ...]

    @property
    def unified(self) -> bool:
        """Whether the machine has cgroup version 2 alone."""
        return len(self.hierarchies) == 1 and self.hierarchies[0].options == "cgroup2"

    @property
    def spec(self) -> str:
        """The hierarchies in the words of boot.sh."""
        return "v2" if self.unified else " ".join(f"{each.mount.name}:{each.options}" for each in self.hierarchies)

    def make(self, place: str) -> list[Path]:
        """Make the cgroup `place` (`<lab>/<host>`) in every hierarchy; answer the files that a process joins by."""
        return [_make(hierarchy, place) / "cgroup.procs" for hierarchy in self.hierarchies]

    def processes(self, place: str) -> set[int]:
        """Every process in the cgroup `place` and below it."""
        found: set[int] = set()
        for hierarchy in self.hierarchies:
            for procs in _folders(hierarchy.mount / TOP / place):
                with contextlib.suppress(OSError):
                    found.update(int(pid) for pid in (procs / "cgroup.procs").read_text().split())
        return found - {0}

    def remove(self, place: str, *, timeout: float = 30) -> None:
        """Kill all that runs in the cgroup `place` and remove it. Raises LabError after `timeout` seconds."""

        def gone() -> bool:
            for pid in self.processes(place):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return not [folder for hierarchy in self.hierarchies for folder in _prune(hierarchy.mount / TOP / place)]

        if not wait_for(gone, timeout=timeout):
            raise LabError(
                f"processes of {place} do not end",
                tried=f"SIGKILL to {sorted(self.processes(place))} for {timeout:.0f} s",
                cure="look at them with ps; run `provisioner lab down` again",
            )
        for hierarchy in self.hierarchies:
            for folder in ((hierarchy.mount / TOP / place).parent, hierarchy.mount / TOP):
                # Not empty: another host or lab lives there.
                if folder != hierarchy.mount:
                    with contextlib.suppress(OSError):
                        folder.rmdir()


def _make(hierarchy: Hierarchy, place: str) -> Path:
    for last_try in (False, False, True):
        folder = hierarchy.mount
        try:
            for part in (TOP, *place.split("/")):
                parent, folder = folder, folder / part
                folder.mkdir(exist_ok=True)
                _pass_on(hierarchy, parent, folder)
        except FileNotFoundError:
            # Another lab that is removed at this moment may remove the common parent.
            if last_try:
                raise
        else:
            break
    return folder


def _pass_on(hierarchy: Hierarchy, parent: Path, folder: Path) -> None:
    """Let a new cgroup use what its parent has: the kernel gives version 2 no controllers and cpuset no CPUs."""
    if hierarchy.options == "cgroup2":
        # Only within the lab's own tree: the controllers of the machine's root are the machine's business.
        if parent != hierarchy.mount:
            offered = (parent / "cgroup.controllers").read_text().split()
            for controller in offered:
                with contextlib.suppress(OSError):
                    (parent / "cgroup.subtree_control").write_text(f"+{controller}")
        return
    for name in ("cpuset.cpus", "cpuset.mems"):
        if (folder / name).exists() and not (folder / name).read_text().strip():
            (folder / name).write_text((parent / name).read_text())


def _folders(top: Path) -> list[Path]:
    """`top` and all cgroups in it, the innermost first; nothing when it is not there."""
    return [Path(folder) for folder, _, _ in os.walk(top, topdown=False)]


def _prune(top: Path) -> list[Path]:
    """Remove a tree of cgroups; answer those that are still in use."""
    for folder in _folders(top):
        with contextlib.suppress(OSError):
            folder.rmdir()
    return _folders(top)


def find() -> Cgroups:
    """The machine's mounted hierarchies. Raises LabError when systemd could not run in them."""
    return parse(Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape"))


def parse(mountinfo: str) -> Cgroups:
    """The hierarchies that a table of mounts shows, see proc_pid_mountinfo(5). Raises LabError."""
    found: dict[str, Hierarchy] = {}
    for line in mountinfo.splitlines():
        fields = line.split()
        kind, _, options = fields[fields.index("-") + 1 :][:3]
        if kind in {"cgroup", "cgroup2"} and fields[4].startswith(_ROOT):
            own = [word for word in options.split(",") if word not in _FLAGS and not word.startswith("release_agent=")]
            found[fields[4]] = Hierarchy(Path(fields[4]), "cgroup2" if kind == "cgroup2" else ",".join(own))
    if _ROOT in found:
        # Version 2 at the root is what systemd uses; what else somebody has mounted beneath does not matter.
        return Cgroups((found[_ROOT],))
    if not any("name=systemd" in each.options for each in found.values()):
        raise LabError(
            "this machine has no cgroup hierarchy for systemd",
            tried="looking for cgroup2 or name=systemd in /proc/self/mountinfo",
            cure="mkdir -p /sys/fs/cgroup/systemd && mount -t cgroup -o none,name=systemd systemd /sys/fs/cgroup/systemd",
        )
    return Cgroups(tuple(found.values()))
