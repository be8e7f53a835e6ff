"""Plays a round on a lab: commands that are killed and disturbed, then commands that repair, then checks."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provisioner.errors import LabError
from tests.chaos import judge
from tests.chaos.clock import Clock, ticks
from tests.chaos.scenario import DRIFTS, HOSTS, LEAVER, RECREATED, draw
from tests.e2e.cluster import Cluster, Run

if TYPE_CHECKING:
    from collections.abc import Callable

    from provisioner.lab import Lab
    from tests.chaos.scenario import Act, Kind, Loss, Round
    from tests.e2e.loaded import Provisioner

_PATIENCE = 400  # seconds for one command, on a busy machine
_SUBNETS = ("10.98.0.0/24", "10.97.0.0/24")  # of the network that is recreated, in turn


@dataclass
class Result:
    """The result of a round.

    wrong: the failed checks; empty if the round succeeded. commands: what each command did, in order. logs: their folder.
    """

    round: Round
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    logs: str = ""

    def __str__(self) -> str:
        acts = "; ".join(self.commands)
        end = "settled" if not self.wrong else f"FAILED: {'; '.join(self.wrong)}; logs: {self.logs}"
        return f"{self.round.kind} {self.round.seed}: {self.round.start} hosts: {acts} | {end} | {self.seconds:.0f} s"

    def as_dict(self) -> dict[str, Any]:
        return {
            "kind": self.round.kind,
            "seed": self.round.seed,
            "start": self.round.start,
            "drawn": [str(act) for act in self.round.acts],
            "healing": list(self.round.healing),
            "commands": self.commands,
            "result": "failed" if self.wrong else "settled",
            "wrong": self.wrong,
            "logs": self.logs,
            "seconds": round(self.seconds, 1),
        }


class Player:
    """Plays rounds of one kind on one lab. A round continues with the hosts that the last one has left."""

    def __init__(self, kind: Kind, lab: Lab, logs: Path | None = None) -> None:
        self.kind = kind
        self.lab = lab
        self._logs = logs
        self._settled = False
        self._fresh = True
        self._subnet = 0
        self._cluster = Cluster(lab, Path(), store=kind.store, ssh=", connect_timeout: 4")

    def play(self, seed: int) -> Result:
        """Play one round. Failed checks are in the result, and logs are kept if there are any."""
        result = Result(draw(self.kind, seed))
        began = time.monotonic()
        folder = Path(tempfile.mkdtemp(prefix=f"chaos-{self.kind.name}-{seed}-", dir=self._logs))
        self._folder, self._runs, self._result = folder, 0, result
        self._cluster.folder = folder
        try:
            self._play(result.round)
        except (LabError, AssertionError) as error:
            result.wrong.append(f"{type(error).__name__}: {error}")
        result.seconds = time.monotonic() - began
        if result.wrong:
            judge.keep_logs(self._cluster, folder)
            (folder / "round").write_text(f"{result}\n")
            result.logs = str(folder)
        else:
            for path in folder.iterdir():
                path.unlink()
            folder.rmdir()
        self._settled = not result.wrong and not (result.round.removes and not self.kind.returns)
        return result

    # -- the beginning ---------------------------------------------------------------------------------------------

    def _play(self, drawn: Round) -> None:
        if drawn.start == "fresh" or not self._settled:
            self._reset()
        if drawn.start == "settled" and not self._settled:
            self._heal("up", "at the beginning")
            self._containers()
        for act in drawn.acts:
            self._act(act)
        self._plug_in()
        gone = LEAVER if drawn.removes and not self.kind.returns else ""
        for command in drawn.healing:
            self._heal(command)
            if self._result.wrong:
                return
        if gone:
            self._cluster.hosts = tuple(host for host in HOSTS if host != gone)
            self._heal("up")
        if self._result.wrong:
            return
        self._containers()
        self._result.wrong += judge.unsettled(self._run("up"))
        self._result.wrong += judge.faults(self._cluster, swarm=not self.kind.store)

    def _reset(self) -> None:
        if not self._fresh:
            self.lab.reset()
        self._fresh, self._cluster.hosts = False, ()

    def _containers(self) -> None:
        """Create missing containers: on each host one on a shared network, and one that is independent of the cluster."""
        for host in self._cluster.hosts or HOSTS:
            has = self._cluster.sh(host, "docker ps -a --format '{{.Names}} {{.Networks}}'").splitlines()
            if f"app-{host} demo" not in has:
                self._cluster.sh(host, f"docker rm -f app-{host} 2>/dev/null", check=False)
                self._cluster.box(host, f"app-{host}", "demo", "--restart always")
            if "plain bridge" not in has:
                self._cluster.box(host, "plain", options="--restart always")

    # -- commands that are killed and disturbed ----------------------------------------------------------------------

    def _act(self, act: Act) -> None:
        for host, what in act.drift:
            script = DRIFTS[what].replace("STORE", self.kind.name)
            with suppress(LabError):  # the unit or file may not exist yet
                self._cluster.sh(host, f"{script}; systemctl reset-failed docker", check=False, timeout=150)
        if "--recreate" in act.command:
            self._subnet = 1 - self._subnet
        clock = Clock(self._folder / "clock")
        process = self._begin(act.command, partial(ticks, str(self._folder / "clock")))
        clock.start()
        meanwhile = [threading.Thread(target=each) for each in self._meanwhile(act, clock, process)]
        for thread in meanwhile:
            thread.start()
        try:
            run = self._cluster.ended(process, _PATIENCE)
        finally:
            clock.end()
            for thread in meanwhile:
                thread.join()
        ended = "killed" if run.code == -signal.SIGKILL else f"exit code {run.code}"
        self._note(run, act.command, f"{act}: {ended} after exchange {clock.exchanges}")
        if "Traceback" in run.err:
            self._result.wrong.append(f"{act.command}: a traceback")

    def _meanwhile(self, act: Act, clock: Clock, process: Provisioner) -> list[Callable[[], None]]:
        doing = []
        if killed := act.killed:

            def kill() -> None:
                if clock.wait_for(killed):
                    with suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)

            doing.append(kill)
        if concurrent := act.concurrent:

            def second() -> None:
                if clock.wait_for(concurrent):
                    self._note(self._cluster.run("up", timeout=_PATIENCE), "up beside", "")

            doing.append(second)
        if loss := act.loss:
            doing.append(lambda: self._lose(loss, clock))
        return doing

    def _lose(self, loss: Loss, clock: Clock) -> None:
        """If the command ends before the moment, the loss happens at its end."""
        clock.wait_for(loss.when)
        if loss.what == "power":
            self.lab.stop(*loss.hosts)
            time.sleep(loss.seconds)
            self.lab.start(*loss.hosts)
        else:
            for host in loss.hosts:
                self.lab.cut(host)
            time.sleep(loss.seconds)
            self._plug_in()

    def _plug_in(self) -> None:
        for host in HOSTS:
            self.lab.uncut(host)

    # -- commands that repair ----------------------------------------------------------------------------------------

    def _heal(self, command: str, when: str = "") -> None:
        """Run a command to its end, and once more if its report says so."""
        run = self._run(command)
        if run.code != 0 and judge.asks_for_another(run):
            self._result.commands[-1] += ", which says to run it again"
            run = self._run(command)
        if command.startswith("rotate") and judge.asks_for_up(run):
            self._result.commands[-1] += ", which says to run `up` first"
            return  # the store was not set up yet when the rotation was interrupted; `up` comes next
        if found := judge.unproven(run):
            self._result.wrong += [f"{command}{when and f' {when}'}: {each}" for each in found]

    def _run(self, command: str) -> Run:
        run = self._cluster.ended(self._begin(command), _PATIENCE)
        self._note(run, command, f"{command}: exit code {run.code}")
        return run

    def _begin(self, command: str, *before: Callable[[], object]) -> Provisioner:
        networks = f"{{demo: {{subnet: 10.99.0.0/24}}, {RECREATED}: {{subnet: {_SUBNETS[self._subnet]}}}}}"
        self._cluster = replace(self._cluster, networks=networks)
        return self._cluster.begin(command, before=before)

    def _note(self, run: Run, name: str, text: str) -> None:
        """Save the output of a command in numbered files, and add `text` to the result."""
        self._runs += 1
        place = self._folder / f"{self._runs:02}-{name.replace(' ', '-')}"
        place.with_suffix(".out").write_text(run.out)
        place.with_suffix(".err").write_text(run.err)
        if text:
            self._result.commands.append(text)
