"""A real OpenSSH server on loopback for each test. It changes nothing in /etc, and does not outlive the test.

If root runs the tests, the server has its own mount namespace. There it has a private /run (so its locks are separate)
and users with different login shells and rights. Otherwise it serves the user who runs the tests, and tests that need
root are skipped.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pytest

from provisioner.model import SshTarget
from provisioner.transport import Connection, connect
from tests.ports import free_port

SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
ROOT = os.geteuid() == 0 and subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode == 0


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Fail without sshd. With PROVISIONER_NO_SSHD=1, skip these tests instead, so that pytest reports the reason."""
    if SSHD is None and os.environ.get("PROVISIONER_NO_SSHD") == "1":
        pytest.skip("sshd is not installed, and PROVISIONER_NO_SSHD=1")
    if SSHD is None:
        pytest.fail(
            "sshd is not installed: install openssh-server, or skip these tests with PROVISIONER_NO_SSHD=1",
            pytrace=False,
        )


# Private /run, an empty home for root, and users u-bash, u-dash ... Each has the login shell of its name and noisy
# start-up files. All but u-dash and u-nologin have sudo. The password of u-typed, for sudo too, is PASSWORD; u-tty and
# u-ttyfree need a terminal for sudo, the latter no password.
NAMESPACE = """\
set -e
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -m 755 /run/sshd
mkdir -p "$1/home"
mkdir -p "$1/home/root"
awk -F: -v OFS=: -v home="$1/home/root" '$1 == "root" { $6 = home } { print }' /etc/passwd >"$1/passwd"
cp /etc/shadow "$1"
id=61000
for shell in bash dash fish tcsh nologin; do
  path=$(command -v $shell) || continue
  id=$((id + 1)); home="$1/home/$shell"
  echo "u-$shell:x:$id:65534::$home:$path" >>"$1/passwd"
  echo "u-$shell:*:19000:0:99999:7:::" >>"$1/shadow"
  mkdir -p "$home/.config/fish"
  for file in .bashrc .profile .tcshrc .config/fish/config.fish; do
    printf 'echo NOISE; echo "more NOISE"\\n' >"$home/$file"
  done
  chown -R $id:65534 "$home"
done
for user in typed tty ttyfree; do
  id=$((id + 1))
  echo "u-$user:x:$id:65534::$1/home:/bin/sh" >>"$1/passwd"
  echo "u-$user:$(cat "$1/hash"):19000:0:99999:7:::" >>"$1/shadow"
done
mount --bind "$1/passwd" /etc/passwd
mount --bind "$1/shadow" /etc/shadow
if test -f /etc/sudoers; then
  printf '%s ALL=(ALL) NOPASSWD: ALL\\n' root u-bash u-fish u-tcsh u-ttyfree >"$1/sudoers"
  printf '%s\\n' 'u-typed ALL=(ALL) ALL' 'u-tty ALL=(ALL) ALL' 'Defaults:u-tty,u-ttyfree requiretty' >>"$1/sudoers"
  printf 'Defaults logfile=%s\\n' "$1/sudo.log" >>"$1/sudoers"
  chmod 440 "$1/sudoers"
  mount --bind "$1/sudoers" /etc/sudoers
fi
exec "$2" -D -e -f "$1/conf"
"""


PASSWORD = "correct horse $(id)"


def keygen(path: Path, kind: str = "ed25519", password: str = "") -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", password, "-f", path], check=True)
    return path


class Sshd:
    """One server with its own folder. `start` restarts it with other options on the same port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.host_key = keygen(folder / "host_key")
        self.key = keygen(folder / "key")
        shutil.copy(folder / "key.pub", folder / "authorized_keys")
        hashed = subprocess.run(
            ["openssl", "passwd", "-6", "-stdin"], input=PASSWORD, capture_output=True, text=True, check=True
        )
        (folder / "hash").write_text(hashed.stdout)
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._connections: list[Connection] = []

    def start(self, *options: str) -> None:
        self.stop()
        lines = [
            *options,
            f"Port {self.port}",
            "ListenAddress 127.0.0.1",
            f"AuthorizedKeysFile {self.folder}/authorized_keys",
            "StrictModes no",
            *([] if any("UsePAM" in option for option in options) else ["UsePAM no"]),
            "PidFile none",
            *([] if any("HostKey" in option for option in options) else [f"HostKey {self.host_key}"]),
            *self._if_known("PerSourcePenalties no"),
        ]
        (self.folder / "conf").write_text("\n".join(lines) + "\n")
        command = [SSHD, "-D", "-e", "-f", self.folder / "conf"]
        if ROOT:
            command = ["unshare", "-m", "sh", "-c", NAMESPACE, "sh", self.folder, SSHD]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._await()

    def _if_known(self, option: str) -> list[str]:
        probe = self.folder / "probe"
        probe.write_text(f"HostKey {self.host_key}\n{option}\n")
        tried = subprocess.run([SSHD, "-t", "-f", probe], check=False, capture_output=True)
        return [option] if tried.returncode == 0 else []

    def _await(self) -> None:
        end = time.monotonic() + 10
        while time.monotonic() < end and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        pytest.fail(f"sshd did not start: {self.log()}")

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def target(self, **changes: object) -> SshTarget:
        target = SshTarget(
            name="one",
            address="127.0.0.1",
            port=self.port,
            user=getpass.getuser(),
            key=self.key,
            host_keys="accept-new",
            known_hosts=self.folder / "known_hosts",
            connect_timeout=5.0,
        )
        return replace(target, **changes)

    def connect(self, user: str | None = None, **hooks: object) -> Connection:
        target = self.target(user=user) if user else self.target()
        connection = connect(target, **hooks)
        self._connections.append(connection)
        return connection

    def cut(self) -> None:
        """Kill the server's process of every connection, but none of the scripts that run in them."""
        for pid in self._sessions(self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _sessions(self, parent: int) -> list[int]:
        found = []
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a process may end meanwhile
            for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
                if Path(f"/proc/{child}/comm").read_text().startswith("sshd"):
                    found += [*self._sessions(int(child)), int(child)]
        return found

    def stop(self) -> None:
        for connection in self._connections:
            connection.close()
        self._connections.clear()
        if self.process and self.process.poll() is None:
            self.cut()
            self.process.terminate()
            self.process.wait(10)


@pytest.fixture
def sshd(tmp_path: Path):
    # The users of the namespace need access to their homes below these folders.
    for folder in (tmp_path, *list(tmp_path.parents)[:3]):
        if ROOT and folder.owner() == getpass.getuser() and folder != Path("/tmp"):
            folder.chmod(folder.stat().st_mode | 0o011)
    server = Sshd(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def connection(sshd: Sshd) -> Connection:
    return sshd.connect()


@pytest.fixture
def password() -> str:
    return PASSWORD


@pytest.fixture
def root() -> None:
    if not ROOT:
        pytest.skip("needs root and a mount namespace")


@pytest.fixture
def wait_for():
    """Poll until a condition is true; fail after `seconds`."""

    def wait(condition, seconds: float = 20.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "the condition is still false"
            time.sleep(0.01)

    return wait


@pytest.fixture
def controller(sshd: Sshd, tmp_path: Path):
    """Run code with a connection `c` in a separate process, which the test may kill."""
    started = []

    def run(code: str) -> subprocess.Popen[str]:
        target = sshd.target()
        text = (
            "from pathlib import *\nfrom provisioner.model import SshTarget\nfrom provisioner.transport import connect\n"
            f"c = connect({target!r})\n".replace("PosixPath", "Path")
            + textwrap.dedent(code)
        )
        process = subprocess.Popen([os.sys.executable, "-c", text], stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()
