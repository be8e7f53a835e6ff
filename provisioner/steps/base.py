"""The Protocol of a step, and the values that steps return.

A step compares the desired state with the actual state and writes the script that repairs the difference. It runs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from provisioner import render
from provisioner.model import Drift, Kind
from provisioner.stores.values import digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from provisioner.controlplane import Site
    from provisioner.stores.values import File
    from provisioner.system.facts import Facts
    from provisioner.system.owned import Owned
    from provisioner.transport import Connection, Reader


def differing(facts: Facts, wanted: Mapping[str, str]) -> list[Drift]:
    """Return a drift for each file (path -> text) that is missing on the host or has another text."""
    found = {path: facts.files.get(path, "") for path in wanted}
    return [
        Drift(Kind.FILE, path, found[path], text, is_file=True) for path, text in wanted.items() if found[path] != text
    ]


def differing_secrets(facts: Facts, files: Iterable[File], title: str = "") -> list[Drift]:
    """Return a drift for each secret file that is missing, has another content, or another mode or owner.

    The drifts never contain the content. title: the store to which the files belong.
    """
    drift = []
    for file in files:
        found = facts.sum(file.path) or digest(facts.secrets.get(file.path, ""))
        mode, has = f"{file.mode.lstrip('0')} {file.owner}", facts.modes.get(file.path, "")
        if found != digest(file.text):
            is_ = "another" if found else "absent"
            drift.append(Drift(Kind.CONFIDENTIAL, file.path, is_, "as wanted", action=file.takes, of=title))
        elif has not in {"", mode}:
            drift.append(Drift(Kind.MODE, file.path, has, mode))
    return drift


@dataclass(frozen=True)
class Upload:
    """A file of the controller that is copied to the host, and added to its record, before the script runs."""

    local: Path
    remote: str
    sha256: str
    mode: int = 0o600

    def script(self) -> str:
        """Return the script that receives the file on the host. Raises OSError if the local file can't be read."""
        return render.receiving(self.remote, self.local.stat().st_size, self.sha256, self.mode, recorded=True)


@dataclass(frozen=True)
class PeerOutput:
    """Reading scripts (host -> script) whose output becomes the standard input of another host's script.

    The output is stored nowhere. Each script runs once per step, however many hosts get the output. The output of the
    hosts that answer is enough.
    """

    scripts: Mapping[str, str]


@dataclass(frozen=True)
class Work:
    """The work that repairs one host in one round trip.

    Attributes:
        script: POSIX sh. It ends with exit code 0, or through `fail` or `fail_all` of templates/lib.sh.
        text: what the script does, for people ("restarting the engine").
        deadline: seconds that the script may take.
        uploads: files to copy to the host first.
        alone: no other host may be changed meanwhile, because a server, or an engine with containers, restarts.
        rank: the order of hosts with `alone`; the lowest is first.
        at_once: the number of hosts that are changed in parallel; 0 means all.
        stdin: the source of the script's standard input.
    """

    script: str
    text: str
    deadline: float = 60.0
    uploads: tuple[Upload, ...] = ()
    alone: bool = False
    rank: int = 0
    at_once: int = 0
    stdin: PeerOutput | None = None


class OfHosts:
    """Base of the steps that are complete when each host's own work is done: `wait` and `act` do nothing."""

    def wait(self, site: Site, connections: Mapping[str, Reader]) -> None:
        pass

    def act(self, site: Site, connections: Mapping[str, Connection]) -> None:
        pass


class Step(Protocol):
    """One concern that is brought to its desired state on every host.

    reads: the sections of the facts that show the actual state. They are read again after the work.
    patience: seconds after the work during which a host may still reach the desired state by itself.
    cure: what the user can do about a host that does not reach it.
    """

    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def reads(self) -> tuple[str, ...]: ...
    @property
    def patience(self) -> float: ...
    @property
    def cure(self) -> str: ...

    def drift(self, site: Site, host: str) -> tuple[Drift, ...]:
        """Return the differences between desired and actual state. Pure.

        Raises StepFailed if the actual state must not be changed.
        """
        ...

    def work(self, site: Site, host: str, drift: tuple[Drift, ...]) -> Work | None:
        """Return the work that repairs the drift, or None if another host's work repairs it (a shared network). Pure."""
        ...

    def wait(self, site: Site, connections: Mapping[str, Reader]) -> None:
        """Wait for what the cluster needs before the next step. Called once after the work. Raises ProvisionerError."""
        ...

    def act(self, site: Site, connections: Mapping[str, Connection]) -> None:
        """Change what belongs to the cluster and not to one host, such as the store. Called once, after `wait`.

        Each change uses `write` or `changing` of a connection, which check the lock and count the change.
        Raises ProvisionerError.
        """
        ...


class Built(Step, Protocol):
    """A step of `up`. It declares what this version and all earlier ones put on hosts."""

    @property
    def owns(self) -> Owned: ...
