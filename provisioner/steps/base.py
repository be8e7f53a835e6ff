"""What a step is. A step says what is wanted, sees what differs, and writes the script that repairs it; it runs nothing."""

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
    """The files (path -> text) that are otherwise on the host, or not there."""
    found = {path: facts.files.get(path, "") for path in wanted}
    return [
        Drift(Kind.FILE, path, found[path], text, is_file=True) for path, text in wanted.items() if found[path] != text
    ]


def differing_secrets(facts: Facts, files: Iterable[File], title: str = "") -> list[Drift]:
    """The files that are otherwise on the host, or that others may read; of these no more is told than that."""
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
    """A program of the controller's that goes to the host, and onto its record, before the script runs."""

    local: Path
    remote: str
    sha256: str
    mode: int = 0o600

    def script(self) -> str:
        """What takes it in on the host. Raises OSError where it can't be read."""
        return render.receiving(self.remote, self.local.stat().st_size, self.sha256, self.mode, recorded=True)


@dataclass(frozen=True)
class Told:
    """What reading scripts print (host -> script), handed to the work of another host on its standard input; kept nowhere.

    Of several hosts those that answer are enough. Read once a step, however many hosts are to have it.
    """

    scripts: Mapping[str, str]


@dataclass(frozen=True)
class Work:
    """What repairs one host: a POSIX sh script (one round trip) and how long it may take, in seconds.

    The script ends with 0, or through `fail` / `fail_all` of templates/lib.sh.
    alone: no other host may be worked on meanwhile (a server or an engine with containers is restarted).
    rank: of those, the lowest comes first.
    at_once: at most so many hosts are worked on side by side; 0: all of them.
    told: what the script is to read from its standard input.
    """

    script: str
    text: str
    deadline: float = 60.0
    uploads: tuple[Upload, ...] = ()
    alone: bool = False
    rank: int = 0
    at_once: int = 0
    told: Told | None = None


class OfHosts:
    """A step that each host's own work completes: there is nothing to wait for, and nothing else to change."""

    def wait(self, site: Site, connections: Mapping[str, Reader]) -> None:
        pass

    def act(self, site: Site, connections: Mapping[str, Connection]) -> None:
        pass


class Step(Protocol):
    """One concern that is brought to its wanted state on every host.

    reads: the sections of the facts that tell its state; they are read again after a repair.
    patience: seconds in which hosts may still come to the wanted state by themselves after the repair.
    cure: what to do about a host that does not.
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
        """What differs between wanted and found. Pure. Raises StepFailed where the found state must not be touched."""
        ...

    def work(self, site: Site, host: str, drift: tuple[Drift, ...]) -> Work | None:
        """What repairs it; None where another host's work repairs this one too (a network). Pure."""
        ...

    def wait(self, site: Site, connections: Mapping[str, Reader]) -> None:
        """Called once after the repairs: waits for what the cluster needs before the next step. Raises ProvisionerError."""
        ...

    def act(self, site: Site, connections: Mapping[str, Connection]) -> None:
        """Called once after the wait: changes what no host's own work does, the store as a whole. Raises ProvisionerError.

        Each change goes out by `write` or within `changing` of its connection: the lock is checked, and it is counted.
        """
        ...


class Built(Step, Protocol):
    """A step of `up`: it declares what it puts on hosts, all versions so far included."""

    @property
    def owns(self) -> Owned: ...
