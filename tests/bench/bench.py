"""Compare the duration of the same job with provisioner, a raw ssh script, pyinfra and ansible-core, in the same lab.

Times are wall-clock times from the start of a command to its end, in the lab's network. Each round runs every contender once
on fresh hosts, so that other load of the machine affects all of them alike.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import doctor
import phases
from contenders import ALL, DEFAULT, HERE, OURS, OWN, Contender, environment

from provisioner.errors import ProvisionerError
from provisioner.lab import Lab

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SETTLE = 7  # seconds between jobs: engines clean up for a while after a network's last container has ended
PATIENCE = 600  # seconds for one command
DOCTOR = "doctor"  # the value of --only that measures it instead of the jobs
TRIES = 3  # of a command that fails; each failure is reported


@dataclass
class Figures:
    """The seconds of each (contender, job), and other results.

    busy: the machine's load average before the run. If it is close to the number of cores, the figures are useless.
    """

    seconds: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    memory: dict[tuple[str, str], float] = field(default_factory=dict)
    phases: dict[tuple[str, str], list[dict[str, float]]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    busy: float = 0.0

    def median(self, who: str, job: str) -> float | None:
        found = self.seconds.get((who, job))
        return statistics.median(found) if found else None

    def ratio(self, one: tuple[str, str], other: tuple[str, str]) -> float | None:
        """The median of the ratios of each round, because other load in a round slows down both contenders."""
        ours, theirs = self.seconds.get(one, []), self.seconds.get(other, [])
        if not ours or not theirs:
            return None
        if len(ours) != len(theirs):  # one of them never succeeded in some round
            return statistics.median(ours) / statistics.median(theirs)
        return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


class Bench:
    """The measurements in one lab."""

    def __init__(self, lab: Lab, names: Sequence[str], folder: Path, figures: Figures) -> None:
        self.lab = lab
        self.contenders = [ALL[name](lab, folder) for name in names]
        self.folder = folder
        self.figures = figures

    def round_of_jobs(self) -> None:
        """Measure a first `up`, a second `up` and `plan`, for every contender on fresh hosts."""
        for contender in self.contenders:
            if self._first(contender):
                time.sleep(SETTLE)
                self._timed(contender, "second", contender.up)
                if contender.plan:
                    time.sleep(SETTLE)
                    self._timed(contender, "plan", contender.plan)
                self.peaks([contender], ["second", "plan"])

    def _first(self, contender: Contender) -> bool:
        for _ in range(TRIES):  # each try starts on fresh hosts, not on those of a failed try
            self.lab.reset()
            self.prepare(contender)
            if self._timed(contender, "first", contender.up):
                return True
        return False

    def prepare(self, contender: Contender) -> None:
        if contender.prepare:
            with ThreadPoolExecutor(len(self.lab.hosts)) as pool:
                list(pool.map(lambda host: self.lab.exec(host, contender.prepare, timeout=PATIENCE), self.lab.hosts))

    def plans(self) -> None:
        """Measure `plan` on settled hosts, and the same number of bare connections."""
        self.connections()
        for contender in self.contenders:
            if contender.plan:
                self._timed(contender, "plan", contender.plan)

    def connections(self) -> None:
        """Measure `ssh HOST true` to all hosts in parallel, with new connections."""
        commands = [[*self.lab.ssh_command(host, ["true"])] for host in self.lab.hosts]
        with self.lab.enter():
            began = time.monotonic()
            running = [subprocess.Popen(command, stdin=subprocess.DEVNULL) for command in commands]
            codes = [process.wait() for process in running]
            self._add("ssh", "connections", time.monotonic() - began)
        if any(codes):
            raise SystemExit(f"ssh to the lab's hosts failed: exit codes {codes}")

    def peaks(self, contenders: Sequence[Contender], jobs: Sequence[str]) -> None:
        """Measure the largest resident size of each command, in separate runs on settled hosts."""
        for contender in contenders:
            for job in jobs:
                command = contender.plan if job == "plan" else contender.up
                if contender.name == "raw" or not command or (contender.name, job) in self.figures.memory:
                    continue
                found = self.folder / "peak"
                wrapped = [sys.executable, "-I", "-S", str(HERE / "peak.py"), str(found), *command]
                if self._run(contender, job, wrapped) is not None:
                    self.figures.memory[contender.name, job] = int(found.read_text()) / 1024

    def settle(self) -> None:
        """Run our `up` until `plan` reports no drift. A proof that fails on a busy machine is reported and ignored."""
        ours = ALL["ours"](self.lab, self.folder)
        for _ in range(TRIES):
            self._timed(ours, "first", ours.up)
            if self._run(ours, "plan", ours.plan) is not None:
                return
        raise SystemExit("the hosts could not be settled:\n" + self.figures.failures[-1])

    def doctors(self) -> None:
        """Measure `doctor` on the hosts, which are settled first: with each fault, or on many hosts with some."""
        if len(self.lab.hosts) >= 20:
            self.settle()
        else:
            self.lab.reset(to="settled-consul", say=say)
        ours = ALL["ours"](self.lab, self.folder)

        def timed(name: str, code: int) -> None:
            seconds = self._run(ours, f"doctor, {name}", ours.doctor, counted=True, codes=(code,))
            if seconds is not None:
                self._add("ours", f"doctor, {name}", seconds)

        def settled() -> bool:
            with self.lab.enter():
                plan = subprocess.run(
                    ours.plan, env=environment(ours), cwd=self.folder, capture_output=True, check=False
                )
            return plan.returncode == 0

        doctor.measure(self.lab, settled, timed, self.figures.failures.append)

    def _timed(self, contender: Contender, job: str, command: list[str]) -> bool:
        """Time a command, and retry it if it fails. A failed first `up` is not retried: the caller resets the hosts."""
        for _ in range(1 if job == "first" else TRIES):
            seconds = self._run(contender, job, command, counted=True)
            if seconds is not None:
                self._add(contender.name, job, seconds)
                return True
            if job != "first":
                time.sleep(SETTLE)
                self._run(contender, job, command)  # cleans up after the failed run
                time.sleep(SETTLE)
        return False

    def _run(
        self,
        contender: Contender,
        job: str,
        command: list[str],
        *,
        counted: bool = False,
        codes: tuple[int, ...] = (0,),
    ) -> float | None:
        with self.lab.enter():
            lines = phases.Lines(time.monotonic())
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment(contender),
                cwd=self.folder,
                text=True,
                errors="replace",
            )
            listener = threading.Thread(target=lines.listen, args=(process.stdout,), daemon=True)
            listener.start()
            # Not wait(timeout=...), because that checks only every 50 ms whether the process has ended.
            watchdog = threading.Timer(PATIENCE, process.kill)
            watchdog.start()
            try:
                code = process.wait()
            finally:
                watchdog.cancel()
            seconds = time.monotonic() - lines.began
        listener.join(1)  # processes that outlive the command, such as ansible's connections, may hold the pipe open
        if code in codes:
            if counted and (found := lines.phases(seconds)):
                self.figures.phases.setdefault((contender.name, job), []).append(found)
            return seconds
        end = "".join(line for _, line in lines.read[-25:])
        self.figures.failures.append(f"{contender.name}, {job}: exit code {code} after {seconds:.1f} s\n{end}")
        say(f"  {contender.name} {job}: failed after {seconds:.1f} s (exit code {code}); the failure is reported")
        return None

    def _add(self, who: str, job: str, seconds: float) -> None:
        self.figures.seconds.setdefault((who, job), []).append(seconds)
        say(f"  {who} {job}: {seconds:.2f} s")


def help_time(figures: Figures) -> None:
    began = time.monotonic()
    subprocess.run([str(OURS), "--help"], stdout=subprocess.DEVNULL, check=True)
    figures.seconds.setdefault(("ours", "--help"), []).append(time.monotonic() - began)


@contextlib.contextmanager
def lab_of(hosts: int) -> Iterator[Lab]:
    lab = Lab.up(f"bench-{os.getpid()}", hosts, say=say)
    try:
        yield lab
    finally:
        lab.down()


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# -- targets ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Target:
    text: str
    found: float
    limit: float
    unit: str

    @property
    def met(self) -> bool:
        return self.found <= self.limit


def targets(hosts: int, figures: Figures) -> list[Target]:
    """The targets for which there is a measurement."""
    plan = figures.median("ours", "plan")
    wanted: list[tuple[str, float | None, float, str]] = [
        ("--help", figures.median("ours", "--help"), 0.25, "s"),
        (
            "memory of the controller",
            max((v for (w, _), v in figures.memory.items() if w == "ours"), default=None),
            150,
            "MiB",
        ),
    ]
    if hosts >= 20:
        wanted += [
            ("plan", plan, 2.0, "s"),
            ("plan : as many bare ssh", figures.ratio(("ours", "plan"), ("ssh", "connections")), 3.0, "x"),
        ]
    else:
        wanted += [
            ("first up, nothing secured : raw script", figures.ratio(("plain", "first"), ("raw", "first")), 1.3, "x"),
            ("first up : raw script", figures.ratio(("ours", "first"), ("raw", "first")), 1.3, "x"),
            ("second up : first up", figures.ratio(("ours", "second"), ("ours", "first")), 0.25, "x"),
            ("plan", plan, 0.8, "s"),
            *(
                (f"second up on {name} : on Consul", figures.ratio((name, "second"), ("ours", "second")), 1.2, "x")
                for name in OWN
            ),
        ]
    cases = {job.partition(", ")[2]: found for (_, job), found in figures.seconds.items() if job.startswith("doctor, ")}
    wanted += doctor.figures(hosts, cases)
    return [Target(text, found, limit, unit) for text, found, limit, unit in wanted if found is not None]


# -- output -----------------------------------------------------------------------------------------------------------


def document(hosts: int, rounds: int, figures: Figures) -> dict[str, object]:
    rows = [
        {
            "who": who,
            "job": job,
            "median": statistics.median(found),
            "min": min(found),
            "all": found,
            "ratio_to_raw": figures.ratio((who, job), ("raw", job)),
        }
        for (who, job), found in figures.seconds.items()
    ]
    memory = [{"who": who, "job": job, "mib": mib} for (who, job), mib in figures.memory.items()]
    wanted = [
        {"target": t.text, "found": t.found, "limit": t.limit, "unit": t.unit, "met": t.met}
        for t in targets(hosts, figures)
    ]
    return {
        "hosts": hosts,
        "rounds": rounds,
        "load_average": figures.busy,
        "seconds": rows,
        "memory": memory,
        "phases": [{"who": who, "job": job, "all": found} for (who, job), found in figures.phases.items()],
        "targets": wanted,
        "failures": figures.failures,
    }


def table(hosts: int, figures: Figures) -> str:
    """A Markdown table with a column for each job: median, minimum, and the ratio to the raw script or else to bare ssh."""
    jobs = list(dict.fromkeys(job for _, job in figures.seconds if job not in {"--help", "connections"}))
    if jobs and all(job.startswith("doctor, ") for job in jobs):
        return "\n".join([*doctor.table(hosts, figures), *verdicts(hosts, figures)])
    names = list(dict.fromkeys(who for who, _ in figures.seconds if who != "ssh"))
    lines = [
        "| " + " | ".join([f"{hosts} hosts: median (least) s", *jobs, "peak MiB"]) + " |",
        "|---" * (len(jobs) + 2) + "|",
    ]
    for who in names:
        cells = [cell(figures, who, job) for job in jobs]
        peak = max((mib for (name, _), mib in figures.memory.items() if name == who), default=0)
        lines.append("| " + " | ".join([who, *cells, f"{peak:.0f}" if peak else ""]) + " |")
    if found := figures.seconds.get(("ssh", "connections")):
        lines.append(f"\n{hosts} bare `ssh` side by side: {statistics.median(found):.2f} ({min(found):.2f}) s")
    if found := figures.seconds.get(("ours", "--help")):
        lines.append(f"`provisioner --help`: {statistics.median(found):.2f} ({min(found):.2f}) s")
    for job in jobs:
        if found := {who: runs for (who, of), runs in figures.phases.items() if of == job}:
            lines += phases.table(job, found)
    return "\n".join([*lines, *verdicts(hosts, figures)])


def verdicts(hosts: int, figures: Figures) -> list[str]:
    """The lines that say which targets were met, how busy the machine was, and what failed."""
    lines = [""]
    for target in targets(hosts, figures):
        verdict = "met" if target.met else "MISSED"
        lines.append(
            f"{verdict}: {target.text} {target.found:.2f} {target.unit}, at most {target.limit:g} {target.unit}"
        )
    lines.append(f"load average of the machine before the run: {figures.busy:.1f}")
    return [*lines, *(f"failed and run again: {failure.splitlines()[0]}" for failure in figures.failures)]


def cell(figures: Figures, who: str, job: str) -> str:
    found = figures.seconds.get((who, job))
    if not found:
        return ""
    base = ("raw", job) if ("raw", job) in figures.seconds else ("ssh", "connections")
    ratio = figures.ratio((who, job), base)
    shown = f", {ratio:.2f} x" if ratio and who != base[0] else ""
    return f"{statistics.median(found):.2f} ({min(found):.2f}){shown}"


def measure(options: argparse.Namespace, hosts: int, folder: Path) -> Figures:
    figures = Figures(busy=os.getloadavg()[0])
    if figures.busy > 1.5:
        say(f"this machine is busy (load average {figures.busy:.1f}): times will be too long, and ratios unreliable")
    with lab_of(hosts) as lab:
        names = [name for name in options.only if hosts < 20 or name not in OWN]
        bench = Bench(lab, [name for name in names if name != DOCTOR], folder, figures)
        if DOCTOR in names:
            for _ in range(options.rounds):
                bench.doctors()
            return figures
        if hosts >= 20:
            bench.settle()
            for contender in bench.contenders:
                bench.prepare(contender)
        for number in range(options.rounds):
            say(f"{hosts} hosts, round {number + 1} of {options.rounds}")
            if hosts >= 20:
                bench.plans()
            else:
                bench.round_of_jobs()
                bench.connections()
        if hosts >= 20:
            bench.peaks(bench.contenders, ["plan"])
    for _ in range(5):
        help_time(figures)
    return figures


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--hosts", type=int, action="append", help="3: the whole job; 20 or more: plan only (default: both)"
    )
    parser.add_argument(
        "--only", default=DEFAULT, help=f"of {','.join(ALL)}, or all (default: {DEFAULT}); {DOCTOR}: only `doctor`"
    )
    parser.add_argument("--rounds", type=int, default=3, help="the number of rounds (default: 3)")
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")
    parser.add_argument("--check", action="store_true", help="exit code 1 when a target is missed")
    options = parser.parse_args()
    options.only = list(ALL) if options.only == "all" else options.only.split(",")
    if unknown := set(options.only) - {DOCTOR, *ALL}:
        parser.error(f"there is no contender {', '.join(sorted(unknown))}")
    options.hosts = options.hosts or [3, 20]
    return options


def main() -> int:
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # raises an exception, so that the lab is removed
    missed = False
    documents = []
    for hosts in options.hosts:
        with tempfile.TemporaryDirectory(prefix="provisioner-bench-") as folder:
            try:
                figures = measure(options, hosts, Path(folder))
            except ProvisionerError as error:
                say(str(error))
                return 1
        missed |= not all(target.met for target in targets(hosts, figures))
        documents.append(document(hosts, options.rounds, figures))
        if not options.json:
            print(table(hosts, figures), end="\n\n", flush=True)
        for failure in figures.failures:
            say(failure)
    if options.json:
        print(json.dumps(documents, indent=2))
    return int(options.check and missed)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
