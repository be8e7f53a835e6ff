"""libvirt, its machines and Vagrant in separate namespaces (libvirt.sh). Killing one process ends all of them."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).with_name("libvirt.sh")
URI = "qemu:///system"
START = 60  # seconds


class Hypervisor:
    """A running libvirtd. It ends with `close`, or with this process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self._log = (folder / "libvirtd.log").open("wb")
        self._process = subprocess.Popen(
            [
                *("setpriv", "--pdeathsig", "KILL", "unshare", "--net", "--mount", "--pid", "--ipc", "--fork"),
                *("--kill-child", "--mount-proc", "sh", str(SCRIPT), str(folder)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            self._wait()
        except BaseException:
            self.close()
            raise

    def _wait(self) -> None:
        deadline = time.monotonic() + START
        while time.monotonic() < deadline and self._process.poll() is None:
            if self._first() and self.run("virsh", "-c", URI, "version", check=False).returncode == 0:
                return
            time.sleep(0.3)
        raise AssertionError(f"libvirtd did not start within {START} s:\n{(self.folder / 'libvirtd.log').read_text()}")

    def _first(self) -> str:
        """The machine's PID of process 1 of the namespaces; empty before it exists."""
        pid = self._process.pid
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().strip()

    def inside(self, folder: Path, *argv: str) -> list[str]:
        return ["nsenter", "--target", self._first(), "--net", "--mount", "--pid", "--ipc", f"--wdns={folder}", *argv]

    def run(self, *argv: str, cwd: Path = Path("/"), check: bool = True, timeout: float = 120, **keywords: Any) -> Any:
        """Run a command in the namespaces. stdout and stderr are both in `stdout`.

        Raises AssertionError if `check` is set and the command fails, TimeoutExpired after `timeout` seconds.
        """
        ended = subprocess.run(
            self.inside(cwd, *argv),
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            **keywords,
        )
        assert not check or ended.returncode == 0, f"{' '.join(argv)} ended with {ended.returncode}:\n{ended.stdout}"
        return ended

    def virsh(self, *arguments: str) -> str:
        return str(self.run("virsh", "-c", URI, *arguments).stdout)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()
