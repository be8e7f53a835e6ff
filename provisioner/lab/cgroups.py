"""The hosts' cgroups on the machine, in cgroup version 1, version 2, and the hybrid of both.

A host gets the cgroup `provisioner-lab/<lab>/<host>` in every hierarchy of the machine. This cgroup becomes the root of the
host's cgroup namespace, so that the host's systemd sees and manages only its own cgroups.
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
    """A mounted hierarchy: its mount point, and the options that mount it again (`cgroup2` for version 2)."""

    mount: Path
    options: str


@dataclass(frozen=True)
class Cgroups:
    hierarchies: tuple[Hierarchy, ...]

    @property
    def unified(self) -> bool:
        """Whether the machine has only cgroup version 2."""
        return len(self.hierarchies) == 1 and self.hierarchies[0].options == "cgroup2"

    @property
    def spec(self) -> str:
        """The hierarchies in the format of boot.sh's LAB_CGROUPS."""
        return "v2" if self.unified else " ".join(f"{each.mount.name}:{each.options}" for each in self.hierarchies)

    def make(self, place: str) -> list[Path]:
        """Create the cgroup `place` (`<lab>/<host>`) in every hierarchy. Returns the files by which a process joins it."""
        return [_make(hierarchy, place) / "cgroup.procs" for hierarchy in self.hierarchies]

    def processes(self, place: str) -> set[int]:
        """The IDs of all processes in the cgroup `place` and below it."""
        found: set[int] = set()
        for hierarchy in self.hierarchies:
            for procs in _folders(hierarchy.mount / TOP / place):
                with contextlib.suppress(OSError):
                    found.update(int(pid) for pid in (procs / "cgroup.procs").read_text().split())
        return found - {0}

    def remove(self, place: str, *, timeout: float = 30) -> None:
        """Kill all processes in the cgroup `place` and remove it. Raises LabError after `timeout` seconds."""

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
                # This fails if the cgroup has another host or lab.
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
            # The removal of another lab may have removed the common parent at this moment.
            if last_try:
                raise
        else:
            break
    return folder


def _pass_on(hierarchy: Hierarchy, parent: Path, folder: Path) -> None:
    """Give a new cgroup its parent's resources. By default it has no controllers in version 2, and no CPUs in cpuset."""
    if hierarchy.options == "cgroup2":
        # Only within the lab's tree: which controllers the machine's root enables is not the lab's decision.
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
    """`top` and all cgroups in it, the innermost first; empty if `top` does not exist."""
    return [Path(folder) for folder, _, _ in os.walk(top, topdown=False)]


def _prune(top: Path) -> list[Path]:
    """Remove a tree of cgroups. Returns the cgroups that are still in use."""
    for folder in _folders(top):
        with contextlib.suppress(OSError):
            folder.rmdir()
    return _folders(top)


def find() -> Cgroups:
    """The machine's mounted hierarchies. Raises LabError if systemd could not run in them."""
    return parse(Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape"))


def parse(mountinfo: str) -> Cgroups:
    """Parse the hierarchies from a table of mounts, see proc_pid_mountinfo(5). Raises LabError."""
    found: dict[str, Hierarchy] = {}
    for line in mountinfo.splitlines():
        fields = line.split()
        kind, _, options = fields[fields.index("-") + 1 :][:3]
        if kind in {"cgroup", "cgroup2"} and fields[4].startswith(_ROOT):
            own = [word for word in options.split(",") if word not in _FLAGS and not word.startswith("release_agent=")]
            found[fields[4]] = Hierarchy(Path(fields[4]), "cgroup2" if kind == "cgroup2" else ",".join(own))
    if _ROOT in found:
        # If version 2 is mounted at the root, systemd uses it. Other hierarchies below do not matter.
        return Cgroups((found[_ROOT],))
    if not any("name=systemd" in each.options for each in found.values()):
        raise LabError(
            "this machine has no cgroup hierarchy for systemd",
            tried="looking for cgroup2 or name=systemd in /proc/self/mountinfo",
            cure="mkdir -p /sys/fs/cgroup/systemd && mount -t cgroup -o none,name=systemd systemd /sys/fs/cgroup/systemd",
        )
    return Cgroups(tuple(found.values()))
