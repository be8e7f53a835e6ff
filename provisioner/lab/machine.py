"""What the lab requires of the machine, and where it stores its data."""

from __future__ import annotations

import contextlib
import glob
import os
import shlex
import shutil
import sys
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from provisioner.errors import LabError
from provisioner.labs import lab_dir

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Command -> the Debian package that provides it.
COMMANDS = {
    "mmdebstrap": "mmdebstrap",
    "ip": "iproute2",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "setsid": "util-linux",
    "script": "bsdutils",
    "mount": "mount",
    "ssh-keygen": "openssh-client",
    "ssh": "openssh-client",
    "dpkg-deb": "dpkg",
}
NAT = {"iptables": "iptables"}  # what a lab with NAT needs besides
# Measured: systemd uses three, containerd one.
INOTIFY_PER_HOST = 4
_NEIGHBOURS = 3  # entries for each host on each other one: for the host, for its probe and for a container
KEYRINGS = (
    Path("/usr/share/keyrings/debian-archive-keyring.gpg"),
    Path("/usr/share/keyrings/debian-archive-keyring.pgp"),
)


def in_memory() -> bool:
    """Whether the hosts' disks should be in memory, which is faster: $PROVISIONER_LAB_IN_MEMORY is 1."""
    return os.environ.get("PROVISIONER_LAB_IN_MEMORY") == "1"


def keyring() -> Path:
    """The keys that Debian signs its archive with. Raises LabError."""
    for path in KEYRINGS:
        if path.exists():
            return path
    raise LabError("this machine lacks Debian's archive keys", cure="apt-get install debian-archive-keyring")


def require_root() -> None:
    """Raise LabError if the user is not root."""
    if os.geteuid() != 0:
        raise LabError("the lab needs root", cure=f"sudo {shlex.join(_this_command())}")


def _this_command() -> list[str]:
    """The command that runs, with the path of its program: sudo does not look where a virtual environment puts it."""
    program = Path(sys.argv[0]).absolute()
    is_module = program.name == "__main__.py"
    return [*([sys.executable, "-m", "provisioner"] if is_module else [str(program)]), *sys.argv[1:]]


def check(more: Mapping[str, str] = MappingProxyType({})) -> None:
    """Raise LabError with a cure if this machine can't run a lab. more: further commands, with their packages."""
    require_root()
    needed = {**COMMANDS, **more}
    missing = sorted({package for command, package in needed.items() if not shutil.which(command)})
    if not any(path.exists() for path in KEYRINGS):
        missing.append("debian-archive-keyring")
    if missing:
        raise LabError(f"this machine lacks {', '.join(missing)}", cure=f"apt-get install --yes {' '.join(missing)}")
    _check_file_system(lab_dir())


def check_room(hosts: int) -> None:
    """Raise LabError if the kernel's limits do not allow this number of additional hosts."""
    limit = int(Path("/proc/sys/fs/inotify/max_user_instances").read_text())
    used = _inotify_in_use()
    if used + hosts * INOTIFY_PER_HOST > limit:
        raise LabError(
            f"{hosts} more hosts need about {hosts * INOTIFY_PER_HOST} inotify instances; "
            f"this machine allows root {limit}, and {used} are in use",
            cure=f"sysctl -w fs.inotify.max_user_instances={max(1024, 2 * (used + hosts * INOTIFY_PER_HOST))}",
        )


def crowd_warning(hosts: int) -> str:
    """Return a warning about a lab with this number of hosts, or ""."""
    limit = int(Path("/proc/sys/net/ipv4/neigh/default/gc_thresh3").read_text())
    if _NEIGHBOURS * hosts * hosts <= limit:
        return ""
    return (
        f"the kernel allows {limit} neighbours in all namespaces together; if {hosts} hosts and containers on each of them all talk to"
        f" one another, some will not get through: sysctl -w net.ipv4.neigh.default.gc_thresh3={2 * _NEIGHBOURS * hosts * hosts}"
    )


def _inotify_in_use() -> int:
    count = 0
    for link in matching(Path("/proc"), "[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            count += str(link.readlink()) == "anon_inode:inotify"
    return count


def matching(folder: Path, pattern: str) -> Iterator[Path]:
    """The paths in `folder` that match. Folders may vanish meanwhile; pathlib's glob raises then, up to Python 3.12."""
    return map(Path, glob.iglob(f"{glob.escape(str(folder))}/{pattern}"))  # noqa: PTH207


def _check_file_system(folder: Path) -> None:
    while not folder.exists():
        folder = folder.parent
    best, kind = "", ""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:  # noqa: PTH123
        for line in table:
            fields = line.split()
            point = fields[4].rstrip("/")
            # A later line hides an earlier one with the same mount point.
            if len(point) >= len(best) and (folder == Path(point or "/") or Path(point or "/") in folder.parents):
                best, kind = point, fields[fields.index("-") + 1]
    if kind in {"overlay", "aufs", "nfs", "nfs4", "9p", "virtiofs", "vboxsf"}:
        raise LabError(
            f"the lab's folder lies on {kind}, which does not support the hosts' disks",
            cure="set PROVISIONER_LAB_DIR to a folder on ext4, xfs, btrfs or tmpfs",
        )
