"""A lab with an inventory, and `provisioner` run against it as a user would: in a separate process, in the lab's network."""

from __future__ import annotations

import itertools
import json
import subprocess
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from provisioner.lab import Lab, enter_switch
from tests.e2e import killed
from tests.e2e.loaded import Provisioner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

PROBE_IMAGE = "tests/box"


def primary(old: str, new: str) -> str:
    """A script that gives a host a new primary address; the old one stays as its secondary address."""
    return f"ip address del {old}/24 dev eth0; ip address add {new}/24 dev eth0; ip address add {old}/24 dev eth0"


@dataclass
class Run:
    """The result of a command. `report` is its JSON document, empty if it printed none. `log`: what it logged."""

    code: int
    out: str
    err: str
    report: dict[str, Any] = field(default_factory=dict)
    log: str = ""

    def outcome(self, step: str, host: str) -> dict[str, Any]:
        return next(o for o in self.report["outcomes"] if (o["step"], o["host"]) == (step, host))

    def state(self, step: str, host: str) -> str:
        return str(self.outcome(step, host)["state"])

    def drifts(self, step: str) -> list[str]:
        """The drifts of a step on all hosts."""
        return [d["what"] for o in self.report["outcomes"] if o["step"] == step for d in o["drifts"]]

    @property
    def proven(self) -> bool:
        proofs = self.report["proofs"]
        seen = [p["pairs"] or p["checks"] for p in proofs]
        return bool(proofs) and all(p["state"] == "settled" for p in proofs) and all(seen) and bool(self.overlays)

    @property
    def overlays(self) -> list[dict[str, Any]]:
        """The proofs of overlay networks, without the proofs of other kinds."""
        return [proof for proof in self.report["proofs"] if proof["proof"] == "overlay"]


_numbers = itertools.count()


def _logged(path: Path | None) -> str:
    """The log of a command. Each command on a host has a name there."""
    if path is None or not path.exists():  # it was refused
        return ""
    text = path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert "running a script" not in text, "a script without a name was sent"
    path.unlink()
    return text


@dataclass
class Cluster:
    """A lab and the values that its inventory is written from.

    hosts: the lab's hosts that the inventory names, by default all. called: their names in the inventory, where these differ
    from the lab's. extra: more YAML at top level. store: empty for a swarm.
    """

    lab: Lab
    folder: Path
    hosts: tuple[str, ...] = ()
    per_host: dict[str, str] = field(default_factory=dict)
    called: dict[str, str] = field(default_factory=dict)
    ssh: str = ""
    store: str = "{kind: consul}"
    networks: str = "{demo: {subnet: 10.99.0.0/24}}"
    extra: str = ""

    @property
    def inventory(self) -> Path:
        """The inventory's path. Each access writes the file again, so that a test can change the values."""
        path = self.folder / "inventory.yml"
        known = self.folder / "known_hosts"
        names = self.hosts or self.lab.hosts
        entries = "".join(
            f"  {self.called.get(n, n)}: {{address: {self.lab.address(n)}{self.per_host.get(n, '')}}}\n" for n in names
        )
        store = f"store: {self.store}\n" if self.store else ""
        path.write_text(
            f"cluster: test\nssh: {{user: root, key: {self.lab.key}, host_keys: accept-new, known_hosts: {known}, config: none{self.ssh}}}\n"
            f"hosts:\n{entries}{store}networks: {self.networks}\n{self.extra}"
        )
        return path

    def run(self, command: str, *options: str, timeout: float = 240) -> Run:
        return self.ended(self.begin(command, *options), timeout)

    def begin(self, command: str, *options: str, before: Iterable[Callable[[], object]] = ()) -> Provisioner:
        """Start a command and return at once, for tests that act while it runs. `ended` waits for its result."""
        log = self.folder / f"{next(_numbers)}.log"
        argv = [*command.split(), str(self.inventory), "--json", "--log", str(log), *options]
        return Provisioner(argv, [partial(enter_switch, self.lab.name), *before], log)

    def killed(self, after: int, when: str = "answered", *options: str, command: str = "up") -> Run:
        """Run a command that kills itself (SIGKILL, code -9); see `killed.dies` for `after` and `when`."""
        return self.ended(self.begin(command, *options, before=[partial(killed.dies, after, when)]))

    def ended(self, process: Provisioner, timeout: float = 240) -> Run:
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(f"still running after {timeout} s:\n{out}\n{err}") from None
        try:
            report = json.loads(out)
        except ValueError:
            report = {}
        return Run(process.returncode, out, err, report, _logged(process.log))

    def up(self) -> Run:
        """Run `up`, which must succeed and prove its networks."""
        run = self.run("up")
        assert run.code == 0, run.err
        assert run.proven, run.err
        return run

    # -- inside the hosts -----------------------------------------------------------------------------------------

    def sh(self, host: str, script: str, *, check: bool = True, timeout: float = 60) -> str:
        return self.lab.exec(host, ["sh", "-c", script], check=check, timeout=timeout).stdout.strip()

    def file(self, host: str, path: str) -> str:
        return self.sh(host, f"cat {path} 2>/dev/null", check=False)

    def engine(self, host: str, what: str) -> str:
        return self.sh(host, f"docker info --format '{{{{.{what}}}}}'")

    def started(self, host: str, container: str) -> str:
        return self.sh(host, f"docker inspect -f '{{{{.State.Running}}}} {{{{.State.StartedAt}}}}' {container}")

    def box(self, host: str, name: str, network: str = "bridge", options: str = "") -> None:
        """Start a container that sleeps for an hour. It uses the host's programs, so no image is pulled."""
        self.sh(
            host,
            f"docker image inspect {PROBE_IMAGE} >/dev/null 2>&1 || tar c -T /dev/null | docker import - {PROBE_IMAGE} >/dev/null;"
            f" docker run -d --name {name} --network {network} {options} -v /usr:/usr:ro -v /bin:/bin:ro -v /lib:/lib:ro"
            f" -v /lib64:/lib64:ro {PROBE_IMAGE} sleep 3600 >/dev/null",
        )
