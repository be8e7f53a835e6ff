"""One host of a lab: its folder, its disk, its processes.

hosts/<name>/image        the path of the image's folder
hosts/<name>/seed/        the host's identity: name, machine ID, SSH keys; copied to a fresh disk
hosts/<name>/upper, work  the disk: differences from the image
hosts/<name>/docker, containerd   the engine's data
hosts/<name>/base         the path of the snapshot's host whose disk is a layer below this one; see snapshot.py
hosts/<name>/root, netns  mount points, used only at boot
hosts/<name>/init         process ID and start time of the running host's process 1
hosts/<name>/console.log  the console's output since the last start
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from provisioner.errors import LabError
from provisioner.lab import switch
from provisioner.lab.shell import communicate, record, remove_tree, run, wait_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provisioner.lab.cgroups import Cgroups
    from provisioner.lab.shell import Answer
    from provisioner.lab.topology import Topology

INIT_DEADLINE = 20  # seconds
BOOT_SCRIPT = Path(__file__).with_name("boot.sh")
_DISK = ("upper", "work", "docker", "containerd")
_KEPT = ("seed", "docker", "containerd")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Host:
    """A host of the lab in `lab_folder`; number 1 is node1, in a flat lab at 192.168.56.11."""

    lab_folder: Path
    number: int
    image: Path
    topology: Topology

    @property
    def name(self) -> str:
        return f"node{self.number}"

    @property
    def address(self) -> str:
        return self.topology.address(self.number)

    @property
    def folder(self) -> Path:
        return self.lab_folder / "hosts" / self.name

    @property
    def console(self) -> Path:
        return self.folder / "console.log"

    @property
    def place(self) -> str:
        """Its cgroup, below the cgroup of all labs."""
        return f"{self.lab_folder.name}/{self.name}"

    @property
    def init(self) -> int | None:
        """The machine's process ID of the host's process 1; None if the host is off."""
        try:
            pid, started = (self.folder / "init").read_text().split()
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        # Fields 3 (state) and 22 (start time) of proc(5). A zombie is only waiting to be reaped.
        return int(pid) if fields[19] == started and fields[0] not in "ZX" else None

    def create(self, authorized_key: str) -> None:
        """Create the host's folder and its identity. Raises LabError."""
        remove_tree(self.folder)
        self.folder.mkdir(parents=True)
        (self.folder / "root").mkdir()
        seed = self.folder / "seed"
        for folder, mode in (("etc/ssh", 0o755), ("root/.ssh", 0o700)):
            (seed / folder).mkdir(parents=True)
            (seed / folder).chmod(mode)
        (seed / "root").chmod(0o700)
        (seed / "etc/hostname").write_text(f"{self.name}\n")
        (seed / "etc/hosts").write_text(f"127.0.0.1\tlocalhost\n127.0.1.1\t{self.name}\n::1\tlocalhost ip6-localhost\n")
        (seed / "etc/machine-id").write_text(f"{uuid.uuid4().hex}\n")
        (seed / "root/.ssh/authorized_keys").write_text(authorized_key)
        (seed / "root/.ssh/authorized_keys").chmod(0o600)
        make_key(seed / "etc/ssh/ssh_host_ed25519_key", f"root@{self.name}")
        # This file is the last one: a host without it is incomplete and ignored.
        record(self.folder / "image", f"{self.image}\n")

    @property
    def host_key(self) -> str:
        """Its public SSH key as a line of known_hosts."""
        kind, key, *_ = (self.folder / "seed/etc/ssh/ssh_host_ed25519_key.pub").read_text().split()
        return f"{self.address} {kind} {key}\n"

    def wipe(self) -> None:
        """Give the host a fresh disk for its next boot."""
        for part in (*_DISK, "base"):
            remove_tree(self.folder / part)

    def keep(self, kept: Path) -> None:
        """Copy the host, which must be off, into the folder `kept` of a snapshot. Raises LabError."""
        kept.mkdir(parents=True)
        _copy([self.folder / part for part in (*_KEPT, "upper")], kept)

    def restore(self, kept: Path) -> None:
        """Create the host's folder from the folder `kept` of a snapshot. Raises LabError."""
        remove_tree(self.folder)
        for part in ("root", "upper", "work"):
            (self.folder / part).mkdir(parents=True)
        _copy([kept / part for part in _KEPT], self.folder)
        record(self.folder / "base", f"{kept}\n")
        record(self.folder / "image", f"{self.image}\n")  # the last file, as in `create`

    @property
    def _lower(self) -> str:
        """The read-only layers of its disk, the top one first."""
        layers = [self.image / "root"]
        with contextlib.suppress(FileNotFoundError):
            layers.insert(0, Path((self.folder / "base").read_text().strip()) / "upper")
        return ":".join(map(str, layers))

    def boot(self, cgroups: Cgroups, switch_namespace: Path) -> bool:
        """Start the host with its present disk. Returns whether the disk is fresh. Raises LabError.

        The host does not answer yet: see `wait_ssh`.
        """
        fresh = not (self.folder / "upper").exists()
        for part in _DISK:
            (self.folder / part).mkdir(exist_ok=True)
        (self.folder / "init").unlink(missing_ok=True)
        self.console.write_bytes(b"")
        namespace = self.folder / "netns"
        switch.make_namespace(namespace)
        try:
            switch.plug(switch_namespace, namespace, self.name, self.number, self.topology)
            self._spawn(cgroups, fresh=fresh)
            if not wait_for((self.folder / "init").exists, timeout=INIT_DEADLINE):
                raise self._error(f"the host's first process did not start within {INIT_DEADLINE} s")
        finally:
            # From now on, the host's processes keep its network namespace alive.
            switch.drop_namespace(namespace)
        return fresh

    def _spawn(self, cgroups: Cgroups, *, fresh: bool) -> None:
        environment = {
            "PATH": _PATH,
            "SHELL": "/bin/sh",
            "LAB_SCRIPT": str(BOOT_SCRIPT),
            "LAB_HOST": str(self.folder),
            "LAB_LOWER": self._lower,
            "LAB_FRESH": "1" if fresh else "0",
            "LAB_CGROUPS": cgroups.spec,
            # Without these arguments, systemd 256 and later refuse cgroup version 1. Earlier versions ignore them.
            "LAB_INIT_ARGS": ""
            if cgroups.unified
            else "systemd.unified_cgroup_hierarchy=0 SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1",
        }
        console = ["script", "--quiet", "--flush", "--command", 'exec sh "$LAB_SCRIPT" enter', str(self.console)]
        spawn_joined(cgroups.make(self.place), console, environment=environment)

    def wait_ssh(self, *, timeout: float) -> None:
        """Wait until its SSH server listens. Raises LabError after `timeout` seconds."""
        if not wait_for(lambda: self._ssh_listens() or not self.init, timeout=timeout):
            raise self._error(f"no SSH server within {timeout:.0f} s", tried="looking for its /run/sshd.pid")
        if not self.init:
            wait_for(lambda: self.console.stat().st_size > 0, timeout=1)  # its last output may still be on its way
            raise self._error("the host ended while it was starting")

    def _ssh_listens(self) -> bool:
        """Whether its SSH server listens: it writes its process ID then (OpenSSH's sshd.c).

        A connection would leave a trace in the server's log. Reading the host's /proc/net/tcp is slow: the kernel searches all
        connections of the machine, which takes 3 ms on a machine with 24 GiB, and as long for tcp6.
        """
        root = Path(f"/proc/{self.init}/root")
        with contextlib.suppress(OSError):
            # Until the host has its own root, this path shows the machine's.
            return not root.samefile("/") and (root / "run/sshd.pid").exists()
        return False

    def wait_booted(self, *, timeout: float) -> None:
        """Wait until its systemd has started all units of the boot. Raises LabError after `timeout` seconds."""
        # The answer is "running", or "degraded" if a unit has failed, which the lab accepts.
        answer = self.exec(["systemctl", "is-system-running", "--wait"], timeout=timeout, stdin=None)
        if answer.stdout.strip() not in {"running", "degraded"}:
            raise self._error(
                "the host did not finish booting", tried=f"systemctl says {answer.stdout or answer.stderr}"
            )

    def wait_settled(self, ready: str, *, timeout: float) -> None:
        """Wait until all its units have started and the command `ready` succeeds. Raises LabError after `timeout` seconds."""
        self.wait_booted(timeout=timeout)
        said = ""

        def served() -> bool:
            nonlocal said
            answer = self.exec(
                ["sh", "-c", f"systemctl is-system-running && {{ {ready}; }} >/dev/null"], timeout=timeout, stdin=None
            )
            said = f"{answer.stdout}\n{answer.stderr}".strip()
            return answer.returncode == 0

        if not wait_for(served, timeout=timeout):
            raise LabError(f"the host did not settle within {timeout:.0f} s", host=self.name, tried=ready, answer=said)

    def wait_alone(self, *, timeout: float) -> None:
        """Wait until no command of an SSH session runs, such as the clean-up of a proof.

        Raises LabError after `timeout` seconds.
        """
        tasks = ["systemctl", "show", "--property=TasksCurrent", "--value", "ssh.service"]
        if not wait_for(lambda: self.exec(tasks, timeout=timeout, stdin=None).stdout.strip() == "1", timeout=timeout):
            raise self._error(f"commands from SSH sessions still run after {timeout:.0f} s", tried=" ".join(tasks))

    def kill(self, cgroups: Cgroups, switch_namespace: Path) -> None:
        """End the host like a power cut. Does nothing if the host is off. Raises LabError."""
        if pid := self.init:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        cgroups.remove(self.place)
        (self.folder / "init").unlink(missing_ok=True)
        remove_tree(self.folder / "netns")
        switch.unplug(switch_namespace, self.name)

    def power_off(self, *, timeout: float) -> None:
        """Ask the host's systemd to shut down, and wait. Raises LabError after `timeout` seconds."""
        if pid := self.init:
            # SIGRTMIN+4 starts poweroff.target, see systemd(1).
            os.kill(pid, signal.SIGRTMIN + 4)
            if not wait_for(lambda: not self.init, timeout=timeout):
                raise self._error(
                    f"the host did not shut down within {timeout:.0f} s", tried="SIGRTMIN+4 to its systemd"
                )

    def enter_command(self, argv: Sequence[str]) -> list[str]:
        """The command that runs `argv` inside the host as root. Raises LabError if the host is off."""
        pid = self.init
        if pid is None:
            raise LabError("the host is off", host=self.name, cure="start it, or `provisioner lab reset`")
        inside = ["env", "-i", f"PATH={_PATH}", "HOME=/root", "LANG=C.UTF-8", f"TERM={os.environ.get('TERM', 'dumb')}"]
        spaces = ("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup")
        return ["nsenter", f"--target={pid}", *spaces, "--", *inside, *argv]

    def exec(self, argv: Sequence[str], *, timeout: float, stdin: str | None) -> Answer:
        try:
            return communicate(self.enter_command(argv), timeout=timeout, stdin=stdin)
        except subprocess.TimeoutExpired:
            raise self._error(f"the command did not end within {timeout:.0f} s", tried=" ".join(argv)) from None

    def _error(self, what: str, *, tried: str = "") -> LabError:
        with contextlib.suppress(OSError):
            text = self.console.read_text(errors="replace").replace("\r", "")
            tail = "\n".join(line for line in text.splitlines()[-8:] if not line.startswith("Script "))
            cure = f"its console: {self.console}"
            if "Too many open files" in tail:
                cure = "sysctl -w fs.inotify.max_user_instances=1024, or remove another lab"
            return LabError(what, host=self.name, tried=tried, answer=tail, cure=cure)
        return LabError(what, host=self.name, tried=tried)


def _copy(parts: Sequence[Path], into: Path) -> None:
    """Copy files with owners, times, extended attributes (overlayfs needs them), links and holes."""
    argv = ["cp", "--archive", "--preserve=xattr", "--sparse=always", "--reflink=auto", "--"]
    run([*argv, *map(str, parts), str(into)], timeout=300)


def make_key(file: Path, comment: str) -> None:
    """Create an ed25519 SSH key pair, `file` (mode 0600) and `file`.pub. Raises LabError."""
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(file)])


def spawn_joined(
    joins: Sequence[Path], argv: Sequence[str], *, environment: dict[str, str] | None = None, log: Path | None = None
) -> None:
    """Start `argv` in the background, in cgroups of the machine from its first moment on.

    So the removal of these cgroups finds the process, even if this program is killed right after this line.
    """
    with (log or Path(os.devnull)).open("ab") as output:
        # setsid forks, so the process is no child of this one: a lab outlives the command that created it.
        subprocess.run(
            ["setsid", "--fork", "sh", str(BOOT_SCRIPT), "join", *(str(file) for file in joins), "--", *argv],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            check=True,
            timeout=20,
        )
